"""The image probe: generated posts on which a recogniser must use the picture, and only where it should.

Four kinds of post, two thirds of them with a picture that matters:

========= ========================================================================================
alone     one name, whose type only the picture tells
aside     two names: one whose type only the picture tells, one whose type stands in the text
pair      two names, one of which the picture shows; the type of the other follows by elimination
unrelated the text tells every type, and the picture has nothing to do with it
========= ========================================================================================

Every text of the first two kinds stands there four times, once with a picture of each type, so that nothing
that reads the text alone gets more than a quarter of them right. Every text of a pair stands there twice,
with the types of its names exchanged. A picture that moves the scores of all words alike cannot get both
right: with the score s(w, t) of type t for word w of the text, and the picture's o(t), the two posts ask for
s(x, a) - s(x, b) > o(b) - o(a) > s(y, a) - s(y, b), and for the same with < instead of > and another o. (An
aside can be had with such a shift, if the text speaks loudly enough.)

Within a split every name is equally often of each type. No name, no drawing and no sentence about a drawing
of one split stands in another.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mner.data import Dataset
from mner.data.files import refuse_existing
from mner.data.writers import write_folder
from mner.errors import UsageError
from mner.evaluation.probe_drawing import Drawing, draw
from mner.evaluation.probe_texts import (
    ALONE,
    ASIDE,
    CLEAR,
    FOCUS,
    KINDS,
    NOUNS,
    PAIR,
    SPLITS,
    TYPES,
    chain_of,
    each_name,
    fill,
    said_of,
)
from mner.knowledge.exchange import import_file
from mner.knowledge.store import KnowledgeStore
from mner.posts import Entity, Post
from mner.progress import Reporter, silent

BLOCK = 60
"""Posts come in blocks of so many: 16 alone, 16 with an aside, 8 pairs and 20 with unrelated pictures."""

SIZES: dict[str, int] = {"train": 6000, "valid": 480, "test": 1500}
"""How many posts each split has."""

STORE_FILE = "knowledge.sqlite"
KEY_FILE = "key.json"
FORMS = ("alone", "aside", "pair", "unrelated")

_ENDINGS = ("", " .", " !", " …")
_PAIRINGS = (
    (("PER", "LOC"), ("ORG", "MISC")),
    (("PER", "ORG"), ("LOC", "MISC")),
    (("PER", "MISC"), ("LOC", "ORG")),
)


@dataclass(frozen=True)
class Question:
    """What a post of the probe asks.

    Args:
        form: Its kind, one of `FORMS`.
        shown: The type of what its picture shows.
        asked: Start and end of the names whose type only the picture tells, the one that is shown first.
    """

    form: str
    shown: str
    asked: tuple[tuple[int, int], ...] = ()


@dataclass
class _Draft:
    text: str
    entities: list[Entity]
    question: Question
    said: dict[str, Any] = field(default_factory=dict)


def write_probe(
    folder: str | Path,
    seed: int = 1,
    sizes: Mapping[str, int] | None = None,
    *,
    overwrite: bool = False,
    progress: Reporter = silent,
) -> Path:
    """Write the probe as an ordinary data folder.

    ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with the pictures in ``images``; ``knowledge.sqlite``,
    the store with captions, auxiliary knowledge, reasoning chains, regions and relevance, and the files it
    was made from in ``knowledge``; ``key.json``, which says what each post asks.

    Args:
        folder: The folder; made where it is missing.
        seed: Decides everything that is random: the same seed gives the same bytes (but for the store, which
            remembers when it was written).
        sizes: Posts a split, multiples of `BLOCK`; `SIZES` where None.
        overwrite: Whether what stands there may be replaced.
        progress: Told of every post.

    Returns:
        The folder.

    Raises:
        UsageError: A size is no multiple of `BLOCK`, or there is a probe already.
    """
    folder = Path(folder)
    sizes = dict(SIZES if sizes is None else sizes)
    for split, count in sizes.items():
        if split not in SPLITS or count < BLOCK or count % BLOCK:
            raise UsageError(
                f"The probe cannot have {count} posts of the split {split!r}.",
                expected=f"{', '.join(SPLITS)}, with a positive multiple of {BLOCK} posts each",
            )
    if not overwrite:
        for name in (KEY_FILE, STORE_FILE):
            refuse_existing(folder / name)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "knowledge").mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    names = each_name(random)
    drawn: set[bytes] = set()
    splits: dict[str, list[Post]] = {}
    key: dict[str, Any] = {}
    said: dict[str, list[dict[str, Any]]] = {}
    with progress("drawing", sum(sizes.values())) as advance:
        for split, count in sizes.items():
            drafts = [draft for _ in range(count // BLOCK) for draft in _block(names, random)]
            posts = []
            for number, place in enumerate(random.permutation(len(drafts)), start=1):
                draft = drafts[place]
                identity = f"{split}-{number:05d}"
                image = folder / "images" / f"{identity}.png"
                drawing = _picture(draft.question.shown, image, drawn, random)
                for kind, value in _knowledge(draft, drawing, split, random).items():
                    said.setdefault(kind, []).append({"id": identity, kind: value})
                posts.append(
                    Post.from_text(draft.text, id=identity, image=image, entities=tuple(draft.entities))
                )
                question = draft.question
                key[identity] = {"form": question.form, "shown": question.shown, "asked": question.asked}
                advance(1)
            splits[split] = posts
    write_folder(Dataset(folder.name, splits), folder, overwrite=overwrite)
    _write_knowledge(folder, said)
    text = json.dumps({"seed": seed, "posts": key}, indent=None, separators=(",", ":"))
    (folder / KEY_FILE).write_text(text + "\n", encoding="utf-8")
    return folder


def read_key(folder: str | Path) -> dict[str, Question]:
    """What each post of a probe asks, by its id.

    Raises:
        UsageError: The folder holds no probe.
    """
    path = Path(folder) / KEY_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} is not an image probe.",
            expected=f"a folder with {KEY_FILE}",
            hint="`mner probe-set make FOLDER` writes one; `mner probe RUN --data FOLDER` takes any data.",
        )
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        identity: Question(found["form"], found["shown"], tuple((a, b) for a, b in found["asked"]))
        for identity, found in document["posts"].items()
    }


def _block(names: Iterator[str], random: np.random.Generator) -> Iterator[_Draft]:
    def pick(choices: Sequence[Any]) -> Any:
        return choices[int(random.integers(len(choices)))]

    def order() -> list[str]:
        return [TYPES[index] for index in random.permutation(len(TYPES))]

    for _ in range(4):
        template, name = pick(ALONE) + pick(_ENDINGS), next(names)
        for shown in TYPES:
            yield _draft("alone", shown, template, {"x": name}, {"x": shown}, "x")
    bystander = next(names)
    for told in order():
        halves = [pick(FOCUS), pick(ASIDE[told])]
        if random.random() < 0.5:
            halves.reverse()
        # Not `capitalize`, which would put the rest in lower case, names among it.
        template = pick((" , ", " : ")).join(halves) + pick(_ENDINGS)
        template = template[0].upper() + template[1:]
        parts = {"x": next(names), "y": bystander, "n": pick(NOUNS[told])}
        for shown in TYPES:
            yield _draft("aside", shown, template, parts, {"x": shown, "y": told}, "x")
    for _ in range(2):
        pair = {"x": next(names), "y": next(names)}
        for types in pick(_PAIRINGS):
            a, b = types if random.random() < 0.5 else types[::-1]
            parts = {**pair, "a": pick(NOUNS[a]), "b": pick(NOUNS[b])}
            template = pick(PAIR) + pick(_ENDINGS)
            for shown, other in ((a, b), (b, a)):
                yield _draft("pair", shown, template, parts, {"x": shown, "y": other}, "xy")
    for _ in range(5):
        name = next(names)
        for told, shown in zip(order(), order(), strict=True):
            template = pick(CLEAR[told]) + pick(_ENDINGS)
            yield _draft("unrelated", shown, template, {"x": name, "n": pick(NOUNS[told])}, {"x": told}, "")


def _draft(
    form: str, shown: str, template: str, parts: Mapping[str, str], types: Mapping[str, str], asked: str
) -> _Draft:
    text, places = fill(template, parts)
    entities = [Entity(parts[name], label, *places[name]) for name, label in types.items()]
    entities.sort(key=lambda entity: entity.start)
    return _Draft(text, entities, Question(form, shown, tuple(places[name] for name in asked)))


def _picture(shown: str, path: Path, drawn: set[bytes], random: np.random.Generator) -> Drawing:
    while True:
        drawing = draw(KINDS[shown], random)
        pixels = drawing.image.tobytes()
        if pixels not in drawn:
            break
    drawn.add(pixels)
    file = io.BytesIO()
    drawing.image.save(file, "PNG")
    path.write_bytes(file.getvalue())
    return drawing


def _knowledge(draft: _Draft, drawing: Drawing, split: str, random: np.random.Generator) -> dict[str, Any]:
    related = draft.question.form != "unrelated"
    sentences = {
        form: said_of(drawing.traits, drawing.background, split, form, random)
        for form in ("caption", "auxiliary", "seen")
    }
    # Related and unrelated pictures overlap a little, as those of any measure do.
    relevance = random.normal(0.68, 0.12) if related else random.normal(0.18, 0.1)
    return {
        "caption": sentences["caption"],
        "auxiliary": sentences["auxiliary"],
        "reasoning": chain_of(sentences["seen"], len(draft.entities), related, random),
        "relevance": round(min(max(float(relevance), 0.4 if related else 0.01), 0.99), 3),
        "regions": _regions(drawing, random),
    }


def _regions(drawing: Drawing, random: np.random.Generator) -> list[list[Any]]:
    """Boxes as a detector gives them: what is drawn, a part of it, the scene, and some background."""

    def near(box: Sequence[float], by: float) -> list[float]:
        moved = zip(box, random.uniform(-by, by, 4).tolist(), strict=True)
        return [round(min(max(side + step, 0.0), 1.0), 3) for side, step in moved]

    left, top, right, bottom = drawing.boxes[0]
    half = random.choice((0.6, 0.7))
    part = (left, top, right, top + half * (bottom - top))
    corner = random.uniform(0, 0.6, 2)
    found = [(near(box, 0.04), "thing", random.uniform(0.75, 0.95)) for box in drawing.boxes]
    found.append((near(part, 0.03), "part", random.uniform(0.55, 0.75)))
    found.append((near((0.02, 0.02, 0.98, 0.98), 0.02), "scene", random.uniform(0.5, 0.7)))
    found.append((near((*corner, *(corner + 0.35)), 0.04), "ground", random.uniform(0.1, 0.45)))
    return [[*box, label, round(float(score), 3)] for box, label, score in found]


def _write_knowledge(folder: Path, said: Mapping[str, list[dict[str, Any]]]) -> None:
    store_file = folder / STORE_FILE
    for leftover in folder.glob(STORE_FILE + "*"):
        leftover.unlink()
    with KnowledgeStore(store_file) as store:
        for kind, records in said.items():
            path = folder / "knowledge" / f"{kind}.jsonl"
            lines = [json.dumps(record, ensure_ascii=False) for record in records]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            import_file(store, path, name=f"probe-{kind}")
