from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.knowledge.phrases import phrases_of, split_hashtag
from mner.posts import Post


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("#WorldSeries2016", "World Series 2016"),
        ("#NBAFinals", "NBA Finals"),
        ("@realDonaldTrump", "real Donald Trump"),
        ("#usa", "usa"),
        ("#大阪", "大阪"),
        ("###", ""),
    ],
)
def test_hashtags_are_split_where_case_changes(tag: str, words: str) -> None:
    assert split_hashtag(tag) == words


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("Kawhi Leonard wins in Toronto", ("Kawhi Leonard", "Toronto")),
        ("The Lord of the Rings is on https://T.co/Abc", ("Lord of the Rings",)),
        ("We saw #WorldSeries and @NBATV in New York .", ("World Series", "NBATV", "New York")),
        ("the NBA and Kawhi Leonard", ("NBA", "Kawhi Leonard")),
        ("my dog sleeps on the wet grass", ("dog sleeps", "wet grass")),
        ("Paris , paris and PARIS", ("Paris",)),
        ("", ()),
        ("😀 !!! 12", ()),
    ],
)
def test_phrases(text: str, phrases: tuple[str, ...]) -> None:
    assert phrases_of(Post.from_text(text)) == phrases


@given(st.lists(st.text(alphabet="aAbB#@'’-.é大 😀9", min_size=1, max_size=6).filter(str.strip), max_size=12))
def test_phrases_are_few_distinct_and_say_something(words: list[str]) -> None:
    phrases = phrases_of(Post.from_words(words), limit=3)
    assert len(phrases) <= 3
    assert len({phrase.lower() for phrase in phrases}) == len(phrases)
    assert all(phrase.strip() for phrase in phrases)


@pytest.mark.data
def test_most_mentions_of_real_posts_stand_in_a_phrase(real_data: Path) -> None:
    blocks = (real_data / "twitter2017/test.txt").read_text(encoding="utf-8").split("\n\n")
    inside = total = 0
    for block in blocks:
        rows = [line.split("\t") for line in block.split("\n") if "\t" in line]
        if not rows:
            continue
        post = Post.from_words([row[0] for row in rows], tags=tuple(row[1] for row in rows))
        found = " | ".join(phrases_of(post)).lower()
        inside += sum(entity.text.lower() in found for entity in post.gold())
        total += len(post.gold())
    assert total == 1351
    assert inside / total > 0.8
