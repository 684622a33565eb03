"""Entities out of a language model's answer: JSON read, mentions found in the text, inventions refused.

The answer is evidence and is kept as it came; reading it is a step of its own, which can be improved without
asking again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mner.knowledge.chat import plain_answer
from mner.posts import Entity, Post

# What models call the two fields, whatever they were told.
_TEXTS = ("text", "mention", "entity", "name")
_TYPES = ("type", "label", "category", "class")

_OPENING = re.compile(r"[\[{]")

INVENTED = "the mention is not in the text"
UNKNOWN_TYPE = "the type is none of those asked for"
TAKEN = "the mention lies within an earlier one, or is named more often than it occurs"
MALFORMED = "an entry has no mention and type"
UNREADABLE = "the answer is not JSON of the form asked for"


@dataclass(frozen=True)
class Mentions:
    """What an answer says about a post.

    Args:
        entities: Mentions found in the text, in its order; without scores, which no such answer has.
        refused: What was refused, by reason.
        readable: Whether the answer was of the form asked for; where not, there are no entities.
    """

    entities: tuple[Entity, ...] = ()
    refused: Counter[str] = field(default_factory=Counter)
    readable: bool = True


def read_mentions(answer: str, post: Post, labels: Iterable[str]) -> Mentions:
    """The entities that a language model's answer names.

    A mention stands where the text first has it and no earlier mention of the answer does: by whole words if
    it can, in the same case if it can. One that covers part of a word takes the word whole, as gold does.
    White space within a mention may be any.

    Args:
        answer: The answer: JSON with a list of mentions and types, alone, fenced, or among other words.
        post: The post that was asked about.
        labels: The types that were asked for; case does not count.

    Returns:
        Entities that do not overlap, each with a type of `labels`.
    """
    entries = _entries(answer)
    if entries is None:
        return Mentions(refused=Counter({UNREADABLE: 1}), readable=False)
    known = {label.casefold(): label for label in labels}
    refused: Counter[str] = Counter()
    taken: list[tuple[int, int, str]] = []
    for entry in entries:
        said = _fields(entry)
        if said is None:
            refused[MALFORMED] += 1
            continue
        mention, name = said
        label = known.get(name.strip().casefold())
        if label is None:
            refused[UNKNOWN_TYPE] += 1
            continue
        places = list(_places(mention, post))
        free = [
            place
            for place in places
            if all(place[1] <= left or right <= place[0] for left, right, _ in taken)
        ]
        if free:
            taken.append((*free[0], label))
        else:
            refused[TAKEN if places else INVENTED] += 1
    spans = sorted(taken)
    entities = tuple(Entity(post.text[start:end], label, start, end) for start, end, label in spans)
    return Mentions(entities, refused)


def _places(mention: str, post: Post) -> Iterator[tuple[int, int]]:
    """Where a mention may stand, the likeliest first: whole words before parts, own case before other."""
    parts = mention.split()
    if not parts:
        return
    pattern = r"\s+".join(map(re.escape, parts))
    starts, ends = {start for start, _ in post.offsets}, {end for _, end in post.offsets}
    seen = set()
    for whole in (True, False):
        for flags in (0, re.IGNORECASE):
            # Looking ahead finds places that overlap, too. 'Ann' is not in 'Annual', but in '#Ann'.
            bounded = f"(?=({pattern}))" if whole else rf"(?<!\w)(?=({pattern})(?!\w))"
            for found in re.finditer(bounded, post.text, flags):
                place = found.span(1)
                if whole and not (place[0] in starts and place[1] in ends):
                    continue
                covering = _whole_words(place, post)
                if covering is not None and covering not in seen:
                    seen.add(covering)
                    yield covering


def _whole_words(place: tuple[int, int], post: Post) -> tuple[int, int] | None:
    covered = [(start, end) for start, end in post.offsets if start < place[1] and place[0] < end]
    return (covered[0][0], covered[-1][1]) if covered else None


def _entries(answer: str) -> Sequence[Any] | None:
    """The list of mentions in an answer, or None where there is none."""
    text = plain_answer(answer)
    decoder = json.JSONDecoder()
    place = 0
    while (found := _OPENING.search(text, place)) is not None:
        place = found.start()
        try:
            document, end = decoder.raw_decode(text, place)
        except RecursionError:
            return None
        except ValueError:
            place += 1
            continue
        entries = _list_in(document)
        if entries is not None:
            return entries
        place = end
    return None


def _list_in(document: Any) -> Sequence[Any] | None:
    if isinstance(document, dict):
        if _fields(document) is not None:
            return [document]
        lists = [value for value in document.values() if isinstance(value, list)]
        return lists[0] if len(lists) == 1 else None
    if isinstance(document, list) and all(isinstance(entry, dict) for entry in document):
        return document
    return None


def _fields(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    mention = next((entry[key] for key in _TEXTS if isinstance(entry.get(key), str)), None)
    label = next((entry[key] for key in _TYPES if isinstance(entry.get(key), str)), None)
    return (mention, label) if mention and label else None
