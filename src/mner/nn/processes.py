"""What processes that train together need of one another: rows of all, and means over all.

Data-parallel training averages the gradients of its processes. A loss that is a mean over what a process
happens to have is then not the mean over all of it, so losses divide by the number in all processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together; 1 where `torch.distributed` was not started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_number() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, one after the other, through which gradients flow back to each.

    Args:
        rows: (B, ...) of this process; B may differ between processes.

    Returns:
        (N, ...) and where this process's rows begin; the rows themselves and 0 in a single process.
    """
    if processes() == 1:
        return rows, 0
    size = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.zeros_like(size) for _ in range(processes())]
    dist.all_gather(sizes, size)
    counts = [int(each) for each in sizes]
    gathered: Tensor = _GatherRows.apply(rows, counts)
    return gathered, sum(counts[: dist.get_rank()])


class _GatherRows(torch.autograd.Function):
    # torch.distributed.nn's own needs rows of equal number.
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Every process's loss has a gradient for these rows: theirs is the sum.
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.split(ctx.counts)[dist.get_rank()], None


def mean_over_processes(total: Tensor, count: Tensor) -> Tensor:
    """A sum divided by a count, as data-parallel training, which averages gradients, needs it.

    Args:
        total: The sum over this process's rows.
        count: Their number.

    Returns:
        What averages over the processes to the sum of all rows by their number; 0 where there are none.
    """
    count = count.to(total.dtype)
    if processes() > 1:
        count = count.clone()
        dist.all_reduce(count)
        count = count / processes()
    return total / torch.where(count > 0, count, torch.ones_like(count))
