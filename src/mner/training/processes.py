"""Several processes that train and score together, as torchrun starts them.

Each has the whole model and a share of every batch. One of them, the first, writes and speaks.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

from mner.nn.processes import process_number, processes
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.recognizer import Recognizer

Value = TypeVar("Value")


def join_processes() -> None:
    """Find the other processes that torchrun started; nothing happens in a process that stands alone."""
    PartialState(cpu=not torch.cuda.is_available())


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks; true where there is only one."""
    return process_number() == 0


def agree(value: Value) -> Value:
    """What the first process says, in all of them.

    Args:
        value: Anything that can be pickled; only that of the first process counts.
    """
    if processes() == 1:
        return value
    said = [value]
    dist.broadcast_object_list(said)
    return said[0]


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if processes() > 1:
        dist.barrier()


def leave_processes() -> None:
    """Part from the other processes at the end of a program."""
    if processes() > 1:
        # A model that still averages gradients when its group goes away takes the program with it.
        wait_for_all()
        gc.collect()
        dist.destroy_process_group()


def predict_together(
    recognizer: Recognizer, posts: Sequence[Post], *, progress: Reporter = silent, **options: Any
) -> list[list[Entity]]:
    """The entities of all posts, each post computed by one process; the same list in all processes.

    Args:
        recognizer: The same in all processes.
        posts: The same in all processes.
        progress: Told of every post of this process.
        options: Further arguments of `Recognizer.predict`.
    """
    count, number = processes(), process_number()
    own = recognizer.predict(posts[number::count], progress=progress, **options)
    if count == 1:
        return own
    shares: list[list[list[Entity]] | None] = [None] * count
    dist.all_gather_object(shares, own)
    together: list[list[Entity]] = [[] for _ in posts]
    for start, share in enumerate(shares):
        assert share is not None
        together[start::count] = share
    return together
