"""Results and reports: the numbers of a table, against others' computations of them."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from seqeval.metrics import f1_score, precision_score, recall_score

from mner.data import read_posts
from mner.evaluation.scores import score_posts
from mner.experiments.formats import as_csv, as_document, as_latex, as_markdown, write_conll
from mner.experiments.material import places
from mner.experiments.plans import make_plan
from mner.experiments.published import published_table
from mner.experiments.reports import describe
from mner.experiments.results import collect, compare_rows, holm
from mner.experiments.shelf import Shelf
from mner.experiments.tables import only
from mner.plots.report import report_figures, report_page, save_report_figures
from mner.posts import Entity
from mner.tags import BIO, to_tags
from tests.experiments.conftest import TABLE, planned, run_here

CURVE = """
title = "Curve"
axis = "epochs"
[data.small]
[[rows]]
name = "row"
recipe = "recipe.toml"
[[settings]]
name = "one epoch"
value = 1
set = { training.epochs = 1 }
[[settings]]
name = "two epochs"
value = 2
set = { training.epochs = 2 }
"""


@pytest.fixture(scope="module")
def results(finished):
    folder, plan = finished
    return collect(plan, Shelf(folder / "results"))


@pytest.fixture(scope="module")
def report(results):
    return describe(results, compare_rows(results, samples=200))


def tags_of_file(folder, run):
    """Gold and predictions as tags, from the files alone."""
    (path,) = (folder / "results" / "runs" / run / "predictions").glob("*.jsonl")
    gold = {post.text + post.id: post for post in read_posts(folder / "small" / "test.jsonl")}
    wanted, found = [], []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        post = gold[record["text"] + record["id"]]
        wanted.append(list(to_tags(post.gold_spans(), len(post.words), BIO)))
        given = post.with_fields(entities=None, tags=None)
        starts = {start: n for n, (start, _) in enumerate(given.offsets)}
        ends = {end: n + 1 for n, (_, end) in enumerate(given.offsets)}
        spans = [(starts[one["start"]], ends[one["end"]], one["label"]) for one in record["entities"]]
        tags = ["O"] * len(post.words)
        for start, end, label in spans:
            tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
        found.append(tags)
    return wanted, found


def test_means_and_deviations_are_those_of_seqeval_and_statistics(finished, results):
    folder, _ = finished
    document = as_document(describe(results))
    assert [group["row"] for group in document["groups"]] == ["one", "two"]
    for group in document["groups"]:
        assert group["seeds"] == [1, 2]
        judged = [tags_of_file(folder, run) for run in group["runs"]]
        for measure, judge in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            values = [judge(*tags, average="micro", zero_division=0) for tags in judged]
            ours = group["scores"]["conll"]["all"][measure]
            assert ours["values"] == pytest.approx(values)
            assert ours["mean"] == pytest.approx(statistics.mean(values))
            assert ours["deviation"] == pytest.approx(statistics.stdev(values))
        for label in ("LOC", "PER"):
            values = [
                f1_score(
                    *(
                        [[tag if tag.endswith(label) else "O" for tag in tags] for tags in side]
                        for side in pair
                    ),
                    zero_division=0,
                )
                for pair in judged
            ]
            assert group["scores"]["strict"][label]["f1"]["values"] == pytest.approx(values)


def f1_of_file(folder, run):
    """The F1 of a run that marks words alone, counted from its file."""
    gold = predicted = correct = 0
    for true, found in zip(*tags_of_file(folder, run), strict=True):
        starts = [[n for n, tag in enumerate(side) if tag[0] == "B"] for side in (true, found)]
        gold, predicted = gold + len(starts[0]), predicted + len(starts[1])
        correct += sum(true[n] == found[n] for n in starts[0])
    return 2 * correct / (gold + predicted)


def test_rows_are_compared_by_their_mean_f1(finished, results):
    folder, _ = finished
    (pair,) = compare_rows(results, samples=400, seed=3)
    assert pair.runs == 2
    one, two = (
        statistics.mean(f1_of_file(folder, result.run.folder_name) for result in group.results)
        for group in (pair.first, pair.second)
    )
    assert pair.comparison.difference.value == pytest.approx(one - two)
    assert (
        pair.comparison.difference.low <= pair.comparison.difference.value <= pair.comparison.difference.high
    )
    # One comparison alone needs no correction.
    assert pair.corrected == pair.comparison.p_value


def test_runs_of_the_same_seed_are_compared(finished, results):
    folder, _ = finished
    first, second = results.groups
    fewer = replace(second, results=tuple(result for result in second.results if result.cell.seed == 2))
    for groups in ([first, fewer], [fewer, first]):
        (pair,) = compare_rows(replace(results, groups=groups), samples=50)
        assert pair.runs == 1
        one, two = (
            next(
                f1_of_file(folder, result.run.folder_name)
                for result in group.results
                if result.cell.seed == 2
            )
            for group in groups
        )
        assert pair.comparison.difference.value == pytest.approx(one - two)


def test_rows_that_share_no_draw_and_seed_are_compared_by_all_their_runs(finished, results):
    folder, _ = finished
    first, second = results.groups
    (two_again,) = (result for result in first.results if result.cell.seed == 2)
    third = replace(two_again, cell=replace(two_again.cell, seed=3))
    # Three runs against two of other seeds.
    three = replace(first, results=(*second.results, third))
    others = tuple(replace(one, cell=replace(one.cell, seed=one.cell.seed + 10)) for one in first.results)
    two = replace(second, results=others)
    for groups in ([three, two], [two, three]):
        (pair,) = compare_rows(replace(results, groups=groups), samples=100)
        assert (pair.runs, pair.other_runs) == tuple(len(group.results) for group in groups)
        means = [
            statistics.mean(f1_of_file(folder, result.run.folder_name) for result in group.results)
            for group in groups
        ]
        found = pair.comparison.difference
        assert found.value == pytest.approx(means[0] - means[1])
        assert found.low <= found.value <= found.high
        # As the scores beside it have it, and it is said so.
        report = describe(replace(results, groups=groups), [pair])
        scores = next(grid for grid in report.grids if grid.key == "scores-small")
        shown = [float(row[4].partition(" ")[0]) for row in scores.rows]
        grid = next(grid for grid in report.grids if grid.key == "comparisons")
        assert float(grid.rows[0][4]) == pytest.approx(shown[0] - shown[1], abs=0.011)
        assert grid.rows[0][3] == f"{pair.runs} and {pair.other_runs}"
        assert "all runs of each" in grid.note
        assert "that both have" not in grid.note
        (written,) = as_document(report)["comparisons"]
        assert (written["runs"], written["runs_of_second"]) == (pair.runs, pair.other_runs)
        assert written["draws_and_seeds_shared"] is False


def test_a_sample_and_all_posts_are_compared_by_their_means(workshop):
    text = CURVE.replace("set = { training.epochs = 1 }", "sample = { posts = 20 }")
    plan = planned(workshop, text.replace("[data.small]", "seeds = [1, 2]\nsamplings = 2\n[data.small]"))
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    results = collect(plan, shelf)
    (pair,) = compare_rows(results, samples=50)
    assert (pair.runs, pair.other_runs, pair.shared) == (4, 2, False)
    means = [group.summary().mean for group in (pair.first, pair.second)]
    assert pair.comparison.difference.value == pytest.approx(means[0] - means[1])
    # Who reads the scores reads that some are of a part of the posts; every run says of how many.
    report = describe(results)
    note = "Trained on a part of the training posts, 20 of them; the other runs on all."
    assert all(
        note in text for text in (as_markdown(report), as_latex(report), report_page(report, figures=False))
    )
    posts = Counter(line["training posts"] for line in csv.DictReader(io.StringIO(as_csv(report))))
    assert posts["20"] == 2 * posts["40"] > 0
    # The first draws alone are a part of the table, which its report names.
    for draws, part in ((1, "draw 1"), (2, "")):
        file = only(plan.file, draws=draws)
        assert dict(describe(replace(results, file=file)).facts).get("part", "") == part


def test_a_report_says_where_draws_are_the_same_posts(workshop):
    text = CURVE.replace("set = { training.epochs = 1 }", "sample = { shots = 500 }")
    text = text.replace("set = { training.epochs = 2 }", "sample = { posts = 20 }")
    text = text.replace("[data.small]", "samplings = 3\n[data.small]")
    plan = planned(workshop, text)
    posts = {
        setting: [plan.runs[cell.run].prints["train"] for cell in plan.cells if cell.setting == setting]
        for setting in ("one epoch", "two epochs")
    }
    # So many shots are all posts, whichever are drawn first.
    assert [len(set(prints)) for prints in posts.values()] == [1, 3]
    notes = describe(collect(plan, Shelf(workshop / "results"))).notes
    (said,) = (note for note in notes if "draws" in note)
    assert said.startswith("small, one epoch: 3 draws, 2 of them of the same posts as one before")


def test_a_type_that_no_gold_has_is_shown_where_it_was_predicted(results):
    result = results.groups[0].results[0]
    text = results.posts(result)[0].text
    predicted = [[Entity(text[:3], "ELSEWHERE", 0, 3, 0.5)], *result.predicted[1:]]
    first = replace(results.groups[0], results=(replace(result, predicted=predicted),))
    page = report_page(describe(replace(results, groups=[first, results.groups[1]])), figures=False)
    assert "<small>ELSEWHERE 0.50" in page


def test_the_best_rows_have_figures_of_their_own(results):
    one, two = results.groups
    # The second row found nothing.
    groups = [replace(two, row=one.row.model_copy(update={"name": f"nothing {n}"})) for n in range(7)]
    figures = report_figures(replace(results, groups=[*groups, one]))
    drawn = figures["Types confused on small (6 best of 8)"]
    assert list(drawn)[-1] == "confused types, one"
    assert len(drawn) == 6


def test_corrected_p_values_are_those_of_the_step_down_procedure():
    # As in Holm (1979): compare the smallest with level / n, the next with level / (n - 1), stop at the first above.
    p_values = [0.01, 0.04, 0.03, 0.005, 0.2]
    corrected = holm(p_values)
    for level in np.linspace(0.001, 0.999, 500):
        rejected = set()
        for rank, place in enumerate(np.argsort(p_values)):
            if p_values[place] > level / (len(p_values) - rank):
                break
            rejected.add(int(place))
        assert rejected == {place for place, p in enumerate(corrected) if p <= level}


def test_the_csv_has_every_run_and_every_type(results, report):
    lines = list(csv.DictReader(io.StringIO(as_csv(report))))
    of_all = [line for line in lines if line["type"] == "all" and line["convention"] == "conll"]
    assert [(line["row"], line["seed"]) for line in of_all] == [
        ("one", "1"),
        ("one", "2"),
        ("two", "1"),
        ("two", "2"),
    ]
    for line in lines:
        gold, predicted, correct = (int(line[name]) for name in ("gold", "predicted", "correct"))
        assert float(line["f1"]) == pytest.approx(
            2 * correct / (gold + predicted) if correct else 0, abs=1e-6
        )


def test_markdown_and_latex_have_whole_tables(report):
    widths: set[int] = set()
    for line in as_markdown(report).splitlines():
        if line.startswith("|"):
            widths.add(line.count("|"))
        else:
            assert len(widths) <= 1
            widths = set()
    latex = as_latex(report)
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", latex, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    assert "±" not in latex
    assert latex.count("{") == latex.count("}")


def test_the_page_is_whole_and_loads_nothing(report):
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.links, self.text = [], [], []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br", "img", "link"):
                self.open.append(tag)
            self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
            assert tag not in ("script", "link", "iframe")

        def handle_startendtag(self, _tag, attrs):
            self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.text.append(data)

    page = report_page(report)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert "http" not in re.sub(r"data:[^\"')]+", "", page)
    shown = " ".join(reader.text)
    for word in ("Any two rows", "fingerprint", "seeds", "minutes", "Learning curves"):
        assert word in shown


def test_facts_say_how_results_came_about(report):
    facts = dict(report.facts)
    assert facts["cells"] == "4 of 4 done"
    assert facts["seeds"] == "1, 2"
    assert {"code", "versions", "machine", "dates", "training"} <= facts.keys()
    assert any(key.startswith("fingerprint") for key in facts)


def test_predictions_as_conll_files_score_the_same(finished, results, tmp_path):
    folder, _ = finished
    assert len(write_conll(results, tmp_path)) == 4
    gold = {post.id: post for post in read_posts(folder / "small" / "test.jsonl")}
    for result in results.results:
        posts = read_posts(tmp_path / result.cell.row / f"small-seed-{result.cell.seed}.txt")
        wanted = [gold[post.id] for post in posts]
        again = score_posts(wanted, [post.gold() for post in posts])
        assert again.overall == result.scores["conll"].overall


def test_names_that_differ_in_punctuation_alone_have_files_of_their_own(finished, tmp_path):
    folder, _ = finished
    text = (
        TABLE.replace("set = { training.epochs = 2 }", "").replace('"one"', '"A-B"').replace('"two"', '"a+b"')
    )
    text += '[[settings]]\nname = "K = 1"\n[[settings]]\nname = "K 1"\nset = { training.epochs = 2 }\n'
    results = collect(planned(folder, text, "punctuation"), Shelf(folder / "results"))
    assert len(write_conll(results, tmp_path)) == 8
    # Of every two settings one found nothing, so that the files of the others would be missed.
    gold = {post.id: post for post in read_posts(folder / "small" / "test.jsonl")}
    scores: dict[str, list[float]] = {}
    for path in tmp_path.rglob("*.txt"):
        posts = read_posts(path)
        scored = score_posts([gold[post.id] for post in posts], [post.gold() for post in posts])
        scores.setdefault(path.parent.name, []).append(scored.overall.f1)
    wanted = [result.scores["conll"].overall.f1 for result in results.results]
    assert sorted(scores) == ["A-B", "a-b-2"]
    assert sorted(scores["A-B"]) == sorted(wanted[:4])
    assert sorted(scores["a-b-2"]) == sorted(wanted[4:])


def test_figures_of_data_whose_names_differ_in_punctuation_alone_are_all_written(finished, tmp_path):
    folder, _ = finished
    text = TABLE + '[data."small!"]\nfolder = "small"\n'
    results = collect(planned(folder, text, "titles"), Shelf(folder / "results"))
    saved = save_report_figures(results, tmp_path, ".svg")
    assert len(list(tmp_path.iterdir())) == len(saved) == sum(map(len, report_figures(results).values()))
    assert all(group.results for group in results.groups)


def test_published_numbers_stand_beside_and_quoted_rows_are_marked(finished):
    folder, _ = finished
    text = TABLE.replace('title = "Small"', 'title = "Small"\npublished = "cat-mner/table-1"')
    text = text.replace("[data.small]", '[data.small]\npublished = "twitter2015"')
    text = text.replace('name = "two"', 'name = "two"\npublished = "BERT-base-CRF"').replace(
        'name = "one"', 'name = "one"\npublished = ""'
    )
    text += '[[rows]]\nname = "UMGF"\nquoted = true\n'
    plan = planned(folder, text, "beside")
    document = as_document(describe(collect(plan, Shelf(folder / "results"))))
    one, two, quoted = document["groups"]
    assert one["published"] == {}
    table = published_table("cat-mner/table-1")
    assert two["published"]["f1"] == table.value("BERT-base-CRF", "twitter2015.f1") == 74.71
    assert quoted["published"]["f1"] == table.value("UMGF", "twitter2015.f1")
    assert quoted["quoted"]
    assert quoted["runs"] == []
    markdown = as_markdown(describe(collect(plan, Shelf(folder / "results"))))
    assert "UMGF (quoted)" in markdown
    ours = 100 * two["scores"]["conll"]["all"]["f1"]["mean"]
    assert f"{ours - two['published']['f1']:+.2f}" in markdown


def test_notes_on_published_numbers_say_whose_they_are_and_names_without_a_counterpart_are_said(finished):
    folder, _ = finished
    text = TABLE.replace('title = "Small"', 'title = "Small"\npublished = "cat-mner/table-1"')

    def notes(text):
        plan = planned(folder, text, "noted")
        return "\n".join(describe(collect(plan, Shelf(folder / "results"))).notes)

    bare = notes(text)
    assert "nothing of that name for the rows one, two and the data set small" in bare
    # What is said of a row is not said where the row does not stand.
    assert "By its own precision and recall" not in bare
    named = text.replace("[data.small]", '[data.small]\npublished = "twitter2015"')
    named = named.replace('name = "one"', 'name = "one"\npublished = "BERT-base-SPAN"')
    named = named.replace('name = "two"', 'name = "two"\npublished = ""')
    said = notes(named)
    assert "nothing of that name" not in said
    assert "BERT-base-SPAN, twitter2015.f1: By its own precision and recall it is 74.67." in said
    assert "OCSGA, twitter2015.f1" not in said
    # Nor what is said of two rows where neither stands.
    other = named.replace("cat-mner/table-1", "mgips-cl/table-2").replace("BERT-base-SPAN", "VEC-MNER")
    assert "lead over VEC-MNER" in notes(other)
    assert "CoT over ChatGPT" not in notes(other)


def test_latex_has_minus_signs_and_labels_of_its_table(report):
    rows = [("row", "-0.04", "-1.2 to +0.3", "a-b", "MM-1")]
    written = as_latex(replace(report, grids=[replace(report.grids[0], header=("",) * 5, rows=tuple(rows))]))
    assert r"row & $-$0.04 & $-$1.2 to +0.3 & a-b & MM-1 \\" in written
    assert re.findall(r"\\label\{(.*?)\}", written) == [f"tab:table-{report.grids[0].key}"]


def test_a_report_without_results_says_what_is_open(workshop):
    plan = planned(workshop, TABLE)
    results = collect(plan, Shelf(workshop / "nothing"))
    report = describe(results, compare_rows(results))
    (grid,) = [grid for grid in report.grids if grid.key == "missing"]
    assert [row[1] for row in grid.rows] == ["to be run"] * 4
    assert "small" in report_page(report)


def test_settings_of_a_single_row_are_compared_with_each_other(workshop):
    plan = planned(workshop, CURVE)
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    results = collect(plan, shelf)
    (pair,) = compare_rows(results, samples=100)
    assert (pair.first.setting, pair.second.setting) == ("one epoch", "two epochs")
    page = report_page(describe(results, [pair]))
    assert "F1 by epochs" in page
    figures = report_figures(results)
    of_types = figures["F1 of each type by epochs on small"]
    assert list(of_types) == [f"F1 of {label} by epochs" for label in results.labels]
    for label, figure in zip(results.labels, of_types.values(), strict=True):
        (drawn, *_) = figure.axes[0].get_lines()
        wanted = []
        for group in results.groups:
            tags = tags_of_file(workshop, group.results[0].run.folder_name)
            of_type = [
                [[tag if tag.endswith(f"-{label}") else "O" for tag in post] for post in one] for one in tags
            ]
            wanted.append(100 * f1_score(*of_type, zero_division=0))
        assert list(drawn.get_xdata()) == [1, 2]
        assert list(drawn.get_ydata()) == pytest.approx(wanted)
    # One of the settings alone makes no curve.
    alone = only(plan.file, settings=["two epochs"])
    drawn_alone = report_figures(collect(make_plan(alone, places(alone, {}, {})), shelf))
    assert set(drawn_alone) == {title for title in figures if "by epochs" not in title}
    saved = save_report_figures(results, workshop / "figures", ".png")
    assert len({path.name for path in saved}) == sum(map(len, figures.values())) == len(saved)
    for path in saved:
        with Image.open(path) as picture:
            assert (picture.format, picture.width > 300) == ("PNG", True)


def words_of(figures):
    """All that stands in some figures."""
    found = [text.get_text() for figure in figures.values() for text in figure.findobj(match=Text)]
    return " | ".join(text for text in found if text)


@pytest.mark.parametrize(("seeds", "repeats", "count"), [("[3]", "draws", 2), ("[3, 4]", "runs", 4)])
def test_figures_say_whether_runs_are_draws_or_seeds(workshop, seeds, repeats, count):
    text = CURVE.replace("set = { training.epochs = 1 }", "sample = { posts = 10 }")
    text = text.replace("set = { training.epochs = 2 }", "sample = { posts = 20 }")
    text = text.replace("[data.small]", f"seeds = {seeds}\nsamplings = 2\n[data.small]")
    plan = planned(workshop, text)
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    results = collect(plan, shelf)
    figures = report_figures(results)
    by_setting, curves = (
        words_of(figures["F1 by epochs on small"]),
        words_of(figures["Learning curves on small"]),
    )
    assert f"bars: standard deviation over {repeats}" in by_setting
    assert f"row, one epoch ({count} {repeats})" in curves
    assert f"band: standard deviation over {repeats}" in curves
    assert "seeds" not in by_setting + curves
    for title in ("Types confused on small", "Confidence and being right on small"):
        assert "row, one epoch, draw 1, seed 3" in words_of(figures[title])
    page = report_page(describe(results))
    assert "row, one epoch: draw 1, seed 3. row, two epochs: draw 1, seed 3." in page


def test_a_data_set_has_its_own_types_alone(workshop):
    renamed = '[data.renamed]\nfolder = "small"\nlabel_map = { PER = "WRITER" }\n'
    plan = planned(workshop, CURVE + renamed)
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    results = collect(plan, shelf)
    wanted = {"small": ["LOC", "PER"], "renamed": ["LOC", "WRITER"]}
    for data, labels in wanted.items():
        figures = report_figures(results)[f"F1 of each type by epochs on {data}"]
        assert list(figures) == [f"F1 of {label} by epochs" for label in labels]
    report = describe(results, [])
    for group in as_document(report)["groups"]:
        assert list(group["scores"]["conll"]) == ["all", *wanted[group["scored_on"]]]
    headers = {grid.title: grid.header for grid in report.grids if grid.title.startswith("F1 of each type")}
    assert headers == {
        f"F1 of each type on {data}": ("row", "setting", *labels) for data, labels in wanted.items()
    }
