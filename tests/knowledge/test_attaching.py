"""Handing posts what the store knows: which source counts, and that nothing else is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mner.errors import UsageError
from mner.knowledge.attaching import attach
from mner.knowledge.keys import Source
from mner.knowledge.provider import Answer
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.posts import Knowledge, Post
from tests.machine import at_usual_speed, cpu_seconds

OLD = Source("old", "caption", {"model": "o"}, sees_text=True)
NEW = Source("new", "caption", {"model": "n"}, sees_text=True)
OCR = Source("rapidocr", "ocr", {}, sees_picture=True)
CHAIN = Source("chain", "reasoning", {}, sees_text=True, sees_knowledge=("caption",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with KnowledgeStore(tmp_path / "k.sqlite") as opened:
        yield opened


def tell(store: KnowledgeStore, source: Source, post: Post, text: str | None) -> None:
    picture = store.picture_keys([post.image])[0][0]
    answer = Answer(None, problem="bad") if text is None else Answer(Knowledge(source.kind, text=text))
    store.save([StoredAnswer(source.keys_of(post, picture)[0], source, answer)])


def texts(post: Post) -> list[tuple[str, str | None]]:
    return [(known.kind, known.problem or known.text) for known in post.knowledge]


def test_the_latest_source_with_a_result_counts(store: KnowledgeStore) -> None:
    a, b, c, d = (Post.from_text(text) for text in "abcd")
    tell(store, OLD, a, "old a")
    tell(store, OLD, b, "old b")
    tell(store, OLD, c, None)
    tell(store, NEW, a, "new a")
    tell(store, NEW, b, None)
    found = [texts(post) for post in attach([a, b, c, d], store, ["caption"])]
    assert found == [[("caption", "new a")], [("caption", "old b")], [("caption", "bad")], []]
    assert [texts(post) for post in attach([a], store, ["old"])] == [[("caption", "old a")]]
    assert [texts(post) for post in attach([a], store, [OLD])] == [[("caption", "old a")]]
    assert [texts(post) for post in attach([a], store, [OLD.key[:8]])] == [[("caption", "old a")]]
    assert [texts(post) for post in attach([a], store.path, ["old", "new"])] == [
        [("caption", "old a"), ("caption", "new a")]
    ]


def test_what_a_post_has_comes_first_and_others_stay_as_they_are(store: KnowledgeStore) -> None:
    post = Post.from_text("a", knowledge=(Knowledge("caption", text="given"),))
    tell(store, NEW, post, "new")
    (attached,) = attach([post], store)
    assert texts(attached) == [("caption", "given"), ("caption", "new")]
    other = Post.from_text("b")
    assert next(attach([other], store)) is other


def test_pictures_decide_for_those_who_see_pictures(store: KnowledgeStore, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"one")
    (tmp_path / "copy.jpg").write_bytes(b"one")
    (tmp_path / "b.jpg").write_bytes(b"two")
    tell(store, OCR, Post.from_text("x", image=tmp_path / "a.jpg"), "read")
    given = [
        Post.from_text("y", image=tmp_path / name) for name in ("a.jpg", "copy.jpg", "b.jpg", "none.jpg")
    ]
    assert [texts(post) for post in attach([*given, Post.from_text("z")], store, ["ocr"])] == [
        [("ocr", "read")],
        [("ocr", "read")],
        [],
        [],
        [],
    ]


def test_a_chain_is_found_with_the_caption_that_it_was_made_with(store: KnowledgeStore) -> None:
    post = Post.from_text("a")
    tell(store, OLD, post, "old")
    tell(store, CHAIN, next(attach([post], store, ["caption"])), "because old")
    assert texts(next(attach([post], store, ["reasoning"]))) == [("reasoning", "because old")]
    tell(store, NEW, post, "new")
    assert texts(next(attach([post], store, ["reasoning"]))) == [("reasoning", "because old")]
    bare = Post.from_text("b")
    tell(store, CHAIN, bare, "without")
    assert texts(next(attach([bare], store, ["caption", "reasoning"]))) == [("reasoning", "without")]


def test_unknown_names_are_refused(store: KnowledgeStore) -> None:
    tell(store, OLD, Post.from_text("a"), "x")
    with pytest.raises(UsageError, match="Did you mean 'caption'"):
        list(attach([], store, ["captoin"]))
    assert list(attach([Post.from_text("a")], store, ["regions"])) == [Post.from_text("a")]


def test_a_stream_stays_a_stream(store: KnowledgeStore) -> None:
    def endless() -> Iterator[Post]:
        while True:
            yield Post.from_text("a")

    tell(store, OLD, Post.from_text("a"), "x")
    stream = attach(endless(), store, ["caption"])
    assert all(texts(next(stream)) == [("caption", "x")] for _ in range(5000))


def test_attaching_costs_under_a_millisecond(store: KnowledgeStore) -> None:
    given = [Post.from_text(f"post {number}") for number in range(4000)]
    store.save(
        StoredAnswer(OLD.keys_of(post)[0], OLD, Answer(Knowledge("caption", text="x"))) for post in given
    )
    assert all(post.known("caption") for post in attach(given, store, ["caption"]))
    seconds = at_usual_speed(lambda: cpu_seconds(lambda: list(attach(given, store, ["caption"]))))
    assert seconds / len(given) < 0.001
