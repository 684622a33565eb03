"""Posts as JSON, one object a line: the format that people bring and that prediction reads.

    {"id": "7", "text": "Kawhi Leonard wins in Toronto", "image": "7.jpg", "alt": "A man with a ball.",
     "entities": [{"start": 0, "end": 13, "label": "PER"}]}

`text` or `words` (or both: the words then stand in the text, in order) must be there, everything else
may be. Offsets count Unicode code points of the text, end exclusive; without `text` that is the words
with a space between them. `image` is a path relative to the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from mner.data.files import BOM, decode, place, writing
from mner.errors import DataError, nearest, shown
from mner.posts import Entity, Offsets, Post, split_words
from mner.tags import Convention

KEYS = ("id", "text", "words", "image", "alt", "entities")
ENTITY_KEYS = ("start", "end", "label", "text", "score")
# Keys that other formats use for the same things: ignoring them would lose what the user meant.
_SYNONYMS = {
    "tokens": "words",
    "sentence": "text",
    "content": "text",
    "spans": "entities",
    "ner": "entities",
    "tags": "entities",
    "ner_tags": "entities",
    "labels": "entities",
    "img": "image",
    "picture": "image",
    "image_path": "image",
    "imgid": "id",
}
_ENTITY_SYNONYMS = {
    "type": "label",
    "entity_group": "label",
    "begin": "start",
    "offset": "start",
    "stop": "end",
}


def parse_jsonl_line(
    line: str | bytes,
    *,
    base: Path | None,
    where: str,
    ignored: MutableMapping[str, int] | None = None,
) -> Post:
    """Read one post.

    Args:
        line: The line, with or without its end.
        base: The folder that a relative picture path starts from; the current one where None.
        where: File and line, for messages.
        ignored: Counts the keys that say nothing to this project and were left out, by name.

    Raises:
        DataError: The line is not a JSON object of the form above; the message names `where`.
    """
    if isinstance(line, bytes):
        line = decode(line, where)
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        around = line[max(0, error.pos - 20) : error.pos + 20]
        _fail(
            where,
            f"not valid JSON ({error.msg} at character {error.pos + 1})",
            "one JSON object on the line",
            around,
        )
    except ValueError as error:  # a number of more digits than Python reads
        _fail(where, f"not readable JSON ({error})", "one JSON object on the line", line)
    except RecursionError:
        _fail(where, "JSON nested too deeply", "one JSON object on the line", line)
    return post_of_record(record, base=base, where=where, ignored=ignored)


def post_of_record(
    record: Any,
    *,
    base: Path | None,
    where: str,
    ignored: MutableMapping[str, int] | None = None,
) -> Post:
    """A post from an object as `json.loads` gives it; see `parse_jsonl_line`."""
    if not isinstance(record, dict):
        _fail(
            where,
            f"the line holds {_kind(record)}",
            'an object such as {"text": "…"}',
            record,
            "A file that is one large array must be written as one object a line."
            if isinstance(record, list)
            else None,
        )
    for key in record:
        if key not in KEYS:
            _unknown(key, KEYS, _SYNONYMS, where, "key")
            if ignored is not None:
                ignored[key] = ignored.get(key, 0) + 1
    text, words = record.get("text"), record.get("words")
    if text is not None:
        _check_string(text, "text", where)
    fields: dict[str, Any] = {
        "id": _identity(record.get("id"), where),
        "alt": _optional_string(record.get("alt"), "alt", where),
    }
    fields["image"], fields["image_problem"] = _picture(record.get("image"), base, where)
    if words is not None:
        words = _words(words, where)
        if text is None:
            post = Post.from_words(words, **fields)
        else:
            offsets = align(words, text)
            if offsets is None:
                _fail(
                    where,
                    "the words do not stand in the text in this order",
                    "each word in the text, after the one before it",
                    words,
                )
            post = Post(text=text, words=tuple(words), offsets=offsets, **fields)
    elif text is not None:
        post = Post.from_text(text, **fields)
    else:
        _fail(where, "neither text nor words", "'text' (a string) or 'words' (a list of strings)", record)
    if record.get("entities") is not None:
        entities = _entities(record["entities"], post.text, where)
        post = post.with_fields(entities=entities)
    return post


def align(words: Sequence[str], text: str) -> Offsets | None:
    """Where words stand in a text, each at the first place after the one before it, or None."""
    offsets = []
    position = 0
    for word in words:
        start = text.find(word, position)
        if start < 0:
            return None
        position = start + len(word)
        offsets.append((start, position))
    return tuple(offsets)


def iterate_jsonl(
    source: Path | str | IO[str] | IO[bytes],
    *,
    base: Path | None = None,
    ignored: MutableMapping[str, int] | None = None,
) -> Iterator[Post]:
    """The posts of a JSONL file or stream, one at a time; nothing but the current line is held.

    Args:
        source: A path, or an open stream of text or bytes (standard input, say). Blank lines are skipped.
        base: The folder that relative picture paths start from; the file's own where None.
        ignored: Counts the keys that were left out, by name.

    Raises:
        DataError: The file cannot be read, or a line is not a post; the message names file and line.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            stream: IO[bytes] = path.open("rb")
        except OSError as error:
            raise DataError(f"{path} cannot be read.", got=error.strerror or str(error)) from error
        with stream:
            yield from _iterate(stream, str(path), path.parent if base is None else base, ignored)
        return
    # A text stream may have been opened with another encoding; its bytes are what counts.
    raw = getattr(source, "buffer", source)
    name = getattr(source, "name", None)
    shown_as = name if isinstance(name, str) and name != "<stdin>" else "standard input"
    yield from _iterate(raw, shown_as, base, ignored)


def _iterate(
    lines: Iterable[str | bytes],
    name: str,
    base: Path | None,
    ignored: MutableMapping[str, int] | None,
) -> Iterator[Post]:
    offset = 0
    for number, line in enumerate(lines, start=1):
        if isinstance(line, bytes):
            text = decode(line, name, line=number, offset=offset)
            offset += len(line)
        else:
            text = line
        if number == 1:
            text = text.removeprefix(BOM)
        if text.strip(" \t\r\n"):
            yield parse_jsonl_line(text, base=base, where=place(name, number), ignored=ignored)


def picture_path(image: Path, base: Path | None) -> str:
    """A picture's path as a file writes it.

    Args:
        image: The picture, as the current folder sees it.
        base: The folder of the file, from which reading starts; the current one where None.
    """
    if base is None:
        return str(image)
    try:
        return Path(os.path.relpath(image, base)).as_posix()
    except ValueError:  # another drive
        return str(image.resolve())


def record_of_post(
    post: Post, *, base: Path | None = None, convention: Convention | str = Convention.CONLL
) -> dict[str, Any]:
    """A post as the object that reads back as it.

    Args:
        post: The post. Tags become entities by characters.
        base: The folder that the written picture path shall start from.
        convention: What stray tags mean.

    Raises:
        DataError: The post's words cannot be found in its text in order, or its picture is bytes.
    """
    record: dict[str, Any] = {}
    if post.id:
        record["id"] = post.id
    if post.tags is None and split_words(post.text) == post.offsets:
        record["text"] = post.text
    else:
        spaced = Post.from_words(post.words)
        if (spaced.text, spaced.offsets) != (post.text, post.offsets):
            if align(post.words, post.text) != post.offsets:
                raise DataError(
                    f"The words of the post {shown(post.id)} cannot be found again in its text.",
                    expected="each word at its first place after the one before it",
                    got=shown(post.text),
                )
            record["text"] = post.text
        record["words"] = list(post.words)
    if isinstance(post.image, bytes):
        raise DataError(
            f"The picture of the post {shown(post.id)} is in memory.",
            expected="a picture in a file",
            hint="Write it to a file first and give the post its path.",
        )
    if post.image is not None:
        record["image"] = picture_path(post.image, base)
    if post.alt is not None:
        record["alt"] = post.alt
    if post.is_annotated:
        entities = []
        for entity in post.gold(convention):
            found: dict[str, Any] = {"start": entity.start, "end": entity.end, "label": entity.label}
            if entity.score is not None:
                found["score"] = entity.score
            entities.append(found)
        record["entities"] = entities
    return record


def write_jsonl(
    posts: Iterable[Post],
    path: Path | str,
    *,
    overwrite: bool = False,
    convention: Convention | str = Convention.CONLL,
) -> int:
    """Write posts, one object a line; the file appears only once it is complete.

    Returns:
        How many posts were written.

    Raises:
        UsageError: The file exists and `overwrite` was not asked for.
        DataError: A post cannot be written as JSON (see `record_of_post`).
    """
    path = Path(path)
    count = 0
    with writing(path, overwrite=overwrite) as file:
        for post in posts:
            count += 1
            record = record_of_post(post, base=path.parent, convention=convention)
            try:
                file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            except UnicodeEncodeError as error:
                raise DataError(
                    f"Post {count} ({shown(post.id)}) holds half of a surrogate pair.",
                    expected="text that UTF-8 can hold",
                    got=shown(error.object[error.start : error.end]),
                ) from None
    return count


def _fail(where: str, what: str, expected: str, got: object, hint: str | None = None) -> NoReturn:
    raise DataError(f"{where}: {what}.", expected=expected, got=shown(got), hint=hint)


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false"}
    return "nothing (null)" if value is None else kinds.get(type(value), type(value).__name__)


def _unknown(key: str, keys: Sequence[str], synonyms: dict[str, str], where: str, what: str) -> None:
    """Refuse a key that means a known one; others are the user's own and are left out."""
    lowered = key.lower()
    meant = synonyms.get(lowered) or (lowered if lowered in keys else None)
    if meant is None and len(key) > 3:
        near = nearest(lowered, keys)
        # 'entites' is a slip, 'created' is not: two letters at most, and the same first one.
        if near is not None and near[0] == lowered[0] and _distance(lowered, near) <= 2:
            meant = near
    if meant is not None:
        hint = f"Write it as {meant!r}."
        if lowered in ("tags", "ner_tags", "labels"):
            hint = (
                "Give entities by characters, or keep words and tags in a file of columns "
                "(`mner data convert` turns it into JSONL)."
            )
        _fail(where, f"the {what} {key!r} is not read", f"the {what}s {', '.join(keys)}", key, hint)


def _distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def _check_string(value: object, key: str, where: str) -> str:
    if not isinstance(value, str):
        _fail(where, f"{key!r} is {_kind(value)}", "a string", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            _fail(
                where,
                f"{key!r} holds half of a surrogate pair at character {error.start}",
                "whole characters",
                value[max(0, error.start - 10) : error.end + 10],
                "The text was cut inside an emoji, most likely; cut it elsewhere.",
            )
    return value


def _optional_string(value: object, key: str, where: str) -> str | None:
    return None if value is None else _check_string(value, key, where)


def _identity(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _check_string(value, "id", where)


def _words(value: object, where: str) -> list[str]:
    if not isinstance(value, list):
        _fail(where, f"'words' is {_kind(value)}", "a list of strings", value)
    for word in value:
        if not _check_string(word, "words", where):
            _fail(where, "a word is empty", "words of at least one character", value)
    return value


def _picture(value: object, base: Path | None, where: str) -> tuple[Path | None, str | None]:
    if value is None:
        return None, None
    name = _check_string(value, "image", where)
    if name.startswith(("http://", "https://", "data:")):
        return None, f"the picture is not a file: {shown(name)}"
    if not name or "\0" in name:
        _fail(where, "'image' is no path", "a path relative to the file, or no such key", name)
    path = Path(name) if base is None else base / name
    try:
        if path.is_file():
            return path, None
    except OSError as error:
        return None, f"no file {shown(name)} ({error.strerror})"
    return None, f"no file {name}"


def _entities(value: object, text: str, where: str) -> tuple[Entity, ...]:
    if not isinstance(value, list):
        _fail(where, f"'entities' is {_kind(value)}", 'a list of {"start", "end", "label"}', value)
    return tuple(
        _entity(item, text, f"{where}, entity {number}") for number, item in enumerate(value, start=1)
    )


def _entity(value: object, text: str, where: str) -> Entity:
    if not isinstance(value, dict):
        _fail(where, f"an entity is {_kind(value)}", '{"start": …, "end": …, "label": …}', value)
    for key in value:
        if key not in ENTITY_KEYS:
            _unknown(key, ENTITY_KEYS, _ENTITY_SYNONYMS, where, "key")
    start, end = (_offset(value.get(key), key, value, where) for key in ("start", "end"))
    label = _check_string(value.get("label"), "label", where)
    if not label:
        _fail(where, "the label is empty", "a type, such as 'PER'", value)
    if not 0 <= start < end <= len(text):
        _fail(
            where,
            "the offsets do not lie within the text",
            f"0 <= start < end <= {len(text)} (code points of the text, end exclusive)",
            value,
        )
    given = value.get("text")
    if given is not None and given != text[start:end]:
        _fail(
            where,
            f"characters {start} to {end} of the text are {shown(text[start:end])}",
            f"the entity's own text, {shown(given)}",
            value,
            _other_units(text, start, end, given),
        )
    score = value.get("score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        _fail(where, "'score' is not a number", "a number or no such key", value)
    return Entity(text[start:end], label, start, end, score)


def _offset(value: object, key: str, entity: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        _fail(where, f"{key!r} is {_kind(value)}", "a whole number of characters", entity)
    return value


def _other_units(text: str, start: int, end: int, given: object) -> str:
    for codec, width, name in (("utf-16-le", 2, "UTF-16 units, as JavaScript does"), ("utf-8", 1, "bytes")):
        piece = text.encode(codec)[start * width : end * width]
        if piece.decode(codec, errors="replace") == given:
            return f"These offsets count {name}; count Unicode code points, as Python's len() does."
    return "Offsets count Unicode code points, end exclusive."
