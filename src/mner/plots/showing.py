"""What figures show of a recogniser: its maps, parts, gates and the vectors of entities, as arrays.

Which arrays a model has, and what their axes are, it says itself (`MnerModel.exposes`): maps are arrays over
cells, gates are what it calls gates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mner.errors import UsageError
from mner.exposing import Arrays
from mner.images import open_picture
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.recognizer import Recognizer
from mner.tags import Convention

Array = NDArray[Any]

# Posts that are read at once.
_BATCH = 16


def picture_maps(
    recognizer: Recognizer, post: Post, *, by: str = "word", layer: int | None = None
) -> dict[str, Array]:
    """Maps over the cells of a post's picture.

    Args:
        recognizer: One whose model sees cells (CAT-MNER).
        post: The post.
        by: ``word``: how much each word looks at each cell; ``type``: how salient each cell is by the label
            words of each type; ``all``: how salient it is by all of them.
        layer: Which layer, from 1; the mean over all layers where None.

    Returns:
        For each word (or type) a map (rows, columns); words that stand there twice are numbered.

    Raises:
        UsageError: The model has no such maps, or no such layer.
    """
    names = {"word": "image_attention", "type": "type_saliency", "all": "image_saliency"}
    if by not in names:
        raise UsageError(f"There are no maps by {by!r}.", expected=" or ".join(names))
    shown = recognizer.exposed([post])[0]
    if names[by] not in shown:
        raise UsageError(
            f"The model {recognizer.name} shows no maps over the picture by {by}.",
            expected="a cat-mner run; maps by type need refinement of what words see",
            got=", ".join(shown) or "nothing that can be shown",
        )
    values = _at_layer(shown[names[by]], layer)
    # (W, m), (T, m) or (m,)
    values = np.atleast_2d(values)
    side = math.isqrt(values.shape[-1])
    keys = {"word": list(post.words), "type": list(recognizer.labels), "all": ["all types"]}[by]
    return {
        key: row.reshape(side, side) for key, row in zip(_numbered(keys), values[: len(keys)], strict=True)
    }


def _at_layer(values: Array, layer: int | None) -> Array:
    if layer is None:
        mean: Array = values.mean(0)
        return mean
    if not 1 <= layer <= len(values):
        raise UsageError(f"There is no layer {layer}.", expected=f"1 to {len(values)}")
    chosen: Array = values[layer - 1]
    return chosen


def _numbered(names: Sequence[str]) -> list[str]:
    """Names that are all different: the second ``the`` is ``the (2)``."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def picture_parts(recognizer: Recognizer, post: Post) -> dict[str, tuple[float, float, float, float]]:
    """The regions or crops of a post's picture that a model sees, by name.

    Raises:
        UsageError: The model sees no regions or crops.
    """
    pictures = recognizer.encoder.pictures
    if pictures is None or pictures.inputs.parts == "cells":
        raise UsageError(
            f"The model {recognizer.name} sees no regions or crops.", expected="a dghc or mgips-cl run"
        )
    boxes = pictures.boxes(post, "")
    return dict(zip(_part_names(pictures.inputs.parts, len(boxes)), boxes, strict=True))


def _part_names(parts: str, count: int) -> list[str]:
    if parts == "regions":
        return ["whole picture", *(f"region {number}" for number in range(1, count))]
    return [f"crop {number}" for number in range(1, count + 1)]


def part_weights(recognizer: Recognizer, post: Post, *, layer: int | None = None) -> dict[str, float] | None:
    """How much each region of a picture weighs (DGHC's gates), the mean over layers or of one.

    Returns:
        The weights by the names of `picture_parts`, or None where the model does not weigh parts.
    """
    shown = recognizer.exposed([post])[0]
    if "gates" not in shown or "blocks" not in shown:
        return None
    values = _at_layer(shown["gates"], layer)
    names = _part_names("regions", len(values))
    there = shown["blocks"].astype(bool)
    return {name: float(value) for name, value, one in zip(names, values, there, strict=True) if one}


def gates_by_layer(
    recognizer: Recognizer, posts: Sequence[Post], *, progress: Reporter = silent
) -> dict[str, Array]:
    """A model's gates by layer; posts without a picture are left out.

    Args:
        recognizer: One whose model has gates in its layers: DGHC or CAT-MNER.
        posts: The posts.
        progress: Told of every post that is done.

    Returns:
        For each kind of gate (N, layers): a row a post for DGHC's parts, a cell or a word for CAT-MNER.

    Raises:
        UsageError: The model has none, or no post has a picture.
    """
    gates = [name for name, axes in _gates(recognizer).items() if axes[0] == "layers"]
    rows: dict[str, list[Array]] = {}
    for post, shown in _looked_at(recognizer, posts, progress) if gates else ():
        if post.image is None or open_picture(post.image).image is None:
            continue
        for name in gates:
            of_what = recognizer.model.exposes[name][1]
            for kind, values in _kinds(of_what, shown[name], shown) if name in shown else ():
                rows.setdefault(kind, []).append(values)
    if not rows:
        raise UsageError(
            f"There are no gates by layer to show of {recognizer.name} on these posts.",
            expected="a dghc or cat-mner run, and posts with pictures",
        )
    return {name: np.concatenate(values) for name, values in rows.items()}


def _gates(recognizer: Recognizer) -> dict[str, tuple[str, ...]]:
    return {name: axes for name, axes in recognizer.model.exposes.items() if "gate" in name}


def _looked_at(
    recognizer: Recognizer, posts: Sequence[Post], progress: Reporter
) -> Iterator[tuple[Post, Arrays]]:
    with progress("looking at gates", len(posts)) as advance:
        for start in range(0, len(posts), _BATCH):
            chosen = posts[start : start + _BATCH]
            yield from zip(chosen, recognizer.exposed(chosen), strict=True)
            advance(len(chosen))


def _kinds(of_what: str, values: Array, shown: Arrays) -> Iterator[tuple[str, Array]]:
    """Gates (layers, things) as rows (N, layers) by kind: each block, all cells, all words."""
    if of_what == "blocks":
        names = _part_names("regions", values.shape[1])
        for index, name in enumerate(names):
            if shown["blocks"][index]:
                yield name, values[None, :, index]
    else:
        yield of_what, values.T


def gates_by_type(
    recognizer: Recognizer,
    posts: Sequence[Post],
    *,
    convention: Convention | str = Convention.CONLL,
    progress: Reporter = silent,
) -> dict[str, dict[str, list[float]]]:
    """A model's gates of words, by the type of the gold entity in which a word stands.

    Args:
        recognizer: One whose model has gates at words: MGIPS-CL or CDNER.
        posts: Annotated posts.
        convention: What stray tags mean in gold.
        progress: Told of every post that is done.

    Returns:
        For each kind of gate its values (the mean over features) by type, ``O`` for words outside.

    Raises:
        UsageError: The model has none.
    """
    gates = [name for name, axes in _gates(recognizer).items() if axes[0] == "words"]
    if not gates:
        raise UsageError(
            f"The model {recognizer.name} has no gates at words to show.", expected="an mgips-cl or cdner run"
        )
    found: dict[str, dict[str, list[float]]] = {}
    for post, shown in _looked_at(recognizer, posts, progress):
        owners = ["O"] * len(post.words)
        for start, end, label, _ in post.gold_spans(convention):
            owners[start:end] = [label] * (end - start)
        for name in gates:
            if name not in shown:
                continue
            of_type = found.setdefault(
                name.replace("_", " "), {label: [] for label in (*recognizer.labels, "O")}
            )
            # (W,) or (W, features)
            means = shown[name].reshape(len(owners), -1).mean(1) if owners else ()
            for label, value in zip(owners, means, strict=True):
                of_type.setdefault(label, []).append(float(value))
    return found


def read_texts(recognizer: Recognizer, post: Post) -> tuple[Array, list[str]] | None:
    """What each word read of the knowledge beside the post (CDNER's caption, MMAVK with attention).

    Returns:
        (W, k) and the k sub-words, or None where the model shows nothing of the kind.
    """
    shown = recognizer.exposed([post])[0]
    for name, axes in recognizer.model.exposes.items():
        if name in shown and len(axes) == 2 and axes[0] == "words" and f"{axes[1]}_pieces" in shown:
            return shown[name], shown[f"{axes[1]}_pieces"].tolist()
    return None


@dataclass
class EntityVectors:
    """The vectors of entities, as the model's decoder gets their words.

    Args:
        vectors: (N, d) the mean over each entity's words.
        labels: Their types.
        mentions: Their texts.
        posts: The texts of their posts.
    """

    vectors: Array
    labels: list[str] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)
    posts: list[str] = field(default_factory=list)


def entity_vectors(
    recognizer: Recognizer,
    posts: Sequence[Post],
    entities: Sequence[Sequence[Entity]],
    *,
    batch_size: int = 32,
    progress: Reporter = silent,
) -> EntityVectors:
    """The vectors of entities: the mean of the word states that the decoder gets.

    Args:
        recognizer: Any.
        posts: The posts.
        entities: For each its entities, gold or predicted.
        batch_size: Most posts computed at once.
        progress: Told of every post that is done.
    """
    model = recognizer.model
    kept: list[torch.Tensor] = []
    handle = model.decoder.register_forward_pre_hook(lambda _, given: kept.append(given[0].detach()))  # type: ignore[union-attr, operator]
    rows: list[Array] = []
    result = EntityVectors(np.zeros((0, 0), dtype=np.float32))
    was_training = model.training
    model.eval()
    try:
        with progress("reading", len(posts)) as advance:
            for start in range(0, len(posts), batch_size):
                chosen = posts[start : start + batch_size]
                kept.clear()
                with torch.inference_mode():
                    model(recognizer.encode(chosen))
                states = kept[0].float().cpu().numpy()
                for index, post in enumerate(chosen):
                    for entity in entities[start + index]:
                        if covered := words_of(post, [entity]):
                            rows.append(states[index, covered].mean(0))
                            result.labels.append(entity.label)
                            result.mentions.append(entity.text)
                            result.posts.append(post.text)
                advance(len(chosen))
    finally:
        handle.remove()
        model.train(was_training)
    if rows:
        result.vectors = np.stack(rows)
    return result


def words_of(post: Post, entities: Sequence[Entity]) -> list[int]:
    """The numbers of the words that stand in entities."""
    return [
        index
        for index, (left, right) in enumerate(post.offsets)
        if any(left < entity.end and entity.start < right for entity in entities)
    ]
