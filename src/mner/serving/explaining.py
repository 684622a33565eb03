"""Where a recogniser looked for an entity: over the picture, and in what is said about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from mner.encoding import Batch
from mner.posts import Entity, Post, Region
from mner.recognizer import Recognizer

# What systems that look at a picture's cells expose: (posts, layers, words, cells).
_CELLS = "image_attention"
# What systems that read about the picture expose, (posts, words, sub-words), and the block they read.
_TEXTS = {"knowledge_attention": "auxiliary", "caption_attention": "caption"}


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


@torch.inference_mode()
def explain(recognizer: Recognizer, post: Post, entities: Sequence[Entity]) -> Explanation | None:
    """Where a recogniser looked for each entity of a post.

    Args:
        recognizer: The recogniser.
        post: The post, with the picture and the knowledge it was recognised with.
        entities: What was recognised in it.

    Returns:
        None where the system exposes nothing of the kind, or the post gave it nothing to look at.
    """
    batch = recognizer.encode([post])
    exposed = recognizer.model(batch, expose=True).exposed
    looks = []
    for entity in entities:
        words = [
            number
            for number, (start, end) in enumerate(post.offsets)
            if start < entity.end and entity.start < end
        ]
        cells = None
        if _CELLS in exposed and batch.visual is not None and bool(batch.visual.mask.any()):
            mean = exposed[_CELLS][0].float().mean(0)[words].mean(0)
            side = math.isqrt(len(mean))
            cells = _relative(mean.cpu().numpy()).reshape(side, side)
        read: tuple[tuple[str, float], ...] = ()
        regions: tuple[tuple[Region, float], ...] = ()
        for name, block in _TEXTS.items():
            if name in exposed and block in batch.knowledge:
                strengths = exposed[name][0].float()[words].mean(0).cpu().numpy()
                read, regions = _texts(recognizer, batch, block, post, strengths)
        looks.append(Look(cells, read, regions))
    return None if all(look.is_empty for look in looks) else Explanation(tuple(looks))


def _texts(
    recognizer: Recognizer, batch: Batch, block: str, post: Post, strengths: np.ndarray
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[Region, float], ...]]:
    tokenizer = recognizer.encoder.tokenizer
    assert tokenizer is not None
    mask = batch.knowledge[block].attention_mask[0].cpu().numpy().astype(bool)
    ids = batch.knowledge[block].input_ids[0].cpu().numpy()
    inner = mask & ~np.isin(ids, tokenizer.all_special_ids)
    if not inner.any():
        return (), ()
    # What falls on the first and last sub-word is attention to the text as a whole.
    found = _relative(strengths[inner])
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(ids[inner].tolist())]
    return _whole_words(pieces, found), _regions(recognizer, post, ids[inner].tolist(), found)


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
    recognizer: Recognizer, post: Post, ids: Sequence[int], strengths: np.ndarray
) -> tuple[tuple[Region, float], ...]:
    known = post.known("ocr")
    if known is None or not known.regions:
        return ()
    tokenizer = recognizer.encoder.tokenizer
    assert tokenizer is not None
    lines = tokenizer(
        [region.label.strip() for region in known.regions],
        add_special_tokens=False,
        split_special_tokens=True,
        verbose=False,
    )["input_ids"]
    # Only if the lines are what was read; a caption may have been preferred. A budget may have cut them.
    if [token for line in lines for token in line][: len(ids)] != list(ids):
        return ()
    ends = list(accumulate(map(len, lines)))
    strongest = [
        strengths[end - len(line) : end].max(initial=0.0) for line, end in zip(lines, ends, strict=True)
    ]
    return tuple((region, float(value)) for region, value in zip(known.regions, strongest, strict=True))


def _relative(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64))
    least, most = values.min(), values.max()
    return (values - least) / (most - least) if most > least else np.ones_like(values)
