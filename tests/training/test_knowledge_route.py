"""A recipe's knowledge reaches the model in training, and a run asks for the same when it is used."""

from __future__ import annotations

import json

import pytest

from mner.cli import main
from mner.errors import RecipeError
from mner.evaluation.scores import score_posts
from mner.knowledge.exchange import import_file
from mner.knowledge.store import KnowledgeStore
from mner.posts import Post
from mner.recognizer import SETTINGS_FILE, Recognizer
from mner.training.recipe import check_recipe
from mner.training.run import RECORD_FILE
from tests.contract.tiny import tiny

# The type of the one name of a post stands in its knowledge alone.
NAMES = ("Ada", "Brel", "Ivo", "Tove")
HINTS = {"PER": "a man", "LOC": "a port"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data whose types only the knowledge tells, its store, and a tiny backbone in a folder."""
    folder = tmp_path_factory.mktemp("told")
    lines: dict[str, str] = {}
    for split, count in (("train", 48), ("valid", 16), ("test", 16)):
        rows = []
        for number in range(count):
            label = ("PER", "LOC")[number % 2]
            name = NAMES[number // 2 % len(NAMES)]
            identity = f"{split}{number}"
            rows += [f"IMGID:{identity}", f"{name}\tB-{label}", "left\tO", ""]
            lines[identity] = HINTS[label]
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / f"{split}.txt").write_text("\n".join(rows) + "\n")
    told = folder / "said.jsonl"
    told.write_text("".join(json.dumps({"id": i, "caption": text}) + "\n" for i, text in lines.items()))
    with KnowledgeStore(folder / "knowledge.sqlite") as store:
        import_file(store, told)
    backbone = tiny("bert-crf")
    backbone.model.text_encoder.save_pretrained(folder / "backbone")
    backbone.encoder.tokenizer.save_pretrained(folder / "backbone")
    return folder


def recipe(folder, model="mmavk", **knowledge):
    path = folder / f"{model}.toml"
    given = "".join(f"{key} = {json.dumps(value)}\n" for key, value in knowledge.items())
    own = {"mmavk": "knowledge_length = 16", "cdner": "caption_length = 16\nchain_length = 16"}[model]
    path.write_text(
        f'[model]\nname = "{model}"\nbackbone = "{folder / "backbone"}"\ndropout = 0.0\n{own}\n'
        f"[encoding]\nmax_length = 64\noverlap = 16\n[knowledge]\n{given}"
        '[training]\nepochs = 12\nbatch_size = 8\nlearning_rate = 5e-3\nprecision = "float32"\n'
    )
    return path


def mner(capsys, *words):
    """Run a command line; what it wrote to stdout and stderr."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert left.value.code == 0, err
    return out, err


@pytest.fixture(scope="module")
def run(folder):
    with pytest.raises(SystemExit) as left:
        main(
            [
                *("train", str(recipe(folder)), "--data", str(folder / "data")),
                *("--output", str(folder / "run"), "--knowledge", str(folder / "knowledge.sqlite")),
            ]
        )
    assert left.value.code == 0
    return folder / "run"


def test_training_reads_the_knowledge_and_remembers_which(folder, run):
    settings = json.loads((run / SETTINGS_FILE).read_text())["knowledge"]
    assert settings["wanted"] == list(check_recipe({"model": {"name": "mmavk"}}).knowledge.kinds)
    record = json.loads((run / RECORD_FILE).read_text())
    assert record["knowledge"]["coverage"]["train"] == {"caption": 48}
    assert json.loads((run / "results.json").read_text())["test"]["overall"]["f1"] == 1.0


def test_evaluation_gives_the_posts_the_same(folder, run, capsys):
    told, err = mner(
        capsys,
        "evaluate",
        run,
        "--data",
        folder / "data",
        "--knowledge",
        folder / "knowledge.sqlite",
        "--json",
    )
    assert json.loads(told)["conll"]["overall"]["f1"] == 1.0
    assert json.loads(told)["knowledge"] == {"caption": 16}
    bare, _ = mner(capsys, "evaluate", run, "--data", folder / "data", "--json")
    assert json.loads(bare)["conll"]["overall"]["f1"] < 0.8
    assert json.loads(bare)["knowledge"] == {}
    _, err = mner(capsys, "evaluate", run, "--data", folder / "data")
    assert "Known about the 16 posts: nothing. run was trained with knowledge of the kind caption: " in err
    for words in (("errors", run), ("compare", run, run)):
        _, err = mner(capsys, *words, "--data", folder / "data")
        assert "Known about the 16 posts: nothing." in err
        _, err = mner(capsys, *words, "--data", folder / "data", "--knowledge", folder / "knowledge.sqlite")
        assert "Known about the 16 posts: caption 16.\n" in err


def test_prediction_gives_the_posts_the_same(folder, run, capsys, tmp_path):
    posts = tmp_path / "posts.jsonl"
    posts.write_text(
        "".join(json.dumps({"id": f"test{n}", "words": [NAMES[n // 2 % 4], "left"]}) + "\n" for n in range(4))
    )
    out, _ = mner(
        capsys, "predict", "--model", run, "--input", posts, "--knowledge", folder / "knowledge.sqlite"
    )
    found = [json.loads(line)["entities"] for line in out.splitlines()]
    assert [[e["label"] for e in entities] for entities in found] == [["PER"], ["LOC"], ["PER"], ["LOC"]]


def test_alternative_text_serves_where_there_is_no_caption(run):
    recognizer = Recognizer.from_pretrained(run)
    for label, text in HINTS.items():
        (entity,) = recognizer(Post.from_words(["Ada", "left"], alt=text))
        assert entity.label == label


def test_dropped_knowledge_is_missing_in_training_alone(folder, tmp_path, capsys):
    out, _ = mner(
        *(capsys, "train", recipe(folder, "cdner", drop=0.9), "--data", folder / "data"),
        *("--knowledge", folder / "knowledge.sqlite", "--output", tmp_path / "run", "--json"),
        *("--set", "training.epochs=1"),
    )
    record = json.loads(out)
    # What is told of the splits is what the store knows; the draw comes after.
    assert record["knowledge"]["coverage"]["train"] == {"caption": 48}
    assert 36 <= record["knowledge"]["dropped"] <= 47


def test_placeholders_are_told_and_left_out_on_request(folder, tmp_path, capsys):
    for choice, kept in (("keep", 48), ("drop", 0)):
        out, err = mner(
            *(capsys, "train", recipe(folder, placeholders=choice), "--data", folder / "data"),
            *("--knowledge", folder / "knowledge.sqlite", "--output", tmp_path / choice, "--json"),
            *("--set", "training.epochs=1"),
        )
        assert "The same text stands for many training posts: 'a man'" in " ".join(err.split())
        assert json.loads(out)["knowledge"]["coverage"]["train"].get("caption", 0) == kept
        settings = json.loads((tmp_path / choice / SETTINGS_FILE).read_text())["knowledge"]
        assert sorted(settings["placeholders"]) == ([] if choice == "keep" else sorted(HINTS.values()))


def test_a_run_of_one_label_set_starts_one_of_another(folder, run, tmp_path, capsys):
    """From PER and LOC to LOC and musician: the encoder comes along, and what LOC had."""
    source, _ = mner(
        *(capsys, "train", recipe(folder, "cdner"), "--data", folder / "data", "--output", tmp_path / "one"),
        *("--knowledge", folder / "knowledge.sqlite", "--json"),
    )
    assert json.loads(source)["test"]["overall"]["f1"] == 1.0
    options = ("--knowledge", folder / "knowledge.sqlite", "--json", "--set", "training.epochs=1")
    options += ("--set", 'data.label_map={PER="musician"}', "--set", "training.learning_rate=1e-6")
    scores = {}
    for name, start in (("fresh", ()), ("carried", ("--from", tmp_path / "one"))):
        out, _ = mner(
            *(capsys, "train", recipe(folder, "cdner"), "--data", folder / "data"),
            *("--output", tmp_path / name, *start, *options),
        )
        scores[name] = json.loads(out)["test"]["per_type"].get("LOC", {}).get("recall", 0.0)
    assert scores["carried"] > 0.9 > scores["fresh"]


@pytest.mark.parametrize(
    "table", [{"stor": "x"}, {"drop": 1.0}, {"placeholders": "maybe"}, {"kinds": []}, {"kinds": "caption"}]
)
def test_the_section_is_strict(table):
    with pytest.raises(RecipeError, match="knowledge"):
        check_recipe({"model": {"name": "mmavk"}, "knowledge": table})


def test_scores_are_those_of_the_recogniser_itself(folder, run):
    """The command's route equals supplying and predicting by hand."""
    from mner.data import read_folder

    recognizer = Recognizer.from_pretrained(run)
    posts = list(
        recognizer.knowledge.supply(read_folder(folder / "data").split("test"), folder / "knowledge.sqlite")
    )
    assert score_posts(posts, recognizer.predict(posts)).overall.f1 == 1.0
