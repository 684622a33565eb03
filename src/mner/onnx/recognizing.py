"""Predicting with an ONNX file: the route of all models, its middle computed by onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from mner.encoding import Batch, PostEncoder, Vocabulary
from mner.errors import MissingExtraError, RunFolderError, UsageError
from mner.knowledge.supplying import KnowledgeSettings
from mner.models import Output
from mner.onnx.graph import METADATA, Card, input_names, input_values
from mner.recognizer import Recognizer


class OnnxModel(nn.Module):
    """A graph in the place of a model.

    Args:
        session: The session of onnxruntime.
        card: What the file says about itself.
    """

    def __init__(self, session: Any, card: Card) -> None:
        super().__init__()
        self.session = session
        self.card = card
        self.names = input_names(card.inputs)
        self.registered_name = card.model
        self.reads_pictures = card.reads_pictures
        self.inputs = card.inputs
        self.device = torch.device("cpu")
        self.chain = card.as_chain()
        self.config = SimpleNamespace(
            labels=card.labels, scheme=card.scheme, to_json_string=lambda: json.dumps(card.identity)
        )
        self.wanted = {given.name for given in session.get_inputs()}

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; a graph shows nothing of its working."""
        del expose
        values = input_values(batch, self.names)
        # What the exporter found to change nothing is no input of the graph.
        feeds = {
            name: np.ascontiguousarray(value.numpy())
            for name, value in zip(self.names, values, strict=True)
            if name in self.wanted
        }
        scores = torch.from_numpy(self.session.run(["scores"], feeds)[0])
        if self.chain is None:
            return Output(word_mask=batch.word_mask, span_scores=scores)
        return Output(word_mask=batch.word_mask, emissions=scores, chain=self.chain)


class OnnxRecognizer(Recognizer):
    """Recognises entities with an ONNX file that `mner export --onnx` wrote; used like a `Recognizer`."""

    def to(self, device: Any = None, dtype: str | None = None) -> OnnxRecognizer:
        """A graph stays where and as it is.

        Raises:
            UsageError: It is asked to move or change.
        """
        if device not in (None, "auto", "cpu") or dtype not in (None, "float32"):
            raise UsageError("An ONNX recogniser cannot be moved.", hint="Export it again as it is wanted.")
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """A graph is one file, and is copied.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"An ONNX recogniser is not written to {folder}.", hint="Copy its file.")

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: str | Path, *, device: str = "auto", dtype: str = "float32", threads: int | None = None
    ) -> OnnxRecognizer:
        """Load an ONNX file.

        Args:
            folder: The file.
            device: ``auto`` or ``cpu``.
            dtype: ``float32``; the file says what it computes with.
            threads: Threads that compute one batch; those of torch where None.

        Raises:
            RunFolderError: The file cannot be read, or is not a recogniser.
            MissingExtraError: onnxruntime is not installed.
        """
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("Predicting with ONNX", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        # Threads that spin while they wait slow down everything else on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(folder), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class but this one
            raise RunFolderError(
                f"{folder} cannot be loaded.", expected="an ONNX file", got=str(error)[:200]
            ) from error
        card = Card.from_json(session.get_modelmeta().custom_metadata_map.get(METADATA), str(folder))
        tokenizer = None
        if card.tokenizer is not None:
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_object=Tokenizer.from_str(card.tokenizer), **card.special
            )
        encoder = PostEncoder(
            card.labels,
            card.scheme,
            card.inputs,
            card.settings,
            tokenizer,
            None if card.vocabulary is None else _vocabulary(card.vocabulary),
            card.capacity,
        )
        knowledge = KnowledgeSettings(**{name: tuple(values) for name, values in card.knowledge.items()})
        model: Any = OnnxModel(session, card).eval()
        recognizer = cls(model, encoder, knowledge)
        recognizer.temperature = card.temperature
        return recognizer.to(device, dtype)


def _vocabulary(record: dict[str, list[str]]) -> Vocabulary:
    return Vocabulary(words=tuple(record["words"]), characters=tuple(record["characters"]))
