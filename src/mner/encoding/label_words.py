"""Label words to sub-words: the words that stand for the types, for models that look for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mner.encoding.batch import TokenBlock
from mner.encoding.subwords import SubwordTable


def encode_label_words(
    words: Mapping[str, Sequence[str]], labels: Sequence[str], table: SubwordTable
) -> tuple[TokenBlock, Tensor]:
    """Label words as rows of sub-words, framed by special tokens as a text is.

    Args:
        words: The words of each type; one may consist of several, separated by spaces.
        labels: The types, in the model's order.
        table: Words to sub-words.

    Returns:
        A row a label word, whose mask is true at the word's own sub-words alone, and the index of the type
        that each stands for.
    """
    framed: list[tuple[int, ...]] = []
    inner: list[int] = []
    types: list[int] = []
    for label, listed in words.items():
        for word in listed:
            pieces = [piece for pieces in table.lookup(word.split()) for piece in pieces]
            framed.append((*table.prefix, *pieces, *table.suffix))
            inner.append(len(pieces))
            types.append(labels.index(label))
    widest = max(map(len, framed))
    ids = torch.full((len(framed), widest), table.padding, dtype=torch.int64)
    mask = torch.zeros(len(framed), widest, dtype=torch.bool)
    start = len(table.prefix)
    for row, (whole, length) in enumerate(zip(framed, inner, strict=True)):
        ids[row, : len(whole)] = torch.tensor(whole)
        mask[row, start : start + length] = True
    return TokenBlock(ids, mask), torch.tensor(types, dtype=torch.int64)
