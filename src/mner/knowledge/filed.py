"""Files of knowledge: captions, texts, scores and boxes by the name of a picture or post.

Read by what is in them, whoever made them:

============================  =============================================  ===========
one line or entry             example                                        kind
============================  =============================================  ===========
``<picture> :<caption>``      ``130.jpg :a view of the mountains``           caption
``<picture> TAB <number>``    ``130.jpg    0.93``                            relevance
``<picture> TAB <text>``      ``130.jpg    a view of the mountains``         caption
JSONL, a record a line        ``{"imgid": "130", "knowledge": "..."}``       by its field
JSON, name to text            ``{"130.jpg": "Borobudur Jogjakarta"}``        phrases
JSON, name to boxes           ``{"130": {"w", "h", "objects": [...]}}``      regions
============================  =============================================  ===========

Names are matched without folder and picture's suffix. Nothing is guessed and nothing is dropped in
silence: entries without content, names that stand twice and texts that stand suspiciously often are told.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mner.errors import DataError, shown
from mner.knowledge.keys import plain_name
from mner.posts import Knowledge, Region

_CAPTION_LINE = re.compile(
    r"^(?P<name>.+?\.(?:jpe?g|png|gif|webp|bmp|tiff?))\s*:(?P<text>.*)$", re.IGNORECASE
)
_NAME_FIELDS = ("image", "file_name", "filename", "file", "imgid", "image_id", "img_id", "id", "name")
_KIND_OF_FIELD = {
    "caption": "caption",
    "knowledge": "auxiliary",
    "auxiliary": "auxiliary",
    "reasoning": "reasoning",
    "steps": "reasoning",
    "ocr": "ocr",
    "phrases": "phrases",
    "score": "relevance",
    "relevance": "relevance",
    "objects": "regions",
    "regions": "regions",
}

# A caption model repeats itself: of 8 288 real captions the commonest stands 21 times; and of 3 373 lists of
# phrases from posts 55 say "Donald Trump". A text put in where the picture was missing, or where nothing
# was found, stands in a larger share: 4 to 8 % of the entries of real files.
PLACEHOLDER_SHARE = 0.02
"""A text that stands in at least this share of a file's entries is reported as a placeholder."""

PLACEHOLDER_COUNT = 10
"""A text that stands less often than this is no placeholder, however small the file."""


class FiledEntry(NamedTuple):
    """One entry of a file of knowledge.

    Args:
        name: The plain name of the picture or post.
        knowledge: What is said; None where there is a problem.
        raw: The entry as the file has it.
        place: The line, or the number of the entry, from 1.
        problem: Why nothing is said.
    """

    name: str
    knowledge: Knowledge | None
    raw: str
    place: int
    problem: str | None = None


@dataclass(frozen=True)
class FiledKnowledge:
    """A file of knowledge, read.

    Args:
        path: The file.
        kind: The kind of knowledge.
        sha256: Of the file's bytes, in hexadecimal.
        entries: One entry a name, in the file's order.
        empty: Names whose entry has no content.
        repeated: Names that stand more than once; the first entry counts.
        placeholders: Texts that stand suspiciously often, with how often.
    """

    path: Path
    kind: str
    sha256: str
    entries: Mapping[str, FiledEntry]
    empty: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    placeholders: Mapping[str, int] = field(default_factory=dict)


def read_knowledge_file(
    path: Path | str, kind: str | None = None, *, content: str | None = None, origin: str = ""
) -> FiledKnowledge:
    """Read a file of knowledge.

    Args:
        path: The file.
        kind: The kind of knowledge, where the one that the format suggests is not meant.
        content: For JSONL, the field that holds what is said, where it is not one of the usual ones.
        origin: What `Knowledge.origin` says.

    Raises:
        DataError: The file is not there or is none of the formats; the message names the line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"The file {path} cannot be read.", got=error.strerror) from error
    except UnicodeDecodeError as error:
        raise DataError(f"The file {path} is not UTF-8.", got=str(error)) from error
    found = list(_entries(path, text, kind, content, origin))
    if not found:
        raise DataError(f"The file {path} has no entries.")
    entries: dict[str, FiledEntry] = {}
    repeated: dict[str, None] = {}
    for _, entry in found:
        if entry.name in entries:
            repeated[entry.name] = None
        else:
            entries[entry.name] = entry
    return FiledKnowledge(
        path=path,
        kind=found[0][0],
        sha256=hashlib.sha256(data).hexdigest(),
        entries=entries,
        empty=tuple(entry.name for entry in entries.values() if entry.knowledge is None),
        repeated=tuple(repeated),
        placeholders=placeholder_texts(
            entry.knowledge.text
            for entry in entries.values()
            if entry.knowledge is not None and entry.knowledge.text is not None
        ),
    )


def placeholder_texts(texts: Iterable[str]) -> dict[str, int]:
    """The texts that stand suspiciously often, with how often, the commonest first.

    Args:
        texts: What is said, one text an entry or post.
    """
    counts = Counter(texts)
    least = max(PLACEHOLDER_COUNT, PLACEHOLDER_SHARE * counts.total())
    return {text: count for text, count in counts.most_common() if count >= least}


def _entries(
    path: Path, text: str, kind: str | None, content: str | None, origin: str
) -> Iterator[tuple[str, FiledEntry]]:
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        yield from _jsonl(path, text, kind, content, origin)
    elif suffix == ".json":
        yield from _json(path, text, kind, content, origin)
    else:
        yield from _lines(path, text, kind, origin)


def _lines(path: Path, text: str, kind: str | None, origin: str) -> Iterator[tuple[str, FiledEntry]]:
    # Only "\n" ends a line here: captions hold other separators that str.splitlines would take for one.
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    tabbed = bool(lines) and "\t" in lines[0][1]
    rows = []
    for number, line in lines:
        if tabbed:
            name, tab, rest = line.partition("\t")
            value = rest.split("\t")[0]
        else:
            match = _CAPTION_LINE.match(line)
            name, tab, value = (match["name"], ":", match["text"]) if match else ("", "", "")
        if not tab or not name.strip():
            raise DataError(
                f"Line {number} of {path} is not an entry of a file of knowledge.",
                expected="'<picture> :<caption>' or '<picture> TAB <caption or number>'",
                got=shown(line),
            )
        rows.append((number, line, name, value.strip()))
    numeric = kind in (None, "relevance") and tabbed and all(_number(value) is not None for *_, value in rows)
    chosen = kind or ("relevance" if numeric else "caption")
    for number, line, name, value in rows:
        said = _number(value) if numeric else value
        yield chosen, _entry(path, name, chosen, said, line, number, origin)


def _jsonl(
    path: Path, text: str, kind: str | None, content: str | None, origin: str
) -> Iterator[tuple[str, FiledEntry]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(f"Line {number} of {path} is not JSON.", got=str(error)) from error
            yield _record(path, record, kind, content, line, number, origin)


def _json(
    path: Path, text: str, kind: str | None, content: str | None, origin: str
) -> Iterator[tuple[str, FiledEntry]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not JSON.", got=str(error)) from error
    if isinstance(document, list):
        for number, record in enumerate(document, 1):
            yield _record(path, record, kind, content, json.dumps(record), number, origin)
    elif isinstance(document, dict):
        for number, (name, value) in enumerate(document.items(), 1):
            if isinstance(value, str):
                chosen = kind or "phrases"
            elif isinstance(value, int | float):
                chosen = kind or "relevance"
            else:
                chosen = kind or "regions"
            yield chosen, _entry(path, name, chosen, value, json.dumps({name: value}), number, origin)
    else:
        raise DataError(
            f"{path} is not a file of knowledge.", expected="an object or a list", got=shown(document)
        )


def _record(
    path: Path, record: Any, kind: str | None, content: str | None, raw: str, number: int, origin: str
) -> tuple[str, FiledEntry]:
    where = f"Entry {number} of {path}"
    if not isinstance(record, dict):
        raise DataError(f"{where} is not an object.", got=shown(record))
    name = next((record[key] for key in _NAME_FIELDS if isinstance(record.get(key), str | int)), None)
    if name is None:
        raise DataError(f"{where} names no picture or post.", expected=f"one of {', '.join(_NAME_FIELDS)}")
    by_kind = next((key for key, made in _KIND_OF_FIELD.items() if made == kind and key in record), None)
    holder = content or by_kind or next((key for key in _KIND_OF_FIELD if key in record), None)
    if holder is None and "text" in record and kind is not None:
        holder = "text"
    if holder is None or holder not in record:
        raise DataError(
            f"{where} says nothing that can be told apart.",
            expected=f"the field {content!r}" if content else f"one of {', '.join(_KIND_OF_FIELD)}",
            got=f"the fields {', '.join(map(str, record))}",
            hint="Name the field that holds what is said with --field, and what it is with --kind.",
        )
    chosen = kind or _KIND_OF_FIELD.get(holder, "caption")
    value = record if holder == "objects" else record[holder]
    return chosen, _entry(path, str(name), chosen, value, raw, number, origin)


def _entry(path: Path, name: str, kind: str, value: Any, raw: str, number: int, origin: str) -> FiledEntry:
    plain = plain_name(name.strip())
    try:
        knowledge = _knowledge(kind, value, origin)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"Entry {number} of {path} ({shown(name)}) cannot be read as {kind}.",
            got=f"{shown(value)}: {error}",
        ) from error
    return FiledEntry(plain, knowledge, raw, number, None if knowledge else "the file's entry is empty")


def _knowledge(kind: str, value: Any, origin: str) -> Knowledge | None:
    """What a value says; None where it is empty. An error says what is wrong with it."""
    if kind == "relevance":
        score = _number(value)
        if score is None:
            raise ValueError("not a number")
        return Knowledge(kind, score=score, origin=origin)
    if kind == "regions":
        return Knowledge(kind, regions=_regions(value), origin=origin)
    if kind == "reasoning" and isinstance(value, list):
        steps = tuple(str(step).strip() for step in value if str(step).strip())
        return Knowledge(kind, text="\n".join(steps), steps=steps, origin=origin) if steps else None
    if not isinstance(value, str):
        raise ValueError("not text")
    text = value.strip()
    if not text:
        return None
    return Knowledge(kind, text=text, steps=(text,) if kind == "reasoning" else (), origin=origin)


def _regions(value: Any) -> tuple[Region, ...]:
    """Boxes in pixels of a picture of known size, or in fractions of it, as regions."""
    if isinstance(value, list):
        return tuple(_region(region, 1.0, 1.0) for region in value)
    width, height = float(value["w"]), float(value["h"])
    if width <= 0 or height <= 0:
        raise ValueError("the picture has no size")
    return tuple(_region((*item["box"], item.get("name", "")), width, height) for item in value["objects"])


def _region(values: Any, width: float, height: float) -> Region:
    left, top, right, bottom = (float(value) for value in values[:4])
    corners = (left / width, top / height, right / width, bottom / height)
    if not all(-0.01 <= corner <= 1.01 for corner in corners) or left >= right or top >= bottom:
        raise ValueError(f"not a box within the picture: {list(values[:4])}")
    label = str(values[4]) if len(values) > 4 else ""
    score = _number(values[5]) if len(values) > 5 else None
    left, top, right, bottom = (min(max(corner, 0.0), 1.0) for corner in corners)
    return Region(left, top, right, bottom, label, score)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
