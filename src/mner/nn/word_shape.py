"""Word shapes: what an uncased, emoji-blind encoder cannot see of a word.

Each word gets one value for each of a few features; a table of embeddings a feature turns them into one
vector that is added to the word's state.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import regex
import torch
from torch import Tensor, nn

# The features and their values. The order is part of every saved model: append, never reorder.
CASES = ("none", "lower", "initial", "upper", "single-upper", "mixed")
DIGITS = ("none", "some", "all")
MARKS = ("word", "hashtag", "handle", "address", "number-sign", "at-sign", "punctuation", "symbol")
BEFORE = ("start", *MARKS)
CAPITALISED_SHARE = ("few", "half", "most")
FEATURES: tuple[tuple[str, ...], ...] = (CASES, DIGITS, MARKS, BEFORE, CAPITALISED_SHARE)

_ADDRESS = regex.compile(r"(?:https?://|www\.)\S+", regex.IGNORECASE)
_PUNCTUATION = regex.compile(r"\p{P}+")


@functools.lru_cache(maxsize=20_000)
def _own_shape(word: str) -> tuple[int, int, int]:
    letters = [character for character in word if character.isalpha()]
    upper = sum(character.isupper() for character in letters)
    if not letters:
        case = "none"
    elif upper == 0:
        case = "lower"
    elif upper == len(letters):
        case = "single-upper" if upper == 1 else "upper"
    elif upper == 1 and letters[0].isupper():
        case = "initial"
    else:
        case = "mixed"
    numeric = sum(character.isdigit() for character in word)
    digits = "none" if numeric == 0 else "all" if numeric == len(word) else "some"
    if word == "#":
        mark = "number-sign"
    elif word == "@":
        mark = "at-sign"
    elif word.startswith("#"):
        mark = "hashtag"
    elif word.startswith("@"):
        mark = "handle"
    elif _ADDRESS.fullmatch(word):
        mark = "address"
    elif _PUNCTUATION.fullmatch(word):
        mark = "punctuation"
    elif not any(character.isalnum() for character in word):
        mark = "symbol"
    else:
        mark = "word"
    return CASES.index(case), DIGITS.index(digits), MARKS.index(mark)


_CAPITALISED = frozenset(CASES.index(case) for case in ("initial", "upper", "single-upper", "mixed"))
_LETTERLESS = CASES.index("none")


def word_shapes(words: Sequence[str]) -> list[tuple[int, int, int, int, int]]:
    """The shape of each word of a post, as indices into `FEATURES`.

    Besides the word's own case, digits and mark: the mark of the word before (in some data sets ``@`` and
    ``#`` stand alone), and how much of the post is capitalised, since in a headline case says little.
    """
    own = [_own_shape(word) for word in words]
    lettered = sum(case != _LETTERLESS for case, _, _ in own)
    capitalised = sum(case in _CAPITALISED for case, _, _ in own)
    share = capitalised / lettered if lettered else 0.0
    headline = 0 if share < 0.4 else 1 if share < 0.75 else 2
    before = 0
    shapes = []
    for case, digits, mark in own:
        shapes.append((case, digits, mark, before, headline))
        before = mark + 1
    return shapes


class WordShapeEmbedding(nn.Module):
    """One vector for each word's shape: the sum of one embedding a feature.

    Args:
        width: Width of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(len(values), width) for values in FEATURES)

    def forward(self, shapes: Tensor) -> Tensor:
        """Embed shapes (..., 5), as indices into `FEATURES`, to (..., width)."""
        if shapes.shape[-1] != len(FEATURES):
            raise ValueError(f"a word has {len(FEATURES)} shape features, got {shapes.shape[-1]}")
        vectors = [table(shapes[..., feature]) for feature, table in enumerate(self.tables)]
        return torch.stack(vectors).sum(0)
