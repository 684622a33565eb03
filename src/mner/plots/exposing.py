"""What a recogniser shows of posts, as arrays: its own gates and attention, and the vectors of entities.

This is the one place that knows what the systems call what they show; figures take arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mner.errors import UsageError
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.recognizer import Recognizer

Array = NDArray[np.floating[Any]]


def exposed(recognizer: Recognizer, post: Post) -> dict[str, Array]:
    """What a model shows of one post; see each model's `forward`.

    Returns:
        Arrays by name, without the axis of posts; words as many as the post has.
    """
    was_training = recognizer.model.training
    recognizer.model.eval()
    try:
        with torch.inference_mode():
            output = recognizer.model(recognizer.encode([post]), expose=True)
    finally:
        recognizer.model.train(was_training)
    return {name: value[0].float().cpu().numpy() for name, value in output.exposed.items()}


def picture_maps(
    recognizer: Recognizer, post: Post, *, by: str = "word", layer: int | None = None
) -> dict[str, Array]:
    """Maps over the cells of a post's picture.

    Args:
        recognizer: One whose model sees cells (CAT-MNER).
        post: The post, with a picture.
        by: ``word``: how much each word looks at each cell; ``type``: how salient each cell is by the label
            words of each type; ``all``: how salient it is by all of them.
        layer: Which layer, from 1; the mean over all layers where None.

    Returns:
        For each word (or type) a map (rows, columns); words that stand there twice are numbered.

    Raises:
        UsageError: The model has no such maps, the post no picture, or the model no such layer.
    """
    names = {"word": "image_attention", "type": "type_saliency", "all": "image_saliency"}
    if by not in names:
        raise UsageError(f"There are no maps by {by!r}.", expected=" or ".join(names))
    shown = exposed(recognizer, post)
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
    shown = exposed(recognizer, post)
    if "gates" not in shown or "blocks" not in shown:
        return None
    values = _at_layer(shown["gates"], layer)
    names = _part_names("regions", len(values))
    there = shown["blocks"] > 0
    return {name: float(value) for name, value, one in zip(names, values, there, strict=True) if one}


def gates_by_layer(
    recognizer: Recognizer, posts: Sequence[Post], *, progress: Reporter = silent
) -> tuple[dict[str, Array], str]:
    """A model's gates by layer.

    Args:
        recognizer: One whose model has gates in its layers: DGHC or CAT-MNER.
        posts: Posts with pictures; those without are left out.
        progress: Told of every post that is done.

    Returns:
        For each kind of gate (N, layers), and what the gates are.

    Raises:
        UsageError: The model has none, or no post has a picture.
    """
    rows: dict[str, list[Array]] = {}
    with progress("looking at gates", len(posts)) as advance:
        for post in posts:
            shown = exposed(recognizer, post)
            if "blocks" in shown:
                names = _part_names("regions", len(shown["blocks"]))
                for index, name in enumerate(names):
                    if shown["blocks"][index]:
                        rows.setdefault(name, []).append(shown["gates"][None, :, index])
            elif recognizer.name == "cat-mner" and _has_picture(recognizer, post):
                # (L, m) and (L - 1, W): a row a cell, a row a word.
                for name, kind in (("image_gate", "cells"), ("text_gate", "words")):
                    if name in shown:
                        rows.setdefault(kind, []).append(shown[name].T)
            advance(1)
    if not rows:
        raise UsageError(
            f"There are no gates by layer to show of {recognizer.name} on these posts.",
            expected="a dghc or cat-mner run, and posts with pictures",
        )
    weights = recognizer.name == "dghc"
    return (
        {name: np.concatenate(values) for name, values in rows.items()},
        "weight of the part (all parts: 1)" if weights else "gate (0: attention, 1: saliency)",
    )


def _has_picture(recognizer: Recognizer, post: Post) -> bool:
    visual = recognizer.encode([post]).visual
    return visual is not None and bool(visual.mask.any())


_WORD_GATES = {
    "pre_post_gate": "share of the text before fusion",
    "text_gate": "text",
    "caption_gate": "caption",
}


def gates_by_type(
    recognizer: Recognizer, posts: Sequence[Post], *, progress: Reporter = silent
) -> dict[str, dict[str, list[float]]]:
    """A model's gates of words, by the type of the gold entity in which a word stands.

    Args:
        recognizer: One whose model has gates at words: MGIPS-CL or CDNER.
        posts: Annotated posts.
        progress: Told of every post that is done.

    Returns:
        For each kind of gate its values (the mean over features) by type, ``O`` for words outside.

    Raises:
        UsageError: The model has none.
    """
    types = [*recognizer.labels, "O"]
    found: dict[str, dict[str, list[float]]] = {}
    with progress("looking at gates", len(posts)) as advance:
        for post in posts:
            owners = ["O"] * len(post.words)
            for start, end, label, _ in post.gold_spans():
                owners[start:end] = [label] * (end - start)
            # CAT-MNER's gate of that name is one a layer.
            shown = exposed(recognizer, post) if recognizer.name != "cat-mner" else {}
            for name, kind in _WORD_GATES.items():
                if name not in shown:
                    continue
                values = shown[name].reshape(shown[name].shape[0], -1).mean(1)
                of_type = found.setdefault(kind, {label: [] for label in types})
                for label, value in zip(owners, values, strict=False):
                    of_type.setdefault(label, []).append(float(value))
            advance(1)
    if not found:
        raise UsageError(
            f"The model {recognizer.name} has no gates at words to show.", expected="an mgips-cl or cdner run"
        )
    return found


def read_texts(recognizer: Recognizer, post: Post) -> tuple[Array, list[str]] | None:
    """What each word read of the knowledge beside the post (CDNER's caption, MMAVK with attention).

    Returns:
        (W, k) and the k sub-words, or None where the model shows nothing of the kind.
    """
    shown = exposed(recognizer, post)
    name = next((one for one in ("caption_attention", "knowledge_attention") if one in shown), None)
    if name is None:
        return None
    batch = recognizer.encode([post])
    block = batch.knowledge["caption" if name == "caption_attention" else "auxiliary"]
    ids = block.input_ids[0][block.attention_mask[0]].tolist()
    tokenizer: Any = recognizer.encoder.tokenizer
    return shown[name][:, : len(ids)], tokenizer.convert_ids_to_tokens(ids)


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
