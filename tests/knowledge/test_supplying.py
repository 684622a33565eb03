"""Posts get the knowledge that training had: what is wanted, without placeholders, some of it dropped."""

from __future__ import annotations

import json

import pytest

from mner.errors import UsageError
from mner.knowledge.exchange import import_file
from mner.knowledge.store import KnowledgeStore
from mner.knowledge.supplying import (
    PLACEHOLDER,
    KnowledgeSettings,
    coverage,
    drop_knowledge,
    with_placeholders_of,
)
from mner.posts import Knowledge, Post

SNOW = "a man is standing on a skateboard in the snow"


def posts(count=40, **fields):
    return [Post.from_words(["post", str(number)], id=str(number), **fields) for number in range(count)]


@pytest.fixture
def store(tmp_path):
    """Captions for posts 0-29, of which the even ones have the same; texts for all."""
    captions = tmp_path / "captions.txt"
    captions.write_text("".join(f"{n}.jpg :{SNOW if n % 2 == 0 else f'picture {n}'}\n" for n in range(30)))
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"id": str(n), "knowledge": f"text {n}"}) + "\n" for n in range(40)))
    with KnowledgeStore(tmp_path / "knowledge.sqlite") as opened:
        import_file(opened, captions)
        import_file(opened, texts, kind="reasoning")
    return tmp_path / "knowledge.sqlite"


def test_supplies_what_is_wanted_and_nothing_else(store):
    told = list(KnowledgeSettings(wanted=("caption",)).supply(posts(), store))
    assert [post.known("caption").text if post.known("caption") else None for post in told] == [
        (SNOW if n % 2 == 0 else f"picture {n}") if n < 30 else None for n in range(40)
    ]
    assert not any(post.known("reasoning") for post in told)
    assert list(KnowledgeSettings().supply(posts(), store)) == posts()


def test_names_the_providers_too(store):
    told = list(KnowledgeSettings(wanted=("file:texts",)).supply(posts(3), store))
    assert [post.known("reasoning").text for post in told] == ["text 0", "text 1", "text 2"]
    with pytest.raises(UsageError, match="has no knowledge called"):
        list(KnowledgeSettings(wanted=("no such",)).supply(posts(3), store))


def test_placeholders_are_found_and_become_failures(store):
    both = KnowledgeSettings(wanted=("caption", "reasoning"))
    told = list(both.supply(posts(), store))
    settings = with_placeholders_of(both, told)
    assert settings.placeholders == (SNOW,)
    assert settings.wanted == both.wanted
    again = list(settings.supply(posts(), store))
    for number, post in enumerate(again):
        captions = [known for known in post.knowledge if known.kind == "caption"]
        if number < 30 and number % 2 == 0:
            assert post.known("caption") is None
            assert [known.problem for known in captions] == [PLACEHOLDER]
        assert post.known("reasoning").text == f"text {number}"


def test_the_same_text_in_two_kinds_is_counted_by_kind():
    few = [
        Post.from_words(["a"], knowledge=(Knowledge("caption", "x"), Knowledge("ocr", "x"))) for _ in range(6)
    ]
    assert with_placeholders_of(KnowledgeSettings(), few).placeholders == ()


def test_pictures_without_a_text_have_no_placeholder():
    empty = [Post.from_words(["a"], knowledge=(Knowledge("ocr", ""),)) for _ in range(50)]
    assert with_placeholders_of(KnowledgeSettings(), empty).placeholders == ()


def test_dropping_is_seeded_whole_and_of_about_the_share():
    full = posts(2000, alt="alt", knowledge=(Knowledge("caption", "c"), Knowledge("ocr", "o")))
    dropped = drop_knowledge(full, 0.25, seed=3)
    gone = [not post.knowledge for post in dropped]
    assert 400 < sum(gone) < 600
    assert all(post.alt is None for post, lost in zip(dropped, gone, strict=True) if lost)
    assert all(post == old for post, old, lost in zip(dropped, full, gone, strict=True) if not lost)
    assert dropped == drop_knowledge(full, 0.25, seed=3)
    assert dropped != drop_knowledge(full, 0.25, seed=4)
    assert drop_knowledge(full, 0.0, seed=3) == full


def test_dropping_leaves_out_posts_by_the_beginning_of_their_id():
    full = [
        Post.from_words(["a"], id=f"{name}-{number}", alt="b") for number in range(200) for name in ("x", "y")
    ]
    every, some = drop_knowledge(full, 0.5, seed=3), drop_knowledge(full, 0.5, seed=3, but=["y-"])
    assert [post.alt for post in some if post.id[0] == "y"] == ["b"] * 200
    assert [post for post in some if post.id[0] == "x"] == [post for post in every if post.id[0] == "x"]
    assert any(post.alt is None for post in some)


def test_coverage_counts_posts_that_have_something():
    told = [
        Post.from_words(["a"], alt=" ", knowledge=(Knowledge("caption", problem="no"),)),
        Post.from_words(["a"], alt="b", knowledge=(Knowledge("caption", "c"), Knowledge("caption", "d"))),
    ]
    assert coverage(told) == {"alt": 1, "caption": 1}
