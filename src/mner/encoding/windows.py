"""Windows over long posts: which words each window reads, and from which window each word is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mner.errors import UsageError


class Window(NamedTuple):
    """A stretch of words that is encoded at once: ``words[start:end]``."""

    start: int
    end: int


def plan_windows(lengths: Sequence[int], capacity: int, overlap: int) -> list[Window]:
    """Cut a post into windows that overlap.

    Args:
        lengths: Number of sub-words of each word, each at least 1 and at most `capacity`.
        capacity: How many sub-words a window holds, special ones not counted.
        overlap: How many sub-words neighbouring windows should share at least, where words allow it;
            less than `capacity`.

    Returns:
        Windows in order, that cover all words; one window where the post fits into it, none for no words.

    Raises:
        UsageError: The overlap is not less than the capacity, or a word does not fit into a window.
    """
    if not 0 <= overlap < capacity:
        raise UsageError(
            "Windows cannot overlap so far.",
            expected=f"an overlap from 0 to {capacity - 1} sub-words",
            got=str(overlap),
        )
    if not lengths:
        return []
    bounds = np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64))))
    if int(np.max(lengths)) > capacity:
        raise UsageError("A word has more sub-words than a window holds.", expected=f"at most {capacity}")
    windows: list[Window] = []
    start, count = 0, len(lengths)
    while True:
        end = int(np.searchsorted(bounds, bounds[start] + capacity, side="right")) - 1
        windows.append(Window(start, end))
        if end == count:
            return windows
        # The next window starts at the last word from which on at least `overlap` sub-words are shared,
        # but so that it holds at least one word more than this one.
        shared_from = int(np.searchsorted(bounds, bounds[end] - overlap, side="right")) - 1
        gets_further = int(np.searchsorted(bounds, bounds[end + 1] - capacity, side="left"))
        start = max(gets_further, shared_from)


def choose_windows(lengths: Sequence[int], windows: Sequence[Window]) -> list[int]:
    """For each word the window in which it stands furthest from an edge.

    The edge of a window that is also the edge of the post is none: nothing is missing beyond it.

    Args:
        lengths: Number of sub-words of each word.
        windows: Windows that cover all words, in order.

    Returns:
        An index into `windows` for each word; the earlier window where two are equal.
    """
    if len(windows) <= 1:
        return [0] * len(lengths)
    bounds = np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64))))
    best = np.full(len(lengths), -1, dtype=np.int64)
    chosen = np.zeros(len(lengths), dtype=np.int64)
    far = int(bounds[-1]) + 1
    for index, (start, end) in enumerate(windows):
        before = bounds[start:end] - bounds[start] if start > 0 else np.full(end - start, far)
        after = bounds[end] - bounds[start + 1 : end + 1] if end < len(lengths) else np.full(end - start, far)
        distance = np.minimum(before, after)
        better = distance > best[start:end]
        best[start:end][better] = distance[better]
        chosen[start:end][better] = index
    return chosen.tolist()
