"""Files of posts that are uploaded to the page, and the files that it gives back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from mner.serving.pictures import decoded
from mner.serving.refusals import Refusal, too_large
from mner.serving.schemas import PostIn
from mner.serving.service import Draft, Recognised, as_record

COLUMNS = ("id", "text", "alt")
"""The columns of a CSV file that are read; ``text`` has to be there."""


@dataclass
class PostFile:
    """What stood in a file: posts, and lines that are none with the reason."""

    drafts: list[Draft] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_posts(content: bytes, name: str, most: int) -> PostFile:
    """The posts of a file: JSON lines, CSV with a header, or plain text with a post a line.

    Pictures may stand in JSON lines, as base64; paths and URLs in them are not opened.

    Args:
        content: The bytes of the file.
        name: Its name, whose ending says what it is.
        most: The most posts.

    Raises:
        Refusal: The file is not readable at all, or has too many posts.
    """
    ending = name.rpartition(".")[2].lower()
    read = {"jsonl": _json_lines, "ndjson": _json_lines, "csv": _csv, "txt": _lines}.get(ending)
    if read is None:
        raise Refusal(
            422,
            f"{name[:80]!r} is of no kind that is read here.",
            hint="Send a .jsonl, .csv or .txt file.",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(
            422,
            f"The file is not UTF-8 (byte {error.start}).",
            hint="Save it as UTF-8 and send it again.",
        ) from None
    found = PostFile()
    for draft in read(text, found.problems):
        if len(found.drafts) == most:
            raise too_large(
                f"The file has more than {most} posts.", "Use `mner predict --input` for files of any length."
            )
        found.drafts.append(draft)
    if not found.drafts and not found.problems:
        raise Refusal(422, "There are no posts in the file.")
    return found


def _json_lines(text: str, problems: list[str]) -> Iterable[Draft]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            post = PostIn.model_validate_json(line)
            picture = decoded(post.image, "image") if post.image is not None else None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            problems.append(f"line {number}: {where + ': ' if where else ''}{first['msg']}")
        except Refusal as refusal:
            problems.append(f"line {number}: {refusal.message} {refusal.hint or ''}".rstrip())
        else:
            yield Draft(post.text, picture, post.alt, post.id, f"line {number}: ")


def _csv(text: str, problems: list[str]) -> Iterable[Draft]:
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        columns = next(table, [])
        if "text" not in columns:
            raise Refusal(
                422,
                "The file has no column named text.",
                hint=f"Its first line has to name the columns; read are {', '.join(COLUMNS)}.",
            )
        while True:
            # Where the record begins: a text in quotation marks may have several lines.
            number = table.line_num + 1
            fields = next(table, None)
            if fields is None:
                return
            if not fields:
                continue
            row = dict(zip(columns, fields, strict=False))
            if len(fields) > len(columns) or "text" not in row:
                # Too many are a text with commas most likely, of which only the beginning would be read.
                hint = "; a text with commas has to stand in quotation marks"
                problems.append(
                    f"line {number}: the row has {len(fields)} fields, and there are {len(columns)} columns"
                    f"{hint if len(fields) > len(columns) else ''}"
                )
                continue
            yield Draft(
                row["text"],
                None,
                row.get("alt") or None,
                row.get("id", "")[:200] or None,
                f"line {number}: ",
            )
    except csv.Error as error:
        problems.append(f"line {number}: {error}; what follows was not read")


def _lines(text: str, problems: list[str]) -> Iterable[Draft]:
    del problems
    # Not splitlines(), which also cuts where a post itself may have U+2028 or a form feed.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Draft(line.removesuffix("\r"), where=f"line {number}: ")


def write_posts(found: Sequence[Recognised], kind: str) -> bytes:
    """Posts with their entities as a file.

    Args:
        found: The posts.
        kind: ``jsonl``, or ``csv`` with a line an entity.
    """
    if kind == "jsonl":
        return "".join(json.dumps(as_record(one), ensure_ascii=False) + "\n" for one in found).encode()
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow(("post", "id", "text", "label", "start", "end", "score"))
    for number, one in enumerate(found, 1):
        table.writerows(
            (
                number,
                _cell(one.post.id),
                _cell(entity.text),
                _cell(entity.label),
                entity.start,
                entity.end,
                f"{entity.score or 0:.4f}",
            )
            for entity in one.entities
        )
    # Spreadsheets take UTF-8 for something else without this mark.
    return file.getvalue().encode("utf-8-sig")


def _cell(text: str) -> str:
    # A spreadsheet would compute a cell that begins like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
