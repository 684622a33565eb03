"""Annotation tools: posts to them with what was predicted, and what people annotated back from them.

What counts as a character differs. Label Studio's current editor counts Unicode code points, as this project
does; editors before 2021 counted UTF-16 units, as JavaScript does. Doccano counts UTF-16 units (unless a
project counts grapheme clusters, which no file says). An emoji is one code point and two units, so that every
entity behind one would otherwise be shifted, silently. Where a file says an entity's own text, that decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from mner.data.files import place, read_text, writing
from mner.data.jsonl import picture_path
from mner.errors import DataError, shown
from mner.posts import Entity, Post
from mner.tags import Convention

Units = Literal["code points", "UTF-16"]

# What Label Studio's template for named entities calls its tags.
CONTROL, OBJECT = "label", "text"


@dataclass(frozen=True)
class Annotator:
    """An annotation tool.

    Args:
        name: What the user calls it.
        suffix: How its files end.
        write: Posts to a file.
        read: The posts of a file.
    """

    name: str
    suffix: str
    write: Callable[..., int]
    read: Callable[[Path], list[Post]]


def utf16_bounds(text: str) -> list[int]:
    """For every code point of a text, and for its end, how many UTF-16 units stand before it."""
    return list(accumulate((2 if character > "\uffff" else 1 for character in text), initial=0))


def from_utf16(text: str, start: int, end: int) -> tuple[int, int] | None:
    """UTF-16 units as code points; None where the interval cuts a character or leaves the text."""
    bounds = {units: index for index, units in enumerate(utf16_bounds(text))}
    return (bounds[start], bounds[end]) if start in bounds and end in bounds else None


def write_label_studio(
    posts: Iterable[Post],
    path: Path,
    *,
    overwrite: bool = False,
    convention: Convention | str = Convention.CONLL,
) -> int:
    """Write posts as tasks of Label Studio: predictions where an entity has a score, else annotations.

    A post without entities is a prediction where any entity of the other posts has a score.

    The names fit its template for named entities: ``<Labels name="label" toName="text">`` over
    ``<Text name="text" value="$text"/>``.

    Returns:
        How many posts were written.
    """
    found = [(post, post.gold(convention) if post.is_annotated else None) for post in posts]
    # A post in which nothing was predicted has no score of its own: what the others are says what it is.
    # As an annotation it would come back as somebody's word that there are no entities.
    others_are_predicted = any(entity.score is not None for _, entities in found for entity in entities or ())
    tasks = []
    for post, entities in found:
        data: dict[str, Any] = {"text": post.text}
        if post.id:
            data["id"] = post.id
        if isinstance(post.image, Path):
            data["image"] = picture_path(post.image, path.parent)
        if post.alt is not None:
            data["alt"] = post.alt
        task: dict[str, Any] = {"data": data}
        if entities is not None:
            result = [
                {
                    "id": f"entity{number}",
                    "from_name": CONTROL,
                    "to_name": OBJECT,
                    "type": "labels",
                    "value": {
                        "start": entity.start,
                        "end": entity.end,
                        "text": entity.text,
                        "labels": [entity.label],
                    },
                    **({} if entity.score is None else {"score": entity.score}),
                }
                for number, entity in enumerate(entities, start=1)
            ]
            scores = [entity.score for entity in entities if entity.score is not None]
            if scores or (not entities and others_are_predicted):
                score = {"score": min(scores)} if scores else {}
                task["predictions"] = [{"model_version": "mner", **score, "result": result}]
            else:
                task["annotations"] = [{"result": result}]
        tasks.append(task)
    with writing(path, overwrite=overwrite) as file:
        file.write(json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n")
    return len(tasks)


def read_label_studio(path: Path) -> list[Post]:
    """The posts of an export of Label Studio (JSON or JSON-MIN), with what people annotated.

    Of several annotations of a task the last that was not cancelled counts; a task without any is a post
    without gold, whatever was predicted for it.

    Raises:
        DataError: The file is no such export, or an entity does not fit its text.
    """
    tasks = _json(path, read_text(path))
    if not isinstance(tasks, list):
        raise DataError(
            f"{path} is no export of Label Studio.", expected="a JSON list of tasks", got=shown(tasks)
        )
    posts = []
    for number, task in enumerate(tasks, start=1):
        where = f"{path}, task {number}"
        if not isinstance(task, dict):
            raise DataError(f"{where}: it is no task.", expected="a JSON object", got=shown(task))
        data = task.get("data", task)
        text = data.get("text") if isinstance(data, dict) else None
        if not isinstance(text, str):
            raise DataError(f"{where}: it has no text.", expected="'text' in its data", got=shown(data))
        spans = _annotated(task, where)
        entities = None
        if spans is not None:
            entities = tuple(
                sorted((_entity(span, text, "code points", where) for span in spans), key=_by_place)
            )
        posts.append(_post(text, data, entities, path))
    return posts


def _annotated(task: dict[str, Any], where: str) -> list[dict[str, Any]] | None:
    if "annotations" not in task and "completions" not in task:
        # JSON-MIN: the spans stand under the name of the control.
        spans = task.get(CONTROL)
        return None if spans is None else list(spans)
    annotations = task.get("annotations") or task.get("completions") or []
    kept = [one for one in annotations if not one.get("was_cancelled")]
    if not kept:
        return None
    spans = []
    for result in kept[-1].get("result", []):
        value = result.get("value", {})
        if result.get("type") not in ("labels", "hypertextlabels"):
            continue
        if "start" not in value:
            raise DataError(f"{where}: a result has no offsets.", got=shown(value))
        spans.append({**value, "labels": value.get("labels") or value.get("hypertextlabels")})
    return spans


def write_doccano(
    posts: Iterable[Post],
    path: Path,
    *,
    overwrite: bool = False,
    convention: Convention | str = Convention.CONLL,
) -> int:
    """Write posts as JSONL for a sequence labelling project of Doccano, offsets in UTF-16 units.

    Returns:
        How many posts were written.
    """
    count = 0
    with writing(path, overwrite=overwrite) as file:
        for post in posts:
            bounds = utf16_bounds(post.text)
            found = post.gold(convention) if post.is_annotated else ()
            record: dict[str, Any] = {"text": post.text}
            record["label"] = [[bounds[e.start], bounds[e.end], e.label] for e in found]
            if post.id:
                # Doccano numbers posts itself, and keeps other fields as they are.
                record["post_id"] = post.id
            if isinstance(post.image, Path):
                record["image"] = picture_path(post.image, path.parent)
            if post.alt is not None:
                record["alt"] = post.alt
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


def read_doccano(path: Path) -> list[Post]:
    """The posts of an export of Doccano (JSONL, with or without relations), with what people annotated.

    Raises:
        DataError: A line is no such post, or an entity does not fit its text.
    """
    posts = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = place(path, number)
        record = _json(where, line)
        text = record.get("text", record.get("data")) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise DataError(f"{where}: it has no text.", expected="'text'", got=shown(record))
        given = record.get("label", record.get("labels"))
        if given is None:
            given = record.get("entities", [])
        spans = [_doccano_span(span, where) for span in given]
        entities = tuple(sorted((_entity(span, text, "UTF-16", where) for span in spans), key=_by_place))
        if "post_id" in record:
            record = {**record, "id": record["post_id"]}
        posts.append(_post(text, record, entities, path))
    return posts


def _doccano_span(span: Any, where: str) -> dict[str, Any]:
    if isinstance(span, dict) and {"start_offset", "end_offset", "label"} <= span.keys():
        return {"start": span["start_offset"], "end": span["end_offset"], "labels": [span["label"]]}
    if isinstance(span, list) and len(span) == 3:
        return {"start": span[0], "end": span[1], "labels": [span[2]]}
    raise DataError(f"{where}: a label is no span.", expected="[start, end, type]", got=shown(span))


def _by_place(entity: Entity) -> tuple[int, int]:
    return entity.start, entity.end


def _entity(span: dict[str, Any], text: str, units: Units, where: str) -> Entity:
    start, end, labels = span.get("start"), span.get("end"), span.get("labels")
    if not (isinstance(start, int) and isinstance(end, int) and labels):
        raise DataError(f"{where}: a span lacks its place or its type.", got=shown(span))
    label = str(labels[0])
    own = span.get("text")
    candidates: list[tuple[int, int] | None] = [(start, end), from_utf16(text, start, end)]
    if units == "UTF-16":
        candidates.reverse()
    if own is None:
        candidates = candidates[:1]
    for found in candidates:
        if found is None or not 0 <= found[0] < found[1] <= len(text):
            continue
        piece = text[found[0] : found[1]]
        if own is None or piece == own:
            return Entity(piece, label, *found)
    raise DataError(
        f"{where}: the span from {start} to {end} does not fit the text.",
        expected=f"offsets in {units} within the text"
        + ("" if own is None else f", which give {shown(own)}"),
        got=shown(text, 120),
        hint="A project of Doccano that counts grapheme clusters cannot be read."
        if units == "UTF-16"
        else None,
    )


def _post(text: str, data: dict[str, Any], entities: tuple[Entity, ...] | None, path: Path) -> Post:
    image, problem = None, None
    name = data.get("image")
    if isinstance(name, str) and name:
        image = path.parent / name
        if not image.is_file():
            image, problem = None, f"no file {name}"
    identity, alt = data.get("id", ""), data.get("alt")
    return Post.from_text(
        text,
        id=str(identity) if identity is not None else "",
        image=image,
        image_problem=problem,
        alt=alt if isinstance(alt, str) else None,
        entities=entities,
    )


def _json(where: Path | str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not readable JSON.", got=str(error)) from error


ANNOTATORS: dict[str, Annotator] = {
    found.name: found
    for found in (
        Annotator("label-studio", ".json", write_label_studio, read_label_studio),
        Annotator("doccano", ".jsonl", write_doccano, read_doccano),
    )
}


def annotator_named(name: str | None) -> Annotator | None:
    """The tool of that name, or None where it is no tool's."""
    return ANNOTATORS.get(name.lower().replace("_", "-")) if name is not None else None
