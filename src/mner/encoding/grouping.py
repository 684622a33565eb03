"""Batches of posts of like length, so that little of what is computed is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from mner.errors import UsageError


def sorted_batches(lengths: Sequence[int], posts: int, cells: int | None = None) -> list[list[int]]:
    """Indices by ascending length, cut into batches.

    Args:
        lengths: Length of each post.
        posts: Most posts in a batch.
        cells: Most cells of a batch, padding included (posts times the longest); a post longer than
            that is a batch of its own.
    """
    order = np.argsort(np.asarray(lengths), kind="stable").tolist()
    batches: list[list[int]] = []
    current: list[int] = []
    for index in order:
        too_many = len(current) >= posts
        # Ascending order: the post that comes is the longest of its batch.
        too_large = cells is not None and current and (len(current) + 1) * lengths[index] > cells
        if current and (too_many or too_large):
            batches.append(current)
            current = []
        current.append(index)
    if current:
        batches.append(current)
    return batches


class LengthGroupedBatches(torch.utils.data.Sampler[list[int]]):
    """Random batches of posts of like length, the same for the same seed and epoch.

    An epoch shuffles the posts, cuts them into groups of `group` batches, sorts within each group, and
    shuffles the batches of all groups.

    Where several processes train together, the batch is that of all, and each takes its share of it. A last
    batch with fewer posts than processes joins another, so that none is left without any.

    Args:
        lengths: Length of each post.
        posts: Posts in a batch of one process.
        seed: Seed of the order.
        group: Batches among which posts are sorted.
        processes: How many processes train together.
        process: Which of them this is, from 0.

    Raises:
        UsageError: There are fewer posts than processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        posts: int,
        seed: int,
        group: int = 50,
        *,
        processes: int = 1,
        process: int = 0,
    ) -> None:
        if len(lengths) < processes and processes > 1:
            raise UsageError(
                f"{len(lengths)} posts are too few to be trained on by {processes} processes.",
                expected="a post or more for each",
                hint="Start fewer processes.",
            )
        self.lengths = np.asarray(lengths)
        self.processes = processes
        self.process = process
        self.batch_size = posts
        self.seed = seed
        self.group = group
        self.epoch = 0
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size * self.processes)
        return whole + bool(rest) - (0 < rest < self.processes and whole > 0)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self.lengths))
        batches: list[np.ndarray] = []
        size = self.batch_size * self.processes
        for start in range(0, len(order), self.group * size):
            chunk = order[start : start + self.group * size]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches.extend(chunk[first : first + size] for first in range(0, len(chunk), size))
        if len(batches) > 1 and len(batches[-1]) < self.processes:
            last = batches.pop()
            batches[-1] = np.concatenate((batches[-1], last))
        for index in random.permutation(len(batches)):
            yield batches[index][self.process :: self.processes].tolist()
