"""Tag schemes as tables: what a row of tags means, and how spans are written as tags.

A scheme is one table: which prefixes may follow one another, and which pairs of neighbouring prefixes
continue one span. Everything else (reading tags as spans under a convention,
writing spans as tags, converting, the transitions that a CRF may take) is read off that table, so no
two parts of the project can disagree about where an entity ends.

Two conventions exist for tags that break their scheme (a stray ``I-`` after ``O``, say):

``conll``
    A stray tag opens a span, as the CoNLL evaluation script does.
``strict``
    Only a span that is written entirely as the scheme demands counts.

Spans are half-open intervals of words.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mner.errors import TagError, UsageError, did_you_mean, shown

OUTSIDE = "O"


class Span(NamedTuple):
    """A typed, half-open interval of words: ``words[start:end]`` is the mention.

    `score` is a probability where the span was predicted, and None where it is gold.
    """

    start: int
    end: int
    label: str
    score: float | None = None


class Convention(enum.StrEnum):
    """What a tag that breaks its scheme means."""

    CONLL = "conll"
    STRICT = "strict"


@dataclass(frozen=True)
class Scheme:
    """A tag scheme.

    Args:
        name: The scheme's usual name.
        opens: Prefixes that are right wherever they stand; where one does not fit what stands before it,
            the span before it is to blame.
        continues: Pairs of neighbouring prefixes, both of one type, that belong to one span.
        touches: Pairs of neighbouring prefixes, both of one type, the second of which opens a span that
            it could not open after another type or outside.
        follows: Pairs of neighbouring prefixes (``O`` included) that the scheme allows whatever the
            types are.
        first: Prefixes (``O`` included) that the first word may have.
        last: Prefixes (``O`` included) that the last word may have.
    """

    name: str
    opens: frozenset[str]
    continues: frozenset[tuple[str, str]]
    touches: frozenset[tuple[str, str]]
    follows: frozenset[tuple[str, str]]
    first: frozenset[str]
    last: frozenset[str]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes other than ``O``, in their usual order."""
        used = {prefix for pair in self.continues | self.touches | self.follows for prefix in pair}
        return tuple(prefix for prefix in "BIES" if prefix in used)

    def allows(self, previous: str, following: str) -> bool:
        """Whether tag `following` may stand right after tag `previous` (whole tags, such as ``B-PER``)."""
        (left, left_type), (right, right_type) = parse(previous), parse(following)
        if left_type == right_type and (left, right) in self.continues | self.touches:
            return True
        return (left, right) in self.follows


def _pairs(lefts: str, rights: str) -> frozenset[tuple[str, str]]:
    return frozenset((left, right) for left in lefts for right in rights)


BIO = Scheme(
    name="BIO",
    opens=frozenset("B"),
    continues=_pairs("BI", "I"),
    touches=frozenset(),
    follows=_pairs("OBI", "OB"),
    first=frozenset("OB"),
    last=frozenset("OBI"),
)
# In IOB1 a span starts with I; B marks only a span that directly follows another of its own type.
IOB1 = Scheme(
    name="IOB1",
    opens=frozenset(),
    continues=_pairs("BI", "I"),
    touches=_pairs("BI", "B"),
    follows=_pairs("OBI", "OI"),
    first=frozenset("OI"),
    last=frozenset("OBI"),
)
BIOES = Scheme(
    name="BIOES",
    opens=frozenset("BS"),
    continues=_pairs("BI", "IE"),
    touches=frozenset(),
    follows=_pairs("OES", "OBS"),
    first=frozenset("OBS"),
    last=frozenset("OES"),
)

SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (BIO, IOB1, BIOES)}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        UsageError: No scheme is called that; the message names the nearest.
    """
    try:
        return SCHEMES[name.upper()]
    except KeyError:
        raise UsageError(f"There is no tag scheme {name!r}.", hint=did_you_mean(name, SCHEMES)) from None


def parse(tag: str) -> tuple[str, str]:
    """A tag's prefix and type: ``B-PER`` gives ``("B", "PER")``, ``O`` gives ``("O", "")``.

    Raises:
        TagError: The text is not ``O`` and not one of the prefixes B, I, E, S with a hyphen and a type.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    if not hyphen or not label or prefix not in ("B", "I", "E", "S"):
        raise TagError(
            "A tag is not of any known scheme.",
            expected="'O', or one of B, I, E, S with a hyphen and a type, such as 'B-PER'",
            got=shown(tag),
        )
    return prefix, label


def is_stray(previous: str, tag: str, scheme: Scheme) -> bool:
    """Whether `tag` breaks `scheme` where it stands right after `previous` (``O`` at a post's start).

    An ``E`` that ends nothing counts too; a span that is never closed does not (only its end could tell).
    """
    prefix, _ = parse(tag)
    return prefix != OUTSIDE and prefix not in scheme.opens and not scheme.allows(previous, tag)


def to_spans(
    tags: Sequence[str],
    scheme: Scheme = BIO,
    convention: Convention | str = Convention.CONLL,
) -> list[Span]:
    """The spans that a row of tags means.

    Args:
        tags: One tag a word.
        scheme: The scheme in which the tags are written.
        convention: What tags that break the scheme mean.

    Returns:
        Non-overlapping spans by ascending start.

    Raises:
        TagError: A tag has a prefix that the scheme does not have.
    """
    strict = Convention(convention) is Convention.STRICT
    known = (OUTSIDE, *scheme.prefixes)
    spans: list[Span] = []
    start: int | None = None
    sound = True
    previous, previous_label = OUTSIDE, ""
    for position, tag in enumerate(tags):
        prefix, label = parse(tag)
        if prefix not in known:
            raise TagError(
                f"A tag does not belong to the scheme {scheme.name}.",
                expected=f"one of the prefixes {', '.join(known)}",
                got=shown(tag),
                hint="Is the data written in another scheme?",
            )
        continued = start is not None and (previous, prefix) in scheme.continues and previous_label == label
        if not continued:
            if start is not None:
                if not strict or (sound and previous in scheme.last):
                    spans.append(Span(start, position, previous_label))
                start = None
            if prefix != OUTSIDE:
                start = position
                sound = not is_stray(tags[position - 1] if position else OUTSIDE, tag, scheme)
        previous, previous_label = prefix, label
    if start is not None and (not strict or (sound and previous in scheme.last)):
        spans.append(Span(start, len(tags), previous_label))
    return spans


def to_tags(spans: Iterable[Span], length: int, scheme: Scheme = BIO) -> list[str]:
    """Spans written as tags.

    Args:
        spans: Non-overlapping spans within ``range(length)``.
        length: Number of words.
        scheme: The scheme to write.

    Returns:
        `length` tags. ``to_spans(to_tags(spans, n, s), s)`` gives the spans back for every scheme.

    Raises:
        TagError: A span is empty, lies outside the words, or overlaps another.
    """
    tags = [OUTSIDE] * length
    before: Span | None = None
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if not 0 <= span.start < span.end <= length:
            raise TagError(
                "A span does not lie within its post.",
                expected=f"0 <= start < end <= {length}",
                got=f"{span.start} to {span.end}",
            )
        if before is not None and span.start < before.end:
            raise TagError("Two spans overlap; tags can write only one of them.", got=f"{before} and {span}")
        touches = before is not None and before.end == span.start and before.label == span.label
        for position in range(span.start, span.end):
            tags[position] = f"{_prefix(position, span, touches, scheme)}-{span.label}"
        before = span
    return tags


def _prefix(position: int, span: Span, touches_its_like: bool, scheme: Scheme) -> str:
    first, last = position == span.start, position == span.end - 1
    if scheme is IOB1:
        return "B" if first and touches_its_like else "I"
    if scheme is BIOES:
        return "S" if first and last else "B" if first else "E" if last else "I"
    return "B" if first else "I"


def convert(
    tags: Sequence[str],
    source: Scheme,
    target: Scheme,
    convention: Convention | str = Convention.CONLL,
) -> list[str]:
    """Tags of one scheme written in another, through the spans they mean under `convention`."""
    return to_tags(to_spans(tags, source, convention), len(tags), target)


def guess_scheme(rows: Iterable[Sequence[str]]) -> Scheme:
    """The scheme in which rows of tags are most likely written.

    ``E-`` and ``S-`` exist in BIOES alone. Without them, IOB1 is told from BIO by where ``B-`` stands:
    in IOB1 only right after a span of the same type.
    """
    opened_by_inside = opened_by_begin = 0
    for row in rows:
        previous, previous_label = OUTSIDE, ""
        for tag in row:
            prefix, label = parse(tag)
            if prefix in "ES":
                return BIOES
            touches = previous != OUTSIDE and previous_label == label
            if prefix == "B" and not touches:
                opened_by_begin += 1
            elif prefix == "I" and not touches:
                opened_by_inside += 1
            previous, previous_label = prefix, label
    return IOB1 if opened_by_inside > opened_by_begin else BIO


def tag_names(labels: Sequence[str], scheme: Scheme = BIO) -> tuple[str, ...]:
    """All tags for these types: ``O`` first, then each type's tags in the scheme's order of prefixes."""
    return (OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in scheme.prefixes))


class Transitions(NamedTuple):
    """Which tags may start a post, follow one another, and end it.

    `pairs[i][j]` says whether tag j may stand right after tag i.
    """

    first: tuple[bool, ...]
    pairs: tuple[tuple[bool, ...], ...]
    last: tuple[bool, ...]


def allowed_transitions(names: Sequence[str], scheme: Scheme = BIO) -> Transitions:
    """The transitions between the tags `names` that `scheme` allows."""
    prefixes = [parse(name)[0] for name in names]
    return Transitions(
        first=tuple(prefix in scheme.first for prefix in prefixes),
        pairs=tuple(tuple(scheme.allows(left, right) for right in names) for left in names),
        last=tuple(prefix in scheme.last for prefix in prefixes),
    )
