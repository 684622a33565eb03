"""Posts, entities and knowledge: the records that travel the whole route. Plain Python, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import regex

from mner.errors import DataError, shown
from mner.tags import BIO, Convention, Scheme, Span, to_spans

Offsets = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """A named thing in a post: ``post.text[start:end] == text``.

    `start` and `end` count Unicode code points of the original text, end exclusive. `score` is the
    probability of exactly this span with this type, and None for gold.
    """

    text: str
    label: str
    start: int
    end: int
    score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entity as JSON writes it; a gold entity has no score."""
        record: dict[str, Any] = {
            "text": self.text,
            "label": self.label,
            "start": self.start,
            "end": self.end,
        }
        if self.score is not None:
            record["score"] = self.score
        return record


class Region(NamedTuple):
    """A part of a picture, as fractions of its width and height: left, top, right, bottom in 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float
    label: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Something said about a post or its picture that does not stand in the post.

    Args:
        kind: What it is: ``caption``, ``auxiliary``, ``reasoning``, ``ocr``, ``regions`` or ``relevance``.
        text: What is said, for the kinds that are text; steps of a chain are joined by newlines.
        steps: The steps of a reasoning chain, in order.
        regions: The parts of the picture, for ``regions``.
        score: The relevance of the picture to the text, for ``relevance``.
        origin: Who said it: provider and model.
        problem: Why there is nothing, where making it failed.
    """

    kind: str
    text: str | None = None
    steps: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    score: float | None = None
    origin: str = ""
    problem: str | None = None


# Writing without spaces between words, where a character is a word; U+30FC lengthens kana of any script.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\u30FC\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_LETTER = rf"[\p{{L}}--{_UNSPACED}]"
# Nothing to see: spaces, controls, halves of surrogate pairs, and format characters such as the zero-width
# space. Code points that this version of Unicode does not assign yet can be seen: they are new emoji.
_UNSEEN = r"[\s\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}]"
# Words of a raw text. In this order: addresses, without a full stop or bracket that ends the sentence around
# them; abbreviations with inner full stops; numbers; unspaced writing; an English clitic; words with inner
# apostrophes or hyphens; a space alone, lest a stray combining mark takes it along; any other visible
# character with what combines with it (an emoji of several code points is one word). '@' and '#' stand
# alone, so that the borders of a name inside a hashtag can be said.
_WORD = regex.compile(
    rf"""
    (?:https?://|www\.)[^<>"{_UNSPACED}{_UNSEEN}]*[^<>"\p{{P}}{_UNSPACED}{_UNSEEN}]/?
    | (?:{_LETTER}\.){{2,}}
    | \p{{N}}+(?:[.,:/]\p{{N}}+)*(?:st|nd|rd|th|am|pm|s|k|m|%|°)?(?![{_LETTER}\p{{M}}\p{{N}}])
    | {_UNSPACED}\p{{M}}*
    | ['’](?:s|re|ve|ll|d|m|t)(?![\p{{L}}\p{{M}}\p{{N}}_])
    | [{_LETTER}\p{{N}}_][{_LETTER}\p{{M}}\p{{N}}_\u200c\u200d]*
      (?:(?:[-&]|['’](?!(?:s|re|ve|ll|d|m)(?![\p{{L}}\p{{M}}\p{{N}}_])))
         [{_LETTER}\p{{N}}_][{_LETTER}\p{{M}}\p{{N}}_]*)*
    | \s
    | \X
    """,
    regex.VERBOSE | regex.IGNORECASE | regex.V1,
)
_INVISIBLE = regex.compile(rf"{_UNSEEN}*", regex.V1)


# Where a character that combines stands beside a space, the two are one character of the text, and the
# text cannot be cut there.
_JOINED_SPACE = regex.compile(
    r"\ [\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}] | \p{GCB=Prepend}\ ", regex.VERBOSE | regex.V1
)


def split_words(text: str) -> Offsets:
    """Where the words of a raw text stand.

    Characters that cannot be seen (white space, controls, zero-width characters) belong to no word.

    Returns:
        Half-open character intervals, ascending, not overlapping.
    """
    if _JOINED_SPACE.search(text):
        return _find_words(text)
    # No word spans a space, and most pieces between spaces have been seen before: five times as fast.
    offsets = []
    position = 0
    for piece in text.split(" "):
        if piece:
            found = _find_words_of_piece(piece) if len(piece) <= _LONGEST_PIECE else _find_words(piece)
            offsets += [(position + start, position + end) for start, end in found]
        position += len(piece) + 1
    return tuple(offsets)


def _find_words(text: str) -> Offsets:
    return tuple(match.span() for match in _WORD.finditer(text) if not _INVISIBLE.fullmatch(match.group()))


_LONGEST_PIECE = 64
_find_words_of_piece = lru_cache(maxsize=20_000)(_find_words)


@dataclass(frozen=True, slots=True)
class Post:
    """A post: its text as words, and its picture, knowledge and gold where there are any.

    Make one with `from_text` or `from_words`; both give every word its place in the text.

    Args:
        text: The original text.
        words: The words, in order.
        offsets: For each word the half-open interval of characters at which it stands in `text`.
        id: The post's name in its data set; free, and empty where nobody gave one.
        image: A picture as a local path or as its bytes, or None.
        image_problem: Why there is no picture, where one was expected.
        alt: The picture's alternative text, if it came with one.
        tags: Gold tags exactly as a file had them.
        scheme: The scheme in which `tags` are written.
        entities: Gold entities by characters; None where the post is not annotated (or by tags).
        knowledge: What providers said about the post.
    """

    text: str
    words: tuple[str, ...]
    offsets: Offsets
    id: str = ""
    image: Path | bytes | None = None
    image_problem: str | None = None
    alt: str | None = None
    tags: tuple[str, ...] | None = None
    scheme: Scheme = BIO
    entities: tuple[Entity, ...] | None = None
    knowledge: tuple[Knowledge, ...] = ()

    @classmethod
    def from_text(cls, text: str, **fields: Any) -> Post:
        """A post from raw text; its words are found by `split_words`."""
        offsets = split_words(text)
        return cls(text=text, words=tuple(text[a:b] for a, b in offsets), offsets=offsets, **fields)

    @classmethod
    def from_words(cls, words: Sequence[str], *, joiner: str = " ", **fields: Any) -> Post:
        """A post from given words; its text is the words with `joiner` between them.

        Raises:
            DataError: The number of tags is not the number of words.
        """
        tags = fields.get("tags")
        if tags is not None:
            if len(tags) != len(words):
                raise DataError(
                    "A post's tags do not fit its words.",
                    expected=f"{len(words)} tags, one a word",
                    got=f"{len(tags)}",
                )
            fields["tags"] = tuple(tags)
        offsets = []
        position = 0
        for word in words:
            offsets.append((position, position + len(word)))
            position += len(word) + len(joiner)
        return cls(text=joiner.join(words), words=tuple(words), offsets=tuple(offsets), **fields)

    def with_fields(self, **fields: Any) -> Post:
        """A copy with some fields replaced."""
        return replace(self, **fields)

    @property
    def is_annotated(self) -> bool:
        """Whether the post has gold, be it an empty one."""
        return self.tags is not None or self.entities is not None

    def gold(self, convention: Convention | str = Convention.CONLL) -> tuple[Entity, ...]:
        """The gold entities by characters, which is how predictions are scored.

        Args:
            convention: What stray tags mean; entities given by characters do not depend on it.

        Raises:
            DataError: The post is not annotated.
        """
        if self.entities is not None:
            return self.entities
        return self.to_entities(self.gold_spans(convention))

    def gold_spans(self, convention: Convention | str = Convention.CONLL) -> list[Span]:
        """The gold as non-overlapping spans of words, which is what training labels are written from.

        An entity whose borders fall inside words takes those words whole; one that overlaps an earlier
        or longer one is left out. The score still asks for the entity as it was given.

        Raises:
            DataError: The post is not annotated.
        """
        if self.entities is not None:
            return self._spans_of(self.entities)
        if self.tags is None:
            raise DataError(
                f"The post {shown(self.id)} has no gold.",
                expected="tags or entities",
                hint="Annotate the post, or use `mner predict`, which needs no gold.",
            )
        return to_spans(self.tags, self.scheme, convention)

    def to_entities(self, spans: Iterable[Span]) -> tuple[Entity, ...]:
        """Spans of words as entities of characters."""
        entities = []
        for first, end, label, score in spans:
            start, stop = self.offsets[first][0], self.offsets[end - 1][1]
            entities.append(Entity(self.text[start:stop], label, start, stop, score))
        return tuple(entities)

    def _spans_of(self, entities: Iterable[Entity]) -> list[Span]:
        spans: list[Span] = []
        for entity in sorted(entities, key=lambda found: (found.start, -found.end)):
            covered = [
                index
                for index, (start, end) in enumerate(self.offsets)
                if start < entity.end and entity.start < end
            ]
            if covered and (not spans or covered[0] >= spans[-1].end):
                spans.append(Span(covered[0], covered[-1] + 1, entity.label))
        return spans

    def known(self, kind: str) -> Knowledge | None:
        """The first piece of knowledge of that kind that has no problem, or None."""
        return next((k for k in self.knowledge if k.kind == kind and k.problem is None), None)
