"""Vectors of a vision tower that does not change: computed once and kept, in memory and on disk."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mner.errors import DataError

MOST_BYTES = 2**29
"""Most bytes of vectors kept in memory; the ones not asked for longest go first."""


class FeatureStore:
    """Vectors by name, for one way of making them at a time.

    Args:
        folder: Where `save` writes them and `of` looks for them; nowhere where None. A way of making them
            (weights, preprocessing, size) has a file of its own there.
        most_bytes: Most bytes kept in memory.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._way: str | None = None
        self._vectors: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0
        self._unsaved = False

    def of(self, way: str) -> FeatureStore:
        """The store with the vectors that were made in that way; all others leave the memory.

        Raises:
            DataError: The file on disk is damaged.
        """
        if way != self._way:
            self._way = way
            self._vectors.clear()
            self._bytes = 0
            self._unsaved = False
            self._load()
        return self

    def clear(self) -> None:
        """Forget all vectors; what is on disk stays there."""
        self._way = None
        self._vectors.clear()
        self._bytes = 0
        self._unsaved = False

    def __len__(self) -> int:
        return len(self._vectors)

    def __contains__(self, name: str) -> bool:
        return name in self._vectors

    def __getitem__(self, name: str) -> Tensor:
        self._vectors.move_to_end(name)
        return self._vectors[name]

    def __setitem__(self, name: str, vector: Tensor) -> None:
        if name not in self._vectors:
            self._bytes += vector.nbytes
        self._vectors[name] = vector
        self._unsaved = True
        while self._bytes > self.most_bytes and len(self._vectors) > 1:
            _, oldest = self._vectors.popitem(last=False)
            self._bytes -= oldest.nbytes

    @property
    def file(self) -> Path | None:
        """The file of the present way of making vectors."""
        if self.folder is None or self._way is None:
            return None
        return self.folder / f"{hashlib.sha256(self._way.encode()).hexdigest()[:32]}.safetensors"

    def save(self) -> None:
        """Write what is in memory to disk, where there is a folder and something new."""
        file = self.file
        if file is None or not self._unsaved or not self._vectors:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        names = "\n".join(self._vectors)
        save_file({"vectors": torch.stack(list(self._vectors.values()))}, draft, {"names": names})
        draft.replace(file)
        self._unsaved = False

    def _load(self) -> None:
        file = self.file
        if file is None or not file.is_file():
            return
        try:
            with safe_open(file, framework="pt") as opened:
                names = opened.metadata()["names"].split("\n")
                vectors = opened.get_tensor("vectors")
        except (SafetensorError, KeyError, TypeError, OSError) as error:
            raise DataError(
                f"The kept picture vectors in {file} cannot be read.",
                got=str(error),
                hint="Delete the file; they are computed again.",
            ) from error
        for name, vector in zip(names, vectors, strict=True):
            self[name] = vector.clone()
        self._unsaved = False
