"""Where a recogniser looked for an entity: over the picture, and in what is said about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from mner.posts import Entity, Post, Region
from mner.recognizer import Recognizer

# What systems that look at a picture's cells expose: (layers, words, cells).
_CELLS = "image_attention"


@dataclass(frozen=True)
class Look:
    """Where the recogniser looked for one entity; strengths are relative to the strongest, 0 to 1.

    Args:
        cells: (rows, columns) over the whole picture, or None.
        words: The words that were read about the picture, each with its strength.
        regions: Parts of the picture in which those words stand, each with its strength.
    """

    cells: np.ndarray | None = None
    words: tuple[tuple[str, float], ...] = ()
    regions: tuple[tuple[Region, float], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.cells is None and not self.words


@dataclass(frozen=True)
class Explanation:
    """A look an entity, in the entities' order."""

    looks: tuple[Look, ...]


def explain(recognizer: Recognizer, post: Post, entities: Sequence[Entity]) -> Explanation | None:
    """Where a recogniser looked for each entity of a post.

    Args:
        recognizer: The recogniser.
        post: The post, with the picture and the knowledge it was recognised with.
        entities: What was recognised in it.

    Returns:
        None where the system exposes nothing of the kind, or the post gave it nothing to look at.
    """
    if _CELLS not in recognizer.model.exposes and not _text_maps(recognizer):
        return None
    shown = recognizer.exposed([post])[0]
    looks = []
    for entity in entities:
        words = [
            number
            for number, (start, end) in enumerate(post.offsets)
            if start < entity.end and entity.start < end
        ]
        cells = None
        if _CELLS in shown and post.image is not None:
            mean = shown[_CELLS].astype(np.float64).mean(0)[words].mean(0)
            side = math.isqrt(len(mean))
            cells = _relative(mean).reshape(side, side)
        read: tuple[tuple[str, float], ...] = ()
        regions: tuple[tuple[Region, float], ...] = ()
        for name, kind in _text_maps(recognizer).items():
            if name in shown and len(shown[f"{kind}_pieces"]):
                strengths = shown[name].astype(np.float64)[words].mean(0)
                read, regions = _texts(recognizer, post, shown[f"{kind}_pieces"].tolist(), strengths)
        looks.append(Look(cells, read, regions))
    return None if all(look.is_empty for look in looks) else Explanation(tuple(looks))


def _text_maps(recognizer: Recognizer) -> dict[str, str]:
    # The maps from words to what was read beside the post, each with the kind of that.
    kinds = recognizer.encoder.inputs.knowledge
    return {
        name: axes[1]
        for name, axes in recognizer.model.exposes.items()
        if len(axes) == 2 and axes[0] == "words" and axes[1] in kinds
    }


def _texts(
    recognizer: Recognizer, post: Post, pieces: list[str], strengths: np.ndarray
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[Region, float], ...]]:
    tokenizer = recognizer.encoder.tokenizer
    assert tokenizer is not None
    # What falls on the first and last sub-word is attention to the text as a whole.
    inner = ~np.isin(pieces, [str(token) for token in tokenizer.all_special_tokens])
    if not inner.any():
        return (), ()
    found = _relative(strengths[inner])
    kept = [piece for piece, own in zip(pieces, inner, strict=True) if own]
    return _whole_words(kept, found), _regions(recognizer, post, kept, found)


def _whole_words(pieces: Sequence[str], strengths: np.ndarray) -> tuple[tuple[str, float], ...]:
    # A word is as strong as its strongest sub-word.
    marked = any(piece[:1] in "Ġ▁" for piece in pieces)
    words: list[tuple[str, float]] = []
    for piece, strength in zip(pieces, strengths.tolist(), strict=True):
        goes_on = not piece.startswith(("Ġ", "▁")) if marked else piece.startswith("##")
        text = piece.removeprefix("##").lstrip("Ġ▁")
        if goes_on and words:
            words[-1] = (words[-1][0] + text, max(words[-1][1], strength))
        else:
            words.append((text, strength))
    return tuple(words)


def _regions(
    recognizer: Recognizer, post: Post, pieces: list[str], strengths: np.ndarray
) -> tuple[tuple[Region, float], ...]:
    known = post.known("ocr")
    if known is None or not known.regions:
        return ()
    tokenizer = recognizer.encoder.tokenizer
    assert tokenizer is not None
    lines = [tokenizer.tokenize(region.label.strip(), split_special_tokens=True) for region in known.regions]
    # Only if the lines are what was read; a caption may have been preferred. A budget may have cut them.
    if [piece for line in lines for piece in line][: len(pieces)] != pieces:
        return ()
    ends = list(accumulate(map(len, lines)))
    strongest = [
        strengths[end - len(line) : end].max(initial=0.0) for line, end in zip(lines, ends, strict=True)
    ]
    return tuple((region, float(value)) for region, value in zip(known.regions, strongest, strict=True))


def _relative(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values)
    least, most = values.min(), values.max()
    return (values - least) / (most - least) if most > least else np.ones_like(values)
