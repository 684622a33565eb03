"""From the states of sub-words in windows to the states of words in posts."""

from __future__ import annotations

import torch
from torch import Tensor


def gather_words(states: Tensor, rows: Tensor, columns: Tensor, mask: Tensor) -> Tensor:
    """The state of each word: that of its first sub-word, in the window chosen for it.

    Args:
        states: (R, n, d) states of R windows of n sub-words.
        rows: (B, W) the window in which each word is read.
        columns: (B, W) where in that window the word's first sub-word stands.
        mask: (B, W) true at words, false at padding.

    Returns:
        (B, W, d), zero at padding.
    """
    return states[rows, columns] * mask.unsqueeze(-1).to(states.dtype)


def mean_over_windows(vectors: Tensor, posts_of_rows: Tensor, posts: int) -> Tensor:
    """One vector a post of one vector a window.

    Args:
        vectors: (R, d).
        posts_of_rows: (R,) the post to which each window belongs.
        posts: Number B of posts.

    Returns:
        (B, d), zero for posts without a window.
    """
    windows = torch.bincount(posts_of_rows, minlength=posts).clamp(min=1).to(vectors.dtype)
    total = vectors.new_zeros(posts, vectors.shape[-1]).index_add(0, posts_of_rows, vectors)
    return total / windows.unsqueeze(-1)
