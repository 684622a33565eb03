"""What every model is: a transformers model that turns a `Batch` into an `Output`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from mner.encoding import Batch, Inputs, Vocabulary
from mner.errors import UsageError
from mner.nn import backbones, vision
from mner.nn.crf import Chain, ChainCRF
from mner.nn.processes import mean_over_processes
from mner.nn.spans import SpanClassifier, span_loss, span_mask, span_targets
from mner.nn.word_shape import WordShapeEmbedding
from mner.nn.words import gather_words
from mner.pretrained import DEFAULT
from mner.tags import allowed_transitions, scheme_named, tag_names


class MnerConfig(PreTrainedConfig):
    """What all models have in common; a model adds its own fields and its backbones' configurations.

    Args:
        labels: The types, in the model's order.
        scheme: Tag scheme of models that tag.
        word_shape: Whether word shapes are added to the word states.
        dropout: Dropout on the word states.
    """

    model_type = "mner"

    labels: list[str] | tuple[str, ...] | None = None
    scheme: str = "BIO"
    word_shape: bool = True
    dropout: float = 0.1

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the model's scheme, ``O`` first."""
        return tag_names(tuple(self.labels or ()), scheme_named(self.scheme))


@dataclass
class Output:
    """What a model says about a batch.

    Exactly one of `emissions` (with `chain`) and `span_scores` is given.

    Args:
        word_mask: (B, W) true at words.
        loss: The loss to minimise, where the batch had gold.
        emissions: (B, W, K) a score a tag.
        chain: Scores of first, neighbouring and last tags, impossible ones forbidden.
        span_scores: (B, W, longest span, types + 1) a score a type for each span, class 0 for no entity.
        losses: The parts of the loss, by name.
        exposed: What the model can show of its working, by name; filled where it was asked to.
    """

    word_mask: Tensor
    loss: Tensor | None = None
    emissions: Tensor | None = None
    chain: Chain | None = None
    span_scores: Tensor | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    exposed: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Sources:
    """What a model is made from besides its configuration.

    Args:
        backbone: Name of the text encoder.
        vision_backbone: Name of the vision tower.
        vocabulary: Words and characters of the training posts.
        vectors: Word vectors by folded word, for models that start from them.
        relevance: How relevant the training posts' pictures are, as far as that is known.
    """

    backbone: str | None = None
    vision_backbone: str | None = None
    vocabulary: Vocabulary | None = None
    vectors: tuple[list[str], np.ndarray] | None = None
    relevance: Sequence[float] = ()


class MnerModel(PreTrainedModel):
    """Base of all models.

    A model is built from its configuration alone; `from_sources` builds one and fills its backbones with
    pre-trained weights. Special initial values live in `_init_weights`, as transformers demands.
    """

    config_class = MnerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # The chain is computed in float32, whatever the rest of the model is.
    _keep_in_fp32_modules_strict = {"crf"}  # noqa: RUF012

    registered_name: ClassVar[str] = ""
    reads_pictures: ClassVar[bool] = False
    # Kinds of knowledge that can reach a model of this kind; None for whatever its recipe names.
    reads_knowledge: ClassVar[tuple[str, ...] | None] = None
    # What a forward pass exposes, by name, with what the axes behind that of posts stand for: ``words``, a
    # kind of knowledge for its sub-words, or whatever the model says.
    exposes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Parameters of these modules form the groups that have learning rates of their own; all others are new.
    groups: ClassVar[dict[str, str]] = {"text_encoder": "text", "vision_encoder": "vision", "crf": "crf"}

    config: Any

    @property
    def inputs(self) -> Inputs:
        """What the model wants to see in a batch."""
        raise UsageError(f"{type(self).__name__} does not say what it reads.")

    @classmethod
    def reads_pictures_with(cls, options: Mapping[str, Any]) -> bool:
        """Whether a model of these options looks at a picture or at what is said about one.

        Args:
            options: Fields of the configuration; the others have their defaults.
        """
        del options
        return cls.reads_pictures

    @classmethod
    def from_sources(cls, options: dict[str, Any], sources: Sources) -> Self:
        """A new model with pre-trained backbones.

        Args:
            options: Fields of the configuration, labels included.
            sources: Where backbones, vocabulary and vectors come from.
        """
        model = cls(cls.config_class(**options, **cls.config_from(sources)))
        model.fill_from(sources)
        return model

    @classmethod
    def config_from(cls, sources: Sources) -> dict[str, Any]:
        """The fields of the configuration that follow from the sources."""
        fields: dict[str, Any] = {}
        names = {entry.name for entry in dataclasses.fields(cls.config_class)}
        if "text_config" in names:
            fields["text_config"] = backbones.load_config(sources.backbone or DEFAULT)
        if "vision_config" in names:
            if sources.vision_backbone is None:
                raise UsageError(
                    f"{cls.registered_name} sees pictures and needs a vision tower.",
                    expected="vision_backbone: a folder or hub name of a CLIP-like model, or 'scratch'",
                )
            fields["vision_config"] = vision.load_tower_config(sources.vision_backbone)
        return fields

    def fill_from(self, sources: Sources) -> None:
        """Put the pre-trained weights in."""
        encoder = getattr(self, "text_encoder", None)
        if isinstance(encoder, PreTrainedModel):
            backbones.load_weights(encoder, sources.backbone or DEFAULT)
        tower = getattr(self, "vision_encoder", None)
        if isinstance(tower, PreTrainedModel) and sources.vision_backbone is not None:
            vision.load_tower_weights(tower, sources.vision_backbone)

    @classmethod
    def is_custom_code(cls) -> bool:
        """Whether transformers has to guard against initial values written over loaded weights: no.

        For classes outside its own package it skips every module that has no parameters of its own, and
        with it the special initial values of parts that are made of layers. `_init_weights` here goes
        through `transformers.initialization`, which leaves loaded weights alone.
        """
        return False

    def group_of(self, parameter: str) -> str:
        """The group of parameters, with a learning rate of its own, to which a parameter belongs."""
        for part in parameter.split("."):
            if part in self.groups:
                return self.groups[part]
        return "new"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, WordShapeEmbedding):
            # Shapes start as nothing, so that a pre-trained encoder starts where it was.
            for table in module.parameters():
                init.zeros_(table)
        if isinstance(module, ChainCRF):
            for scores in (module.first, module.pairs, module.last):
                init.uniform_(scores, -0.1, 0.1)
        if isinstance(module, TagDecoder) and not module.is_crf:
            for scores in module.crf.parameters():
                init.zeros_(scores)

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch.

        Args:
            batch: The posts; with gold where a loss is wanted.
            expose: Keep what the model can show of its working in `Output.exposed`.
        """
        del batch, expose
        raise UsageError(f"{type(self).__name__} has no forward pass.")

    @torch.no_grad()
    def adopt(self, other: MnerModel) -> int:
        """Start from another model's weights.

        Tensors of the same name and shape are taken over; of a decoder, the rows of tags and types that
        both models have.

        Args:
            other: The model to start from.

        Returns:
            How many tensors were taken over, in whole or in part.
        """
        own, given = self.state_dict(), other.state_dict()
        kept = 0
        decoders = {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, TagDecoder | SpanDecoder)
        }
        for name, tensor in own.items():
            if name not in given:
                continue
            decoder = next((d for prefix, d in decoders.items() if name.startswith(f"{prefix}.")), None)
            if isinstance(decoder, TagDecoder) and not decoder.is_crf and ".crf." in name:
                # Without a CRF nothing trains the transitions: they stay nothing, whatever the other's are.
                continue
            source = given[name]
            rows: Sequence[str] | None = None
            source_rows: Sequence[str] = ()
            if isinstance(decoder, TagDecoder):
                rows, source_rows = self.config.tags, other.config.tags
            elif isinstance(decoder, SpanDecoder) and decoder.is_output(name):
                rows, source_rows = ("", *self.config.labels), ("", *other.config.labels)
            if rows is not None:
                if tensor.is_floating_point():
                    kept += _copy_rows(tensor, source, rows, source_rows)
            elif source.shape == tensor.shape:
                tensor.copy_(source)
                kept += 1
        return kept

    def each_parameter(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that are trained."""
        return ((name, value) for name, value in self.named_parameters() if value.requires_grad)


def _copy_rows(
    target: Tensor, source: Tensor, target_rows: Sequence[str], source_rows: Sequence[str]
) -> bool:
    # The first axis is one of tags or types; of transitions, the second one too.
    shared = [row for row in target_rows if row in source_rows]
    to = torch.tensor([target_rows.index(row) for row in shared])
    out_of = torch.tensor([source_rows.index(row) for row in shared])
    square = target.shape == (len(target_rows), len(target_rows))
    if target.shape[2 if square else 1 :] != source.shape[2 if square else 1 :]:
        return False
    if square:
        target[to[:, None], to] = source[out_of[:, None], out_of]
    else:
        target[to] = source[out_of]
    return True


class WordReader(nn.Module):
    """A pre-trained encoder's states of words, with their shapes.

    Args:
        config: The model's configuration, with a `text_config`.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width = backbones.width_of(config.text_config)
        self.shape_embedding = WordShapeEmbedding(width) if config.word_shape else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, batch: Batch) -> Tensor:
        """States of sub-words (R, n, d) to states of words (B, W, d), zero at padding."""
        assert batch.word_rows is not None
        assert batch.word_columns is not None
        words = gather_words(states, batch.word_rows, batch.word_columns, batch.word_mask)
        return self.dropout(self.with_shapes(words, batch))

    def with_shapes(self, words: Tensor, batch: Batch) -> Tensor:
        """Word states (B, W, d) with the vectors of the words' shapes added."""
        if self.shape_embedding is None:
            return words
        assert batch.word_shapes is not None
        shapes = self.shape_embedding(batch.word_shapes) * batch.word_mask.unsqueeze(-1)
        return words + shapes.to(words.dtype)


class TagDecoder(nn.Module):
    """Word states to tags: emissions and a chain, which scores transitions where it is a CRF.

    Args:
        width: Width of the word states.
        tags: The tags, ``O`` first.
        scheme: Their scheme, which forbids transitions.
        crf: Whether transitions have scores; without, every word is classified for itself in training
            and only impossible sequences are forbidden in prediction.
    """

    def __init__(self, width: int, tags: tuple[str, ...], scheme: str, crf: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, len(tags))
        self.is_crf = crf
        self.crf = ChainCRF(len(tags), allowed_transitions(tags, scheme_named(scheme)))
        if not crf:
            for scores in self.crf.parameters():
                scores.requires_grad_(False)

    def forward(self, states: Tensor, batch: Batch) -> Output:
        """Word states (B, W, d) to an output, with a loss where the batch has tags."""
        emissions = self.linear(states)
        output = Output(word_mask=batch.word_mask, emissions=emissions, chain=self.crf.chain())
        if batch.tags is not None:
            if self.is_crf:
                likelihood: Tensor = self.crf(emissions, batch.tags, batch.word_mask)
                # The mean over the posts of all processes, as are those below over words and spans.
                posts = likelihood.new_tensor(len(likelihood))
                output.loss = mean_over_processes(-likelihood.sum(), posts)
            else:
                chosen = emissions[batch.word_mask].float()
                total = nn.functional.cross_entropy(chosen, batch.tags[batch.word_mask], reduction="sum")
                output.loss = mean_over_processes(total, total.new_tensor(len(chosen)))
        return output


class SpanDecoder(nn.Module):
    """Word states to typed spans: every span up to a length is classified.

    Args:
        width: Width of the word states.
        labels: Number of types.
        longest: Most words of a span.
        hidden: Width of the classifier's hidden layer; that of the word states where None.
        dropout: Dropout on the hidden layer.
    """

    def __init__(self, width: int, labels: int, longest: int, hidden: int | None, dropout: float) -> None:
        super().__init__()
        self.longest = longest
        self.classifier = SpanClassifier(width, labels, longest, hidden, dropout)

    @staticmethod
    def is_output(tensor: str) -> bool:
        """Whether the tensor of that name has a row a class."""
        return ".classifier.output." in tensor

    def forward(self, states: Tensor, batch: Batch) -> Output:
        """Word states (B, W, d) to an output, with a loss where the batch has spans."""
        scores = self.classifier(states, batch.word_mask)
        output = Output(word_mask=batch.word_mask, span_scores=scores)
        if batch.spans is not None:
            targets, _ = span_targets(batch.spans, batch.posts, batch.longest, self.longest)
            output.loss = span_loss(scores, targets, span_mask(batch.word_mask, self.longest))
        return output
