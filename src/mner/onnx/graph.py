"""What goes into a graph and comes out of it, and what else a file carries so that it predicts alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mner.encoding import Batch, EncodingSettings, Inputs, TokenBlock
from mner.errors import RunFolderError, UsageError
from mner.nn.crf import Chain

FORMAT = 1
METADATA = "mner"

EXPORTABLE = (
    "bert",
    "bert-crf",
    "bert-bilstm-crf",
    "bert-span",
    "bilstm-crf",
    "cnn-bilstm-crf",
    "hbilstm-crf",
    "mmavk",
)
"""The models whose inputs are text, and which have been tried."""


def input_names(inputs: Inputs) -> list[str]:
    """The names of a graph's inputs, as the batch calls them; knowledge is ``<kind>.input_ids`` and so on."""
    names = ["word_mask"]
    if inputs.subwords:
        names += ["input_ids", "attention_mask", "word_rows", "word_columns"]
    if inputs.shapes:
        names.append("word_shapes")
    if inputs.words:
        names.append("words")
    if inputs.characters:
        names.append("characters")
    if inputs.appended:
        names += ["post_of_row", "appended"]
    for kind in inputs.knowledge:
        names += [f"{kind}.input_ids", f"{kind}.attention_mask"]
    if inputs.relevance:
        names += ["relevance", "relevance_known"]
    return names


def input_values(batch: Batch, names: Sequence[str]) -> list[Tensor]:
    """The tensors of a batch that a graph reads, in the order of their names."""
    values = []
    for name in names:
        kind, dot, field = name.partition(".")
        value = getattr(batch.knowledge[kind], field) if dot else getattr(batch, name)
        if value is None:
            raise UsageError(f"The batch lacks {name}, which the graph reads.")
        values.append(value)
    return values


def as_batch(names: Sequence[str], values: Sequence[Tensor]) -> Batch:
    """The other way round: tensors by name as a batch."""
    given = dict(zip(names, values, strict=True))
    blocks: dict[str, dict[str, Tensor]] = {}
    fields: dict[str, Any] = {}
    for name, value in given.items():
        kind, dot, field = name.partition(".")
        if dot:
            blocks.setdefault(kind, {})[field] = value
        else:
            fields[name] = value
    return Batch(**fields, knowledge={kind: TokenBlock(**block) for kind, block in blocks.items()})


@dataclass(frozen=True)
class Card:
    """What an ONNX file carries besides its graph.

    Args:
        model: The registered name of the model.
        labels: Its types.
        scheme: Its tag scheme.
        inputs: What it reads.
        settings: How posts are encoded.
        knowledge: Which knowledge it was trained with.
        capacity: Most sub-words it takes at once, or None.
        tokenizer: The tokenizer as JSON, or None.
        special: Special tokens by name, for the tokenizer.
        vocabulary: Words and characters, for models that read those, or None.
        chain: Scores of transitions for models that tag, forbidden ones included; None for spans.
        identity: What tells the recogniser from every other.
        reads_pictures: Whether anything said about a picture reaches the model.
        temperature: Scores are divided by it before they become confidences.
    """

    model: str
    labels: tuple[str, ...]
    scheme: str
    inputs: Inputs
    settings: EncodingSettings
    knowledge: dict[str, Any]
    capacity: int | None
    tokenizer: str | None
    special: dict[str, str]
    vocabulary: dict[str, list[str]] | None
    chain: dict[str, Any] | None
    identity: str
    reads_pictures: bool
    temperature: float

    def to_json(self) -> str:
        """The card as text."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        record["inputs"] = dataclasses.asdict(self.inputs)
        record["settings"] = dataclasses.asdict(self.settings)
        return json.dumps({"format": FORMAT, **record}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, name: str) -> Card:
        """The card of a file.

        Raises:
            RunFolderError: It has none, or one of another version.
        """
        try:
            record = json.loads(text or "")
            if record.pop("format") != FORMAT:
                raise ValueError("another format")
            record["inputs"] = Inputs(**record["inputs"])
            record["settings"] = EncodingSettings(**record["settings"])
            record["labels"] = tuple(record["labels"])
            return cls(**record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunFolderError(
                f"{name} is not a recogniser.",
                expected="an ONNX file that `mner export --onnx` wrote",
                got=str(error),
            ) from error

    def as_chain(self) -> Chain | None:
        """The scores of transitions as tensors."""
        if self.chain is None:
            return None
        return Chain(*(torch.tensor(self.chain[part]) for part in ("first", "pairs", "last")))
