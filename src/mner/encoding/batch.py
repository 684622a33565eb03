"""What a model sees: posts as tensors, with the way back to their words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor


class TensorRecord:
    """A dataclass of tensors, of records of tensors and of dictionaries of them, that moves as one."""

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `change` applied to every tensor."""
        return dataclasses.replace(
            self,  # type: ignore[type-var]
            **{
                entry.name: _mapped(getattr(self, entry.name), change)
                for entry in dataclasses.fields(self)  # type: ignore[arg-type]
            },
        )

    def to(self, *arguments: Any, **options: Any) -> Self:
        """A copy on another device (or with another floating type), as `Tensor.to` takes it."""
        dtype = options.get("dtype") or next((a for a in arguments if isinstance(a, torch.dtype)), None)

        def move(tensor: Tensor) -> Tensor:
            if dtype is not None and not tensor.is_floating_point():
                rest = tuple(a for a in arguments if not isinstance(a, torch.dtype))
                others = {name: value for name, value in options.items() if name != "dtype"}
                return tensor.to(*rest, **others) if rest or others else tensor
            return tensor.to(*arguments, **options)

        return self.mapped(move)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, TensorRecord):
        return value.mapped(change)
    if isinstance(value, dict):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    return value


@dataclass
class TokenBlock(TensorRecord):
    """Some text beside the post, a row each: knowledge, a caption, a chain, label words.

    Args:
        input_ids: (B, k) sub-words, special ones included.
        attention_mask: (B, k) true at sub-words; a row without text has none.
    """

    input_ids: Tensor
    attention_mask: Tensor

    @property
    def present(self) -> Tensor:
        """(B,) whether there is any text."""
        return self.attention_mask.any(1)


@dataclass
class VisualBlock(TensorRecord):
    """The parts of each post's picture: cells, regions or crops.

    Args:
        mask: (B, m) true at parts that are there; a post without a picture has none.
        pixels: (B, m, 3, height, width) preprocessed, or None where features are given.
        features: (B, m, d_v) pooled vectors of a frozen tower, or None where pixels are given.
        pictures: (B,) a number for each different picture of the batch, -1 for none.
    """

    mask: Tensor
    pixels: Tensor | None = None
    features: Tensor | None = None
    pictures: Tensor | None = None


@dataclass
class Batch(TensorRecord):
    """B posts of at most W words, read in R windows of at most n sub-words (R >= B).

    Args:
        word_mask: (B, W) true at words; a prefix of each row.
        input_ids: (R, n) sub-words of each window.
        attention_mask: (R, n) true at sub-words.
        post_of_row: (R,) the post to which a window belongs.
        word_rows: (B, W) the window in which each word is read.
        word_columns: (B, W) where its first sub-word stands in that window.
        appended: (R, n) true at the sub-words of knowledge that follows a window's words.
        word_shapes: (B, W, 5) indices into `mner.nn.word_shape.FEATURES`.
        words: (B, W) indices into a vocabulary.
        characters: (B, W, C) indices into a vocabulary, 0 at padding.
        tags: (B, W) gold tags, 0 at padding.
        spans: (N, 4) gold spans: post, start, end, label.
        knowledge: Texts beside the posts, by kind.
        relevance: (B,) how much the picture has to do with the text.
        relevance_known: (B,) whether that is known.
        visual: The parts of the pictures.
        label_words: The words that stand for the types, one a row; the mask leaves special tokens out.
        label_word_types: (rows of `label_words`,) the type each stands for.
    """

    word_mask: Tensor
    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    post_of_row: Tensor | None = None
    word_rows: Tensor | None = None
    word_columns: Tensor | None = None
    appended: Tensor | None = None
    word_shapes: Tensor | None = None
    words: Tensor | None = None
    characters: Tensor | None = None
    tags: Tensor | None = None
    spans: Tensor | None = None
    knowledge: dict[str, TokenBlock] = field(default_factory=dict)
    relevance: Tensor | None = None
    relevance_known: Tensor | None = None
    visual: VisualBlock | None = None
    label_words: TokenBlock | None = None
    label_word_types: Tensor | None = None

    @property
    def posts(self) -> int:
        """Number of posts."""
        return self.word_mask.shape[0]

    @property
    def longest(self) -> int:
        """Number of words of the longest post."""
        return self.word_mask.shape[1]
