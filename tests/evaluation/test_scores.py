"""Scores against the CoNLL script's algorithm, seqeval's two modes and a slow count of sets."""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import IOB1 as SEQEVAL_IOB1
from seqeval.scheme import IOB2, IOBES

from mner import Entity, Post
from mner.errors import DataError
from mner.evaluation.scores import Counts, Scores, score, score_posts
from mner.tags import BIO, BIOES, IOB1, Convention, Scheme
from tests.evaluation import conlleval

LABELS = ("PER", "LOC", "X")
Rows = list[list[str]]


def tags_of(prefixes: str) -> st.SearchStrategy[str]:
    marked = [f"{prefix}-{label}" for prefix in prefixes for label in LABELS]
    # O as often as any of the others together would leave few spans to disagree about.
    return st.sampled_from(["O", "O", *marked])


@st.composite
def two_taggings(draw: st.DrawFn, prefixes: str) -> tuple[Rows, Rows]:
    """Gold and predicted tags for some sentences; predictions partly copied from gold, so that many agree."""
    gold: Rows = []
    predicted: Rows = []
    for length in draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)):
        true = draw(st.lists(tags_of(prefixes), min_size=length, max_size=length))
        other = draw(st.lists(tags_of(prefixes), min_size=length, max_size=length))
        keep = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        gold.append(true)
        predicted.append([t if kept else o for t, o, kept in zip(true, other, keep, strict=True)])
    return gold, predicted


def scored(gold: Rows, predicted: Rows, scheme: Scheme, convention: str) -> Scores:
    def posts(rows: Rows) -> list[Post]:
        words = [[f"w{place}" for place in range(len(row))] for row in rows]
        return [Post.from_words(w, tags=row, scheme=scheme) for w, row in zip(words, rows, strict=True)]

    return score_posts(posts(gold), [post.gold(convention) for post in posts(predicted)], convention)


def same_as_script(gold: Rows, predicted: Rows, scheme: Scheme) -> None:
    ours = scored(gold, predicted, scheme, "conll")
    script = conlleval.count(gold, predicted)
    assert {
        label: (counts.gold, counts.predicted, counts.correct) for label, counts in ours.per_type.items()
    } == script
    total = tuple(sum(column) for column in zip(*script.values(), strict=True)) or (0, 0, 0)
    assert (ours.overall.gold, ours.overall.predicted, ours.overall.correct) == total
    for counts, numbers in [(ours.overall, total)] + [(ours.per_type[k], v) for k, v in script.items()]:
        assert (counts.precision, counts.recall, counts.f1) == pytest.approx(
            conlleval.precision_recall_f1(*numbers)
        )


def same_as_seqeval_default(gold: Rows, predicted: Rows, scheme: Scheme) -> None:
    ours = scored(gold, predicted, scheme, "conll")
    with warnings.catch_warnings():
        # seqeval's way of saying that a fraction is undefined and given as 0.
        warnings.simplefilter("ignore")
        for measure, value in (
            (precision_score, ours.overall.precision),
            (recall_score, ours.overall.recall),
            (f1_score, ours.overall.f1),
        ):
            assert value == pytest.approx(measure(gold, predicted))
            each = measure(gold, predicted, average=None)
            mine = [getattr(c, measure.__name__.split("_")[0]) for c in ours.per_type.values()]
            assert mine == pytest.approx(list(each))


def same_as_seqeval_strict(gold: Rows, predicted: Rows, scheme: Scheme, theirs: type) -> None:
    ours = scored(gold, predicted, scheme, "strict")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        micro = strict_scores(gold, predicted, average="micro", scheme=theirs)
        each = strict_scores(gold, predicted, average=None, scheme=theirs)
    assert (ours.overall.precision, ours.overall.recall, ours.overall.f1) == pytest.approx(micro[:3])
    counts = list(ours.per_type.values())
    assert [c.precision for c in counts] == pytest.approx(list(each[0]))
    assert [c.recall for c in counts] == pytest.approx(list(each[1]))
    assert [c.f1 for c in counts] == pytest.approx(list(each[2]))
    assert [c.gold for c in counts] == list(each[3])


@given(two_taggings("BI"))
@settings(max_examples=300)
def test_conll_convention_is_the_scripts_on_any_b_i_o(taggings):
    same_as_script(*taggings, BIO)
    same_as_script(*taggings, IOB1)  # the script knows no scheme: both read the same


@given(two_taggings("BIES"))
@settings(max_examples=300)
def test_conll_convention_is_the_scripts_on_any_b_i_o_e_s(taggings):
    same_as_script(*taggings, BIOES)


@given(two_taggings("BI"))
@settings(max_examples=200)
def test_conll_convention_is_seqevals_default_on_any_b_i_o(taggings):
    same_as_seqeval_default(*taggings, BIO)


@given(two_taggings("BIES"))
@settings(max_examples=200)
def test_conll_convention_is_seqevals_default_on_any_b_i_o_e_s(taggings):
    same_as_seqeval_default(*taggings, BIOES)


@given(two_taggings("BI"))
@settings(max_examples=200)
def test_strict_convention_is_seqevals_iob2(taggings):
    same_as_seqeval_strict(*taggings, BIO, IOB2)


@given(two_taggings("BIES"))
@settings(max_examples=200)
def test_strict_convention_is_seqevals_iobes(taggings):
    same_as_seqeval_strict(*taggings, BIOES, IOBES)


def without_stray_b(rows: Rows) -> Rows:
    """The rows with every B- that does not follow a tag of its own type turned into I-."""
    cleaned = []
    for row in rows:
        clean: list[str] = []
        for tag in row:
            stray = tag.startswith("B-") and not (clean and clean[-1][2:] == tag[2:])
            clean.append(f"I-{tag[2:]}" if stray else tag)
        cleaned.append(clean)
    return cleaned


@given(two_taggings("BI"))
@settings(max_examples=200)
def test_strict_convention_is_seqevals_iob1_where_no_b_is_stray(taggings):
    gold, predicted = taggings
    same_as_seqeval_strict(without_stray_b(gold), without_stray_b(predicted), IOB1, SEQEVAL_IOB1)


@pytest.mark.parametrize(
    ("tags", "ours", "seqevals"),
    [
        # IOB1's only mistake is a B- that follows nothing of its type. Here it spoils the span that it opens,
        # and that alone. seqeval starts a new entity at the I- inside the spoilt span,
        (["B-PER", "I-PER"], 0, 1),
        # and drops the right span of one word before a stray B- of another type.
        (["I-LOC", "B-LOC", "B-PER"], 2, 1),
    ],
)
def test_where_seqevals_iob1_differs_it_is_about_a_stray_b(tags, ours, seqevals):
    from seqeval.scheme import Entities

    assert scored([tags], [tags], IOB1, "strict").overall.gold == ours
    assert len(Entities([tags], SEQEVAL_IOB1).entities[0]) == seqevals


@pytest.mark.parametrize("scheme", [BIO, BIOES, IOB1], ids=lambda s: s.name)
def test_every_short_sequence_scores_as_the_script_says(scheme):
    """All tag sequences of up to three words over two types, gold against a fixed choice of predictions."""
    prefixes = "BIES" if scheme is BIOES else "BI"
    names = ["O", *(f"{p}-{t}" for p in prefixes for t in ("PER", "LOC"))]
    for length in (1, 2, 3):
        rows = [list(row) for row in itertools.product(names, repeat=length)]
        same_as_script(rows, rows[::-1], scheme)
        same_as_script(rows, rows[1:] + rows[:1], scheme)


entities = st.builds(
    lambda start, length, label: Entity("x" * length, label, start, start + length),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from(LABELS),
)


@given(st.lists(st.tuples(st.lists(entities, max_size=6), st.lists(entities, max_size=6)), max_size=5))
def test_counts_are_those_of_a_slow_loop_that_crosses_off(posts):
    """Also with duplicates and overlaps, which tags cannot write."""
    gold = [true for true, _ in posts]
    predicted = [found for _, found in posts]
    correct: Counter[str] = Counter()
    for true, found in posts:
        left = [(e.start, e.end, e.label) for e in true]
        for entity in found:
            if (entity.start, entity.end, entity.label) in left:
                left.remove((entity.start, entity.end, entity.label))
                correct[entity.label] += 1
    result = score(iter(gold), iter(predicted))
    assert result.posts == len(posts)
    assert list(result.per_type) == sorted({e.label for es in gold + predicted for e in es})
    for label, counts in result.per_type.items():
        assert counts.gold == sum(e.label == label for es in gold for e in es)
        assert counts.predicted == sum(e.label == label for es in predicted for e in es)
        assert counts.correct == correct[label]
    assert result.overall == sum(result.per_type.values(), Counts())


def test_a_duplicate_prediction_counts_as_predicted_twice_and_correct_once():
    name = Entity("Ann", "PER", 0, 3)
    assert score([[name]], [[name, name]]).overall == Counts(gold=1, predicted=2, correct=1)


def test_scores_and_texts_of_entities_do_not_matter():
    assert score([[Entity("Ann", "PER", 0, 3)]], [[Entity("", "PER", 0, 3, 0.1)]]).overall.f1 == 1.0


def test_the_same_offsets_in_another_post_are_not_right():
    name = Entity("Ann", "PER", 0, 3)
    assert score([[name], []], [[], [name]]).overall == Counts(gold=1, predicted=1, correct=0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
@example(0, 0, 0)
def test_fractions_are_the_textbooks(gold, predicted, correct):
    correct = min(correct, gold, predicted)
    counts = Counts(gold, predicted, correct)
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx(
        conlleval.precision_recall_f1(gold, predicted, correct)
    )


def test_conventions_disagree_on_a_stray_tag_and_the_scores_say_which_was_used():
    post = Post.from_words(["in", "New", "York"], tags=["O", "I-LOC", "I-LOC"])
    lenient = score_posts([post], [post.gold("conll")], "conll")
    strict = score_posts([post], [post.gold("conll")], Convention.STRICT)
    assert (lenient.overall.gold, strict.overall.gold) == (1, 0)
    assert (lenient.as_dict()["convention"], strict.as_dict()["convention"]) == ("conll", "strict")


def test_gold_given_by_characters_is_scored_as_given():
    """An entity inside a word cannot be predicted, and still counts as missed."""
    inside = Entity("York", "LOC", 3, 7)
    post = Post.from_text("NewYorker", entities=(inside,))
    assert score_posts([post], [post.to_entities(post.gold_spans())]).overall == Counts(1, 1, 0)
    assert score_posts([post], [[inside]]).overall == Counts(1, 1, 1)


@pytest.mark.parametrize("gold_is_short", [True, False])
def test_unequal_numbers_of_posts_are_an_error_that_says_which_is_short(gold_is_short):
    short, long = [[], []], [[], [], [], []]
    with pytest.raises(DataError) as caught:
        score(*((short, long) if gold_is_short else (long, short)))
    side = "gold" if gold_is_short else "predictions"
    assert f"{side} for 2 posts" in str(caught.value)
    assert "at least 3" in str(caught.value)
    assert caught.value.hint


def test_nothing_to_score_is_zero_and_not_an_error():
    result = score([], [])
    assert result.overall == Counts()
    assert (result.overall.precision, result.overall.recall, result.overall.f1) == (0.0, 0.0, 0.0)


def test_as_dict_is_json_and_complete():
    true = [[Entity("Ann", "PER", 0, 3), Entity("Rome", "LOC", 7, 11)]]
    found = [[Entity("Ann", "PER", 0, 3, 0.9), Entity("Rome", "ORG", 7, 11, 0.6)]]
    document = json.loads(json.dumps(score(true, found).as_dict()))
    assert document["posts"] == 1
    assert document["overall"] == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "gold": 2,
        "predicted": 2,
        "correct": 1,
    }
    assert list(document["per_type"]) == ["LOC", "ORG", "PER"]
    assert document["per_type"]["ORG"]["gold"] == 0


def test_streams_are_taken_post_by_post():
    """A million posts need no more memory than one: nothing is kept, and neither side runs ahead."""
    taken = {"gold": 0, "predicted": 0}

    def stream(side: str, count: int):
        for _ in range(count):
            taken[side] += 1
            assert abs(taken["gold"] - taken["predicted"]) <= 1
            yield ()

    assert score(stream("gold", 1000), stream("predicted", 1000)).posts == 1000
