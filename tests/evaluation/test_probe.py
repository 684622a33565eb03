"""The generated set: what it promises about names, types, pictures and words, and what can be had without them."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import linprog

from mner.data import read_folder
from mner.errors import UsageError
from mner.evaluation import probe_texts
from mner.evaluation.probe import BLOCK, KEY_FILE, SIZES, STORE_FILE, read_key, write_probe
from mner.evaluation.probe_drawing import PAINTERS, SIDE, draw
from mner.evaluation.probe_scoring import evaluate_probe, exchanged
from mner.evaluation.probe_swapping import with_picture_of
from mner.knowledge.attaching import KINDS, attach
from mner.knowledge.store import KnowledgeStore
from mner.knowledge.supplying import KnowledgeSettings, coverage, with_placeholders_of
from mner.posts import Entity

SMALL = {"train": 180, "valid": 60, "test": 180}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_probe(tmp_path_factory.mktemp("probe") / "data", seed=5, sizes=SMALL)


@pytest.fixture(scope="module")
def dataset(folder):
    return read_folder(folder)


@pytest.fixture(scope="module")
def key(folder):
    return read_key(folder)


@pytest.fixture(scope="module")
def known(dataset, folder):
    """The posts of each split with what the store knows."""
    return {split: list(attach(posts, folder / STORE_FILE)) for split, posts in dataset.splits.items()}


def names_of(posts):
    return {entity.text for post in posts for entity in post.gold()}


def kinds_of(posts, key):
    return Counter(key[post.id].form for post in posts)


def test_the_usual_sizes_are_large_enough():
    share = {"alone": 16 / BLOCK, "aside": 16 / BLOCK, "pair": 8 / BLOCK, "unrelated": 20 / BLOCK}
    assert SIZES["test"] * (share["alone"] + share["aside"]) >= 400
    assert SIZES["test"] * share["unrelated"] >= 500


def test_a_third_of_the_posts_has_nothing_to_do_with_its_picture(dataset, key):
    for split, posts in dataset.splits.items():
        blocks = SMALL[split] // BLOCK
        assert kinds_of(posts, key) == {
            "alone": 16 * blocks,
            "aside": 16 * blocks,
            "pair": 8 * blocks,
            "unrelated": 20 * blocks,
        }


def test_every_name_is_equally_often_of_each_type(dataset):
    for posts in dataset.splits.values():
        types = defaultdict(Counter)
        for post in posts:
            for entity in post.gold():
                types[entity.text][entity.label] += 1
        assert all(
            set(found) == set(probe_texts.TYPES) and len(set(found.values())) == 1 for found in types.values()
        )


def test_no_name_and_no_drawing_stands_in_two_splits(dataset):
    names = [names_of(posts) for posts in dataset.splits.values()]
    assert sum(map(len, names)) == len(set.union(*names))
    pixels = [
        hashlib.sha256(Image.open(post.image).tobytes()).digest()
        for posts in dataset.splits.values()
        for post in posts
    ]
    assert len(set(pixels)) == len(pixels) == sum(SMALL.values())


def test_the_same_text_stands_with_a_picture_of_each_type(dataset, key):
    groups = defaultdict(list)
    for post in dataset.split("test"):
        question = key[post.id]
        labels = {(entity.start, entity.end): entity.label for entity in post.gold()}
        if question.asked:
            groups[question.form, post.text].append((question.shown, [labels[p] for p in question.asked]))
    for (form, _), found in groups.items():
        if form == "pair":
            (first, (x, y)), (second, other) = found
            assert (first, second) == (x, y)
            assert other == [y, x]
        else:
            assert sorted(shown for shown, _ in found) == sorted(probe_texts.TYPES)
            assert all(labels == [shown] for shown, labels in found)


def test_pictures_of_unrelated_posts_say_nothing_of_their_types(dataset, key):
    seen = defaultdict(Counter)
    for post in dataset.split("train"):
        if key[post.id].form == "unrelated":
            (entity,) = post.gold()
            seen[entity.text][key[post.id].shown] += 1
    assert all(found == dict.fromkeys(probe_texts.TYPES, 1) for found in seen.values())


def shifts_exist(posts, key):
    """Whether scores of words and one shift a picture get all of these posts of one text right.

    Unknowns: a score for each asked or told name and type, and a shift for each type and picture.
    """
    types, shown = probe_texts.TYPES, [key[post.id].shown for post in posts]
    places = [(entity.start, entity.end) for entity in posts[0].gold()]
    size = len(types) * (len(places) + len(shown))
    rows = []
    for number, post in enumerate(posts):
        for place, entity in zip(range(len(places)), post.gold(), strict=True):
            for other in types:
                if other != entity.label:
                    row = np.zeros(size)
                    for label, sign in ((other, 1), (entity.label, -1)):
                        row[place * len(types) + types.index(label)] += sign
                        row[(len(places) + number) * len(types) + types.index(label)] += sign
                    rows.append(row)
    solved = linprog(np.zeros(size), A_ub=np.array(rows), b_ub=-np.ones(len(rows)), bounds=(None, None))
    return solved.status == 0


def test_pairs_cannot_be_had_by_moving_all_words_alike(dataset, key):
    by_text = defaultdict(list)
    for post in dataset.split("test"):
        by_text[key[post.id].form, post.text].append(post)
    pairs = [posts for (form, _), posts in by_text.items() if form == "pair"]
    asides = [posts for (form, _), posts in by_text.items() if form == "aside"]
    assert pairs
    assert asides
    assert not any(shifts_exist(posts, key) for posts in pairs)
    # What an aside asks can be had so, which is why there are pairs; it also shows that the test can pass.
    assert all(shifts_exist(posts, key) for posts in asides)


def words_of(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def said(posts, kind):
    return [found.text for post in posts if (found := post.known(kind)) is not None]


@pytest.mark.parametrize("kind", ["caption", "auxiliary", "reasoning"])
def test_what_is_said_names_no_type_and_its_words_are_known_from_training(known, kind):
    telling = {noun for nouns in probe_texts.NOUNS.values() for noun in nouns}
    telling |= {
        "per", "loc", "org", "misc", "person", "people", "man", "woman", "human", "place", "location", "city",
        "building", "house", "organisation", "organization", "brand", "logo", "emblem", "animal", "pet", "bird",
        *PAINTERS,
    }  # fmt: skip
    for posts in known.values():
        assert not words_of(" ".join(said(posts, kind))) & telling
    train = words_of(" ".join(said(known["train"], kind)))
    assert words_of(" ".join(said(known["test"], kind))) <= train


def test_no_sentence_about_a_picture_stands_in_two_splits(known):
    for kind in ("caption", "auxiliary"):
        train, test = set(said(known["train"], kind)), set(said(known["test"], kind))
        assert not train & test
        assert len(train) > 0.9 * SMALL["train"]
    steps = [{post.known("reasoning").steps[1] for post in known[split]} for split in ("train", "test")]
    assert not steps[0] & steps[1]


def test_nothing_that_is_said_looks_like_a_placeholder(known):
    settings = with_placeholders_of(KnowledgeSettings(), known["train"])
    assert settings.placeholders == ()


def test_all_kinds_are_known_of_all_posts(known):
    for split, posts in known.items():
        expected = ("auxiliary", "caption", "reasoning", "regions", "relevance")
        assert coverage(posts) == dict.fromkeys(expected, SMALL[split])


def test_relevance_tells_related_pictures_from_others_with_some_noise(known, key):
    related, unrelated = [], []
    for post in known["train"]:
        scores = unrelated if key[post.id].form == "unrelated" else related
        scores.append(post.known("relevance").score)
    assert min(related) >= 0.4
    assert np.mean(related) > np.mean(unrelated) + 0.35
    assert max(unrelated) > 0.35


def test_regions_lie_in_the_picture_and_the_best_holds_what_is_drawn(known):
    for post in known["test"]:
        regions = post.known("regions").regions
        assert len(regions) >= 4
        for region in regions:
            assert 0 <= region.left < region.right <= 1
            assert 0 <= region.top < region.bottom <= 1
        assert max(regions, key=lambda region: region.score).label == "thing"


@pytest.mark.parametrize("kind", list(PAINTERS))
def test_what_is_drawn_lies_in_its_boxes(kind):
    inside, outside = [], []
    for seed in range(30):
        drawing = draw(kind, np.random.default_rng(seed))
        assert drawing.image.size == (SIDE, SIDE)
        assert len(set(drawing.traits)) >= 3
        # Backgrounds are calmer than what is drawn on them.
        pixels = np.asarray(drawing.image, dtype=np.int64)
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        for left, top, right, bottom in drawing.boxes:
            mask[int(top * SIDE) : int(bottom * SIDE) + 2, int(left * SIDE) : int(right * SIDE) + 2] = True
        edges = np.abs(np.diff(pixels, axis=1)).sum(2)
        inside.append(edges[mask[:, 1:]].mean())
        outside.append(edges[~mask[:, 1:]].mean() if (~mask).any() else 0)
    assert np.mean(inside) > 1.5 * np.mean(outside)


def test_the_same_seed_writes_the_same_bytes(folder, tmp_path):
    again = write_probe(tmp_path / "data", seed=5, sizes=SMALL)
    other = write_probe(tmp_path / "other", seed=6, sizes=SMALL)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    compared = [path for path in files if not path.name.startswith(STORE_FILE)]
    assert len(compared) == sum(SMALL.values()) + 3 + 5 + 1
    assert all((folder / path).read_bytes() == (again / path).read_bytes() for path in compared)
    assert (folder / "test.jsonl").read_bytes() != (other / "test.jsonl").read_bytes()
    rows = []
    for place in (folder, again):
        with KnowledgeStore(place / STORE_FILE, read_only=True) as store:
            rows.append({row.key: row.answer.knowledge for row in store.answers()})
    assert rows[0] == rows[1]


def test_texts_are_whole_and_names_stand_where_they_should(dataset):
    for posts in dataset.splits.values():
        for post in posts:
            assert "{" not in post.text
            for entity in post.gold():
                assert post.text[entity.start : entity.end] == entity.text
                assert entity.text[0].isupper()
            assert len(post.gold_spans()) == len(post.gold())


def test_what_is_there_is_not_replaced_unasked(folder):
    with pytest.raises(UsageError):
        write_probe(folder, sizes=SMALL)


@pytest.mark.parametrize("sizes", [{"train": 50}, {"train": 0}, {"training": 60}])
def test_sizes_that_do_not_come_out_are_refused(tmp_path, sizes):
    with pytest.raises(UsageError, match="60"):
        write_probe(tmp_path, sizes=sizes)


def test_a_folder_that_is_no_probe_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not an image probe"):
        read_key(tmp_path)


class Reader:
    """Recognises the names of posts it has seen, and types them by a rule.

    Args:
        dataset: Where the places of names and what is drawn in which picture are known from.
        key: What the posts ask.
        rule: From what is drawn (None for no picture), the post's text and the gold to an entity's type.
    """

    def __init__(self, dataset, key, rule):
        self.knowledge = KnowledgeSettings(wanted=KINDS)
        self.rule = rule
        self.drawn = {}
        self.gold = {}
        self.asked = {}
        for posts in dataset.splits.values():
            for post in posts:
                self.drawn[post.image] = key[post.id].shown
                self.gold[post.id] = post.gold()
                self.asked[post.id] = key[post.id]

    def predict(self, posts, *, progress=None):
        del progress
        found = []
        for post in posts:
            shown = self.drawn.get(post.image)
            gold = self.gold[post.id]
            question = self.asked[post.id]
            types = sorted({entity.label for entity in gold})
            entities = []
            for entity in gold:
                place = (entity.start, entity.end)
                number = question.asked.index(place) if place in question.asked else None
                label = self.rule(shown, number, entity.label, types)
                entities.append(Entity(entity.text, label, *place, 1.0))
            found.append(entities)
        return found


def looking(shown, number, told, types):
    """Types by the picture where it is asked for, by elimination in pairs, and else by the text."""
    if number is None:
        return told
    if shown is None:
        return "PER"
    return shown if number == 0 else next((label for label in types if label != shown), shown)


def test_an_oracle_that_sees_what_is_drawn_has_everything(folder, dataset, key):
    result = evaluate_probe(Reader(dataset, key, looking), folder)
    for found in (*result.forms.values(), result.ambiguous):
        assert found.own == 1.0
        assert found.followed == 1.0
        assert found.swapped == 0.0
        assert found.told == found.told_swapped == 1.0
    assert result.ambiguous.none == 0.25
    assert result.ambiguous.posts == 32 * 3
    assert result.unrelated.overall.f1 == 1.0
    assert result.shortcomings(1.0) == []


def test_one_that_always_says_the_same_has_a_quarter(folder, dataset, key):
    result = evaluate_probe(Reader(dataset, key, lambda *_: "ORG"), folder)
    assert result.ambiguous.own == result.ambiguous.none == 0.25
    assert result.pairs.own == 0.0
    assert result.unrelated.overall.f1 == 0.25
    assert len(result.shortcomings(1.0)) == 5


def test_one_that_types_all_names_by_the_picture_fails_on_what_the_text_tells(folder, dataset, key):
    result = evaluate_probe(Reader(dataset, key, lambda shown, *_: shown or "PER"), folder)
    assert result.ambiguous.own == result.ambiguous.followed == 1.0
    assert result.forms["aside"].told == 0.25
    assert result.pairs.own == 0.0
    assert result.unrelated.overall.f1 < 0.5
    assert any("unrelated" in one for one in result.shortcomings(1.0))


def test_exchanged_pictures_show_another_type_of_another_text(dataset, key):
    posts = dataset.split("test")
    questions = [key[post.id] for post in posts]
    donors = exchanged(posts, questions, seed=3)
    assert set(donors) == {index for index, question in enumerate(questions) if question.asked}
    for index, donor in donors.items():
        assert questions[donor].form == questions[index].form
        assert questions[donor].shown != questions[index].shown
        assert posts[donor].text != posts[index].text
        if questions[index].form == "pair":
            assert questions[donor].shown in {entity.label for entity in posts[index].gold()}
    assert donors == exchanged(posts, questions, seed=3)
    assert donors != exchanged(posts, questions, seed=4)
    given = with_picture_of(posts[0], posts[1])
    assert (given.text, given.image) == (posts[0].text, posts[1].image)


def test_pictures_are_pictures(dataset):
    for post in dataset.split("valid"):
        with Image.open(io.BytesIO(post.image.read_bytes())) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (SIDE, SIDE))


def test_the_key_can_be_read_by_anyone(folder, dataset):
    document = json.loads((folder / KEY_FILE).read_text())
    assert document["seed"] == 5
    assert set(document["posts"]) == {post.id for posts in dataset.splits.values() for post in posts}
