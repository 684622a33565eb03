"""Posts: where words stand in texts of all kinds, and entities by words and by characters."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mner import Entity, Knowledge, Post, Region, posts
from mner.errors import DataError, TagError
from mner.posts import split_words
from mner.tags import BIOES, Span

# Pieces that have broken word splitters, to be put together in any order.
PIECES = [
    "Kawhi", "Leonard's", "don’t", "U.S.", "AT&T", "3.5", "2017", "5pm", "@user", "#NBA", "https://t.co/aB1",
    "👍", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇦", "❤️", "1️⃣", "☕", "\U0001faff", "e\u0301", "\u0301", "Ṩ\u0323\u0307",
    "ירושלים", "القاهرة", "مُحَمَّد", "می‌روم", "\u202babc\u202c", "东京", "東京タワー", "서울", "ไทย", "हिन्दी",
    "\u200b", "\u200d", "\ufe0f", "\u00ad", "\ufeff", "\x00", "\x07", "\x1b[0m", "\ufffd", "\u00a0", "\u3000",
    " ", "\t", "\r\n", "\u2028", ".", "...", "…", "!", "?", "-", "–", "'", "’", "“", "”", "(", ")", "_", "%",
    "€", "\ue000", "𝕏", "ﬁ", "ก็",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(max_size=40),
    st.text(st.characters(codec="ascii"), max_size=40),
)


@given(texts)
@example("")
@example("\x00")
@example(" \u0301")
def test_words_stand_where_they_say(text):
    post = Post.from_text(text)
    assert post.text == text
    end_before = 0
    for word, (start, end) in zip(post.words, post.offsets, strict=True):
        assert end_before <= start < end <= len(text)
        assert text[start:end] == word
        assert not any(character.isspace() for character in word)
        end_before = end


@given(texts)
@example("a \u0301b")
@example("\u0600 a")
def test_words_found_piece_by_piece_are_those_of_the_whole_text(text):
    """Pieces between spaces are looked up one by one; the pattern run over the whole text must agree."""
    visible = (match for match in posts._WORD.finditer(text) if not posts._INVISIBLE.fullmatch(match.group()))
    assert split_words(text) == tuple(match.span() for match in visible)


@given(texts)
def test_every_character_that_can_be_seen_is_in_a_word(text):
    """By Unicode's general categories: letters, numbers, punctuation and symbols leave a mark."""
    covered = {place for start, end in split_words(text) for place in range(start, end)}
    fillers = "\u115f\u1160\u3164\uffa0"  # letters by category, blank by design
    for place, character in enumerate(text):
        if unicodedata.category(character)[0] in "LNPS" and character not in fillers:
            assert place in covered, repr(character)


@given(st.text(st.characters(categories=["Z", "Cc", "Cf", "Cs"])))
def test_what_cannot_be_seen_is_no_word(text):
    assert split_words(text) == ()


@pytest.mark.parametrize(
    "emoji",
    [
        "👍",
        "👍🏽",
        "👨‍👩‍👧‍👦",
        "🏳️‍🌈",
        "🇨🇦",
        "❤️",
        "❤️‍🔥",
        "🧑🏿‍🚀",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ],
)
def test_an_emoji_of_many_code_points_is_one_word(emoji):
    assert Post.from_text(f"Go{emoji}{emoji} Paris").words == ("Go", emoji, emoji, "Paris")


def test_a_framed_digit_is_one_word():
    assert Post.from_text("step 1️⃣ go").words == ("step", "1️⃣", "go")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Kawhi Leonard's win", "Kawhi|Leonard|'s|win"),
        ("O’Brien doesn’t", "O’Brien|doesn’t"),
        ("in the U.S. now.", "in|the|U.S.|now|."),
        ("AT&T T-Mobile and/or", "AT&T|T-Mobile|and|/|or"),
        ("@NBA #GoSpursGo", "@|NBA|#|GoSpursGo"),
        ("see https://t.co/aB1.", "see|https://t.co/aB1|."),
        ("(www.bbc.co.uk/news/)", "(|www.bbc.co.uk/news/|)"),
        ("http://a.b/c?d=e&f#g, next", "http://a.b/c?d=e&f#g|,|next"),
        ("https://t.co/x東京", "https://t.co/x|東|京"),
        ("on 4/5/2016 at 5pm, 3.5% of 1,000", "on|4/5/2016|at|5pm|,|3.5%|of|1,000"),
        ("iPhone手机 2017年底", "iPhone|手|机|2017|年|底"),
        ("東京タワー", "東|京|タ|ワ|ー"),
        ("مُحَمَّد في القاهرة", "مُحَمَّد|في|القاهرة"),
        ("می‌روم", "می‌روم"),  # a zero-width non-joiner inside a word belongs to it
        ("Cafe\u0301 Zu\u0308rich", "Cafe\u0301|Zu\u0308rich"),
        ("ab\u200bcd", "ab|cd"),
        ("a\x00b", "a|b"),
        ("x \u0301y", "x|\u0301|y"),
        ("new \U0001faff emoji", "new|\U0001faff|emoji"),
        ("\ud83d half", "half"),
        ("!!!", "!|!|!"),
    ],
)
def test_words_of(text, words):
    assert Post.from_text(text).words == tuple(words.split("|"))


def test_ten_thousand_words_are_split_in_no_time():
    text = "Leonard's 👨‍👩‍👧‍👦 wins. " * 2500
    assert len(split_words(text)) == 5 * 2500


def test_long_runs_do_not_blow_up():
    """Patterns that can match one text in many ways take exponential time; these would take for ever."""
    for run in (
        "a-" * 20_000,
        "a." * 20_000,
        "1," * 20_000,
        "'" * 20_000,
        "http://" * 5_000,
        "\u0301" * 20_000,
    ):
        text = run + "!"
        assert split_words(text)[-1][1] == len(text)


@given(st.lists(st.text(min_size=1, max_size=6), max_size=8), st.sampled_from([" ", "", "\u200b", " – "]))
def test_given_words_keep_their_place_whatever_they_contain(words, joiner):
    post = Post.from_words(words, joiner=joiner)
    assert post.text == joiner.join(words)
    assert post.words == tuple(words)
    assert [post.text[a:b] for a, b in post.offsets] == words


def test_tags_that_do_not_fit_the_words_are_refused_with_both_numbers():
    with pytest.raises(DataError) as caught:
        Post.from_words(["a", "b"], tags=["O"])
    assert "2 tags" in str(caught.value)
    assert "Got: 1" in str(caught.value)


@st.composite
def posts_with_spans(draw: st.DrawFn) -> tuple[Post, list[Span]]:
    post = draw(
        st.one_of(texts.map(Post.from_text), st.lists(st.text(min_size=1), max_size=8).map(Post.from_words))
    )
    borders = sorted(draw(st.sets(st.integers(0, len(post.words)), max_size=8)))
    spans = [
        Span(start, end, draw(st.sampled_from(["PER", "LOC"])))
        for start, end in itertools.pairwise(borders)
        if draw(st.booleans())
    ]
    return post, spans


@given(posts_with_spans())
def test_spans_of_words_become_characters_and_come_back(drawn):
    post, spans = drawn
    entities = post.to_entities(spans)
    for entity, span in zip(entities, spans, strict=True):
        assert post.text[entity.start : entity.end] == entity.text
        assert entity.text.startswith(post.words[span.start])
        assert entity.text.endswith(post.words[span.end - 1])
        assert entity.label == span.label
    annotated = post.with_fields(entities=entities)
    assert annotated.gold() == annotated.gold("strict") == entities
    assert annotated.gold_spans() == spans


@given(texts, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15)), max_size=6))
def test_entities_by_characters_take_the_words_that_they_touch(text, places):
    """Against a slow loop: each entity's words are those that share a character with it."""
    entities = tuple(
        Entity(text[a : a + n], "PER", a, min(a + n, len(text))) for a, n in places if a < len(text)
    )
    post = Post.from_text(text, entities=entities)
    assert post.gold() == entities  # the score asks for them as they were given
    taken: set[int] = set()
    wanted = []
    for entity in sorted(entities, key=lambda e: (e.start, -e.end)):
        characters = set(range(entity.start, entity.end))
        touched = [i for i, (a, b) in enumerate(post.offsets) if characters & set(range(a, b))]
        if touched and not taken & set(touched):
            taken |= set(touched)
            wanted.append(Span(touched[0], touched[-1] + 1, "PER"))
    assert post.gold_spans() == wanted


@pytest.mark.parametrize(
    ("text", "start", "end", "words"),
    [
        ("NewYork's mayor", 0, 3, ["NewYork"]),  # ends inside a word
        ("pro-Trump rally", 4, 9, ["pro-Trump"]),  # begins inside a word
        ("in #NewYork today", 3, 11, ["#", "NewYork"]),
        ("a Los  Angeles b", 2, 14, ["Los", "Angeles"]),  # a wide gap within
        ("to 👨‍👩‍👧 Inc", 3, 4, ["👨‍👩‍👧"]),  # one code point of an emoji
        ("a \u200b b", 2, 3, []),  # nothing that can be seen
    ],
)
def test_borders_inside_words(text, start, end, words):
    post = Post.from_text(text, entities=(Entity(text[start:end], "X", start, end),))
    found = post.gold_spans()
    assert [list(post.words[s.start : s.end]) for s in found] == ([words] if words else [])


def test_gold_of_tags_is_read_under_the_convention():
    post = Post.from_words(["New", "York", "wins"], tags=["I-LOC", "I-LOC", "O"])
    assert post.gold() == (Entity("New York", "LOC", 0, 8),)
    assert post.gold("strict") == ()
    assert post.tags == ("I-LOC", "I-LOC", "O")  # as the file had them
    bioes = Post.from_words(["New", "York"], tags=["B-LOC", "E-LOC"], scheme=BIOES)
    assert bioes.gold("strict") == (Entity("New York", "LOC", 0, 8),)


def test_tags_of_another_scheme_are_an_error_that_says_so():
    with pytest.raises(TagError, match="another scheme"):
        Post.from_words(["York"], tags=["S-LOC"]).gold()


def test_no_gold_is_not_empty_gold():
    bare, empty = Post.from_text("Hello", id="7"), Post.from_text("Hello", entities=())
    assert (bare.is_annotated, empty.is_annotated) == (False, True)
    assert empty.gold() == ()
    for ask in (bare.gold, bare.gold_spans):
        with pytest.raises(DataError, match="'7'"):
            ask()


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b\ufeff", "\x00"])
def test_a_post_with_nothing_to_see_has_no_words(text):
    post = Post.from_text(text, entities=())
    assert (post.words, post.gold_spans(), post.to_entities([])) == ((), [], ())


def test_an_entity_as_json():
    assert Entity("Ann", "PER", 0, 3).as_dict() == {"text": "Ann", "label": "PER", "start": 0, "end": 3}
    assert Entity("Ann", "PER", 0, 3, 0.5).as_dict()["score"] == 0.5


def test_records_cannot_be_changed_and_cross_to_other_processes():
    post = Post.from_words(
        ["Ann"],
        tags=["B-PER"],
        id="1",
        image=b"bytes",
        knowledge=(Knowledge("regions", regions=(Region(0, 0, 1, 1, "face", 0.5),)),),
    )
    assert pickle.loads(pickle.dumps(post)) == post
    with pytest.raises(dataclasses.FrozenInstanceError):
        post.text = "Bob"  # type: ignore[misc]


def test_knowledge_that_failed_is_not_known():
    failed = Knowledge("caption", problem="no picture")
    first, second = Knowledge("caption", "a dog"), Knowledge("caption", "a cat")
    post = Post.from_text("x", knowledge=(failed, first, second))
    assert post.known("caption") is first
    assert post.known("ocr") is None
    assert Post.from_text("x", knowledge=(failed,)).known("caption") is None


@pytest.mark.data
def test_real_posts_are_split_much_as_they_were_given(real_data):
    """Twitter-2015 and 2017: nearly every border between given words is one here too."""
    given_borders = found_borders = 0
    for name in ("twitter2015", "twitter2017"):
        lines = (real_data / name / "test.txt").read_text(encoding="utf-8").split("\n")
        words: list[str] = []
        for line in lines:
            if "\t" in line:
                words.append(line.split("\t")[0])
            elif words:
                post = Post.from_words(words)
                mine = {border for place in split_words(post.text) for border in place}
                theirs = {border for place in post.offsets for border in place}
                given_borders += len(theirs)
                found_borders += len(theirs & mine)
                words = []
    assert given_borders > 100_000
    assert found_borders / given_borders > 0.97
