"""The component in a real pipeline of spaCy."""

from __future__ import annotations

import pytest

spacy = pytest.importorskip("spacy")

from mner.errors import UsageError  # noqa: E402
from mner.posts import Entity, Post  # noqa: E402
from mner.recognizer import Recognizer  # noqa: E402
from mner.spacy_component import MnerComponent  # noqa: E402
from tests.contract.tiny import POSTS, tiny, tiny_picture  # noqa: E402

TEXTS = [post.text for post in POSTS] + ["", "#Toronto 🎉 @Ada"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    tiny("bert-crf").save_pretrained(path)
    return path


def test_a_pipeline_finds_what_the_recogniser_finds(folder, tmp_path):
    pipeline = spacy.blank("en")
    pipeline.add_pipe("mner", config={"model": str(folder), "device": "cpu"})
    recognizer = Recognizer.from_pretrained(folder, device="cpu")
    total = 0
    for doc, text in zip(pipeline.pipe(TEXTS, batch_size=3), TEXTS, strict=True):
        assert doc.text == text
        covered = {(e.start, e.end, e.label): e.score for e in recognizer(text)}
        assert len(doc.ents) <= len(covered)
        for span, score in zip(doc.spans["mner"], doc.spans["mner"].attrs["scores"], strict=True):
            inside = [key for key in covered if span.start_char <= key[0] and key[1] <= span.end_char]
            assert span.label_ in {label for _, _, label in inside}
            assert any(covered[key] == pytest.approx(score, abs=1e-5) for key in inside)
        total += len(doc.ents)
    assert total > 5
    pipeline.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert [(e.text, e.label_) for e in again(TEXTS[0]).ents] == [
        (e.text, e.label_) for e in pipeline(TEXTS[0]).ents
    ]


class Said:
    """A recogniser that finds given entities, so that alignment can be seen alone."""

    def __init__(self, *found):
        self.found = found

    def predict(self, posts):
        self.posts = posts
        return [[Entity(p.text[a:b], "X", a, b, 0.5) for a, b in self.found] for p in posts]


@pytest.mark.parametrize(
    ("alignment", "expected"),
    [("strict", ["Ada"]), ("contract", ["Ada"]), ("expand", ["Ada", "Toronto"])],
)
def test_entities_inside_tokens_are_aligned_as_asked(alignment, expected):
    doc = spacy.blank("en")("Ada likes Toronto")
    component = MnerComponent(Said((0, 3), (12, 15), (11, 13)), alignment=alignment)
    assert [e.text for e in component(doc).ents] == expected
    assert len(doc.spans["mner"].attrs["scores"]) == len(expected)


def test_entities_that_are_there_stay_where_asked():
    pipeline = spacy.blank("en")
    for keep, expected in (
        (True, [("Ada likes", "OLD"), ("Toronto", "X")]),
        (False, [("Ada", "X"), ("Toronto", "X")]),
    ):
        doc = pipeline("Ada likes Toronto")
        doc.ents = [doc.char_span(0, 9, label="OLD")]
        component = MnerComponent(Said((0, 3), (10, 17)), keep=keep)
        assert [(e.text, e.label_) for e in component(doc).ents] == expected


def test_a_picture_reaches_the_recogniser():
    said = Said()
    doc = spacy.blank("en")("Ada")
    doc._.mner_image, doc._.mner_alt = tiny_picture(1), "a woman"
    MnerComponent(said)(doc)
    assert said.posts == [Post.from_text("Ada", image=tiny_picture(1), alt="a woman")]
    with pytest.raises(UsageError, match="expand"):
        MnerComponent(said, alignment="expnd")
