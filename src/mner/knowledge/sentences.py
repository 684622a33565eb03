"""Texts as vectors, to say how near two of them are in meaning.

The embedded MiniLM (all-MiniLM-L6-v2) was trained for exactly this: its word states are averaged and
scaled to length one, and the product of two vectors is their cosine (Reimers and Gurevych 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mner.errors import BackboneError, shown
from mner.pretrained import DEFAULT, locate, quiet_loading, revision_of, why_not_loaded

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Gives for n texts an array (n, width) whose rows have length one."""


class SentenceEmbedder:
    """Embeds texts with a BERT-like encoder: the mean of the last states, scaled to length one.

    Args:
        model: ``default``, a local folder or a hub name.
        revision: Which commit of a hub name.
        batch_size: Texts at once; texts of like length go together.
        max_tokens: Sub-words of a text that are read; 256 is what the embedded encoder was trained with.
        device: Where to run; None takes a GPU where there is one.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        *,
        revision: str | None = None,
        batch_size: int = 64,
        max_tokens: int = 256,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.revision = revision
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.device = device
        self._loaded: tuple[Any, Any] | None = None

    def settings(self) -> dict[str, Any]:
        """What shapes a vector: the weights and how much of a text is read."""
        return {
            "model": self.model,
            "revision": revision_of(self.model, self.revision),
            "pooling": "mean",
            "max_tokens": self.max_tokens,
        }

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            place = locate(self.model)
            try:
                with quiet_loading():
                    tokenizer = AutoTokenizer.from_pretrained(place, revision=self.revision)
                    model = AutoModel.from_pretrained(
                        place, revision=self.revision, dtype=torch.float32, use_safetensors=True
                    )
            except (OSError, ValueError, KeyError) as error:
                raise BackboneError(
                    f"The encoder {shown(self.model)} cannot be loaded.", got=why_not_loaded(place, error)
                ) from error
            device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
            self._loaded = tokenizer, model.eval().to(device)
        return self._loaded

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of `texts`, an array (n, width); each row has length one."""
        import torch

        tokenizer, model = self._load()
        rows = (
            tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"] if texts else []
        )
        order = sorted(range(len(texts)), key=lambda index: len(rows[index]))
        vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                batch = tokenizer.pad({"input_ids": [rows[i] for i in chosen]}, return_tensors="pt")
                batch = batch.to(model.device)
                states = model(**batch).last_hidden_state  # (b, n, d)
                mask = batch["attention_mask"][:, :, None].to(states.dtype)  # (b, n, 1)
                mean = (states * mask).sum(1) / mask.sum(1)
                vectors[chosen] = torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy()
        return vectors
