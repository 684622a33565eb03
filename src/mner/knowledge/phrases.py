"""Phrases of a post that name something, found without a parser: what visual grounding is asked for.

English posts write names with capitals, in hashtags and in mentions, so those are taken: runs of
capitalised words (with ``of``, ``the``, ``de`` ... inside), hashtags and mentions split where their case
changes. Only where there are none, runs of content words stand in. This is no noun chunker: a lower-case
name is missed, and so is anything in a language without capitals; a user with a parser hands in phrases
of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from mner.posts import Post


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_INSIDE = _words("of the de la le del di da von van der den al el 's ’s & -")
_FUNCTION_WORDS = _words(
    """a an the this that these those my your his her its our their some any no every each all both either
    i you he she it we they me him us them who whom whose which what when where why how myself yourself
    and or but nor so yet for of in on at by to from with without into onto over under about after before
    between through during against as than then if because while until since though although not n't
    is are was were be been being am do does did doing done have has had having will would shall should can
    could may might must ought let get gets got getting go goes going went gone come comes came coming
    make makes made making take takes took see sees saw seen look looks looking say says said know knows
    think thinks want wants need needs like likes love loves loved thank thanks please
    here there now today tonight tomorrow yesterday just very really too also only even still already again
    more most much many less least few lot lots good great best better nice happy
    up down out off back away s t re ve ll d m dont don't im i'm its it's can't cant won't wont rt via amp
    yes no yeah ok okay lol omg wow hey hi hello
    monday tuesday wednesday thursday friday saturday sunday"""
)
_ADDRESS = regex.compile(r"(?:https?://|www\.|t\.co/|pic\.twitter)\S*", regex.IGNORECASE)
_CASE = regex.compile(
    r"\p{Lu}+(?=\p{Lu}\p{Ll})|\p{Lu}?\p{Ll}[\p{Ll}\p{M}'’]*|\p{Lu}+|\p{Lo}[\p{Lo}\p{M}]*|\p{N}+"
)
_LETTER = regex.compile(r"\p{L}")
_PHRASES = 8


def phrases_of(post: Post, limit: int = _PHRASES) -> tuple[str, ...]:
    """The phrases of a post, in order, each once whatever its case.

    Args:
        post: The post; its words are read, not its gold.
        limit: The most phrases.
    """
    named = _distinct(_named(post.words))
    return (named or _distinct(_content(post.words)))[:limit]


def split_hashtag(tag: str) -> str:
    """A hashtag or mention as words: ``#WorldSeries2016`` gives ``World Series 2016``."""
    return " ".join(_CASE.findall(tag))


def _named(words: tuple[str, ...]) -> Iterator[str]:
    run: list[str] = []
    start = True  # Whether the next word begins a sentence, where capitals say less.
    marked = False  # Whether '#' or '@' stood just before as a word of its own.
    for word in words:
        if word in ("#", "@"):
            yield from _finish(run)
            run, marked = [], True
            continue
        if marked or (word[0] in "#@" and len(word) > 1):
            yield from _finish(run)
            run = []
            tag = split_hashtag(word)
            if tag and tag.lower() not in _FUNCTION_WORDS:
                yield tag
            marked, start = False, False
            continue
        lower = word.lower()
        capital = word[0].isupper() and not _ADDRESS.match(word)
        names = capital and (lower not in _FUNCTION_WORDS or (run and not start))
        if names or (run and lower in _INSIDE):
            run.append(word)
        else:
            yield from _finish(run)
            run = []
        start = word in (".", "!", "?", ":", "...", "…", '"', "“")
    yield from _finish(run)


def _content(words: tuple[str, ...]) -> Iterator[str]:
    run: list[str] = []
    for word in words:
        lower = word.lower()
        if (
            _LETTER.match(word)
            and lower not in _FUNCTION_WORDS
            and not _ADDRESS.match(word)
            and len(word) > 2
        ):
            run.append(word)
            continue
        yield from _finish(run)
        run = []
    yield from _finish(run)


def _finish(run: list[str]) -> Iterator[str]:
    while run and run[-1].lower() in _INSIDE | _FUNCTION_WORDS:
        run = run[:-1]
    while run and run[0].lower() in _FUNCTION_WORDS:
        run = run[1:]
    # Longer runs are headlines in capitals rather than names.
    if run and len(run) <= 8 and any(_LETTER.search(word) for word in run):
        yield " ".join(run)


def _distinct(phrases: Iterator[str]) -> tuple[str, ...]:
    return tuple({phrase.lower(): phrase for phrase in reversed(list(phrases))}.values())[::-1]
