"""MMAVK: what a picture says, pooled to one vector and fused with every word.

Wang, H., Huang, R., Liu, Q., Wang, X.: Multi-Modal Named Entity Recognition with Auxiliary Visual Knowledge
and Word-Level Fusion. 2025. ``[wang2025mmavk]``

A multimodal language model that sees the picture alone writes auxiliary knowledge (eq. 1); that is a
provider's work, done once and kept. This file is the recogniser that reads it.

========== ====================== ======================================================================
paper      here                   shape
========== ====================== ======================================================================
h_i        `words`                (B, W, d) states of the post's words, eq. 5
Z'         `batch.knowledge`      (B, k) the knowledge between [CLS] and [SEP], eq. 6
h_[CLS]    `pooled`               (B, d) state of the knowledge's first token, eq. 7
h_aux      `auxiliary`            (B, d), eq. 8; (B, W, d) where each word reads for itself
Sim        `batch.relevance`      (B,) image-text similarity, eq. 2-4, made by a provider
weight     `weight`               (B,) what h_aux is multiplied with, section 3.1 and Q4
W          `fusion`               (d, 2d), eq. 9
h'_i       `fused`                (B, W, d), eq. 9-10
========== ====================== ======================================================================

Departures
  * After W come a nonlinearity (GELU) and dropout. Eq. 9 followed by linear emissions adds the same offset
    to the tags of every word of a post, so that a picture could never move two names differently; eq. 11
    leaves its potential function open. ``literal = true`` does without.
  * The CRF runs over words, each represented by its first sub-word, and not over sub-words.
  * The paper's prose gives knowledge below the threshold "a lower weight", its experiments the weight 0:
    it is 0, and such a post equals one without knowledge. ``filter = "soft"`` weighs what remains by its
    relevance. The threshold 0.35 belongs to CLIP ViT-B/32; a quantile of the training posts' relevance
    can be asked for instead.
  * A post whose relevance nobody computed keeps its knowledge (weight 1): the filter removes what is
    known to be unrelated.
  * Knowledge is the first of several kinds that a post has (`knowledge_kinds`): auxiliary knowledge as in
    the paper, else a caption, the alternative text, or the text in the picture.
  * ``pooling = "attention"``, which is ours, lets each word read the knowledge for itself instead of
    eq. 8's one vector.
  * "T+I" of table 4 is not described further: here the pooled vectors of the picture and its regions become
    a prefix of keys and values in every layer, as in the system it is taken from, without weights or gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from mner.encoding import Batch, Inputs, PictureInputs
from mner.errors import UsageError
from mner.models.base import MnerConfig, MnerModel, Output, Sources, TagDecoder, WordReader
from mner.models.registry import register
from mner.nn import backbones, vision
from mner.nn.attention import PREFIXED, encode_with_prefix, exchange_attention
from mner.nn.cross_attention import CrossAttention
from mner.nn.prefix import PrefixProjection
from mner.nn.texts import encode_texts
from mner.pretrained import DEFAULT

KNOWLEDGE = "auxiliary"
"""The name under which the knowledge stands in a batch, whatever kind it is."""


@strict
class MmavkConfig(MnerConfig):
    """Configuration of MMAVK.

    Args:
        text_config: Configuration of the text encoder.
        knowledge_kinds: Kinds of knowledge in the order in which they are tried; ``alt`` is the picture's
            alternative text.
        knowledge_length: Most sub-words of the knowledge.
        fusion: How knowledge meets the text (the fusion study, table 4): ``word-level`` is the paper's own,
            ``concatenation`` writes it behind the text ("Con."), ``text-only`` does without ("T-only"), and
            ``visual-prefix`` sees the picture instead of reading about it ("T+I").
        pooling: ``vector`` pools the knowledge to h_aux; ``attention`` lets each word read it for itself.
        attention_heads: Heads of that attention.
        literal: Eq. 9 alone, without a nonlinearity and dropout behind it.
        filter: ``none`` weighs all knowledge alike, ``hard`` gives 0 below the threshold and 1 above,
            ``soft`` 0 below the threshold and the relevance above.
        threshold: Knowledge of pictures less relevant than this is not read.
        threshold_quantile: Take this quantile of the training posts' relevance as threshold.
        vision_config: Configuration of the vision tower, for the visual prefix.
        regions: Regions of the picture besides the whole, for the visual prefix.
        picture_size: Side in pixels to which the picture and each region are resized; the tower's own where
            None.
        prompt_length: Positions of the prefix that the picture and each region become.
        prompt_width: Width of the hidden layer that makes them.
    """

    model_type = "mner-mmavk"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", optional=True
        ),
    }

    text_config: dict | PreTrainedConfig | None = None
    knowledge_kinds: list[str] | tuple[str, ...] = ("auxiliary", "caption", "alt", "ocr")
    knowledge_length: int = 128
    fusion: Literal["word-level", "concatenation", "text-only", "visual-prefix"] = "word-level"
    pooling: Literal["vector", "attention"] = "vector"
    attention_heads: int = 4
    literal: bool = False
    filter: Literal["none", "hard", "soft"] = "hard"
    threshold: float = 0.35
    threshold_quantile: float | None = None
    vision_config: dict | PreTrainedConfig | None = None
    regions: int = 3
    picture_size: int | None = None
    prompt_length: int = 4
    prompt_width: int = 800


@register("mmavk", summary="knowledge from the picture fused with every word", source="Wang et al. 2025")
class Mmavk(MnerModel):
    """MMAVK."""

    config_class = MmavkConfig
    reads_pictures = True
    exposes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "relevance": (),
        "relevance_weight": (),
        "knowledge_attention": ("words", KNOWLEDGE),
    }

    def __init__(self, config: MmavkConfig) -> None:
        super().__init__(config)
        if not isinstance(config.text_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no text_config.")
        width = backbones.width_of(config.text_config)
        self.text_encoder = backbones.build_encoder(config.text_config)
        self.reader = WordReader(config)
        if config.fusion == "word-level":
            self.attention = (
                CrossAttention(width, config.attention_heads) if config.pooling == "attention" else None
            )
            self.auxiliary = nn.Linear(width, width)
            self.fusion = nn.Linear(2 * width, width)
            self.dropout = nn.Dropout(config.dropout)
        if config.fusion == "visual-prefix":
            if not isinstance(config.vision_config, PreTrainedConfig):
                raise UsageError(
                    "A visual prefix is made from what a vision tower sees.",
                    expected="vision_backbone: a folder or hub name of a CLIP-like model, or 'scratch'",
                )
            exchange_attention(self.text_encoder, PREFIXED)
            self.vision_encoder = vision.build_tower(config.vision_config)
            self.prefix_projection = PrefixProjection(
                vision.width_of(config.vision_config),
                config.prompt_width,
                config.prompt_length,
                config.text_config,
            )
        self.decoder = TagDecoder(width, config.tags, config.scheme, crf=True)
        self.post_init()

    @classmethod
    def reads_pictures_with(cls, options: Mapping[str, Any]) -> bool:
        """See `MnerModel.reads_pictures_with`: with fusion ``text-only`` it is an encoder with a CRF."""
        return options.get("fusion") != "text-only"

    @property
    def inputs(self) -> Inputs:
        """Sub-words and shapes; knowledge, beside or behind the text, and the picture's relevance."""
        config = self.config
        if config.fusion == "text-only":
            return Inputs(subwords=True, shapes=config.word_shape)
        if config.fusion == "visual-prefix":
            size = config.picture_size or vision.image_size_of(config.vision_config)
            picture = PictureInputs("regions", config.regions, size, features=True)
            return Inputs(subwords=True, shapes=config.word_shape, picture=picture)
        return Inputs(
            subwords=True,
            shapes=config.word_shape,
            knowledge={KNOWLEDGE: config.knowledge_length},
            alternatives={KNOWLEDGE: tuple(config.knowledge_kinds)},
            appended=(KNOWLEDGE,) if config.fusion == "concatenation" else (),
            relevance=config.filter != "none",
        )

    @classmethod
    def from_sources(cls, options: dict[str, Any], sources: Sources) -> Self:
        """A new model with a pre-trained encoder, its threshold read from the training posts if asked to."""
        if sources.vision_backbone is not None and options.get("fusion") != "visual-prefix":
            raise UsageError(
                "MMAVK reads what is said about a picture, and sees it with a visual prefix alone.",
                expected="no vision_backbone, or fusion = 'visual-prefix'",
            )
        quantile = options.get("threshold_quantile")
        if quantile is not None:
            if not sources.relevance:
                raise UsageError(
                    "The threshold is to be a quantile of the training posts' relevance, which none has.",
                    expected="knowledge of the kind relevance for the training posts",
                    hint="Make or import it into the store, or set model.threshold instead.",
                )
            options = {**options, "threshold": float(np.quantile(sources.relevance, quantile))}
        return super().from_sources(options, sources)

    @classmethod
    def config_from(cls, sources: Sources) -> dict[str, Any]:
        """The configurations of the text encoder and, where there is one, of the vision tower."""
        if sources.vision_backbone is not None:
            return super().config_from(sources)
        return {"text_config": backbones.load_config(sources.backbone or DEFAULT)}

    def weigh(self, batch: Batch) -> Tensor:
        """What each post's knowledge weighs (B,): 0 where there is none or it is not relevant enough."""
        weight = batch.knowledge[KNOWLEDGE].present.float()
        if self.config.filter == "none":
            return weight
        assert batch.relevance is not None
        assert batch.relevance_known is not None
        passes = (batch.relevance >= self.config.threshold).float()
        if self.config.filter == "soft":
            passes = passes * batch.relevance.clamp(0.0, 1.0)
        return weight * torch.where(batch.relevance_known, passes, 1.0)

    def read(self, batch: Batch, weight: Tensor | None) -> Tensor:
        """The states of the words (B, W, d), eq. 5; of text and knowledge together where they are joined."""
        assert batch.attention_mask is not None
        attended = batch.attention_mask
        if batch.appended is not None and weight is not None:
            assert batch.post_of_row is not None
            # Knowledge that weighs nothing is not attended to.
            attended = attended & ~(batch.appended & (weight == 0)[batch.post_of_row, None])
        encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=attended)
        return self.reader(encoded.last_hidden_state, batch)

    def see(self, batch: Batch) -> Tensor:
        """The states of the words (B, W, d) with the picture as a prefix in every layer, "T+I" of table 4."""
        assert batch.visual is not None
        assert batch.post_of_row is not None
        block, config = batch.visual, self.config
        if block.features is not None:
            parts = block.features.to(self.prefix_projection.shared.weight.dtype)  # (B, c, d_v)
        else:
            assert block.pixels is not None
            parts = vision.pooled_parts(self.vision_encoder, block.pixels, block.mask)
        weights = parts.new_ones(len(parts), config.text_config.num_hidden_layers, parts.shape[1])
        prefix = self.prefix_projection(parts, weights, block.mask, batch.post_of_row)
        states = encode_with_prefix(self.text_encoder, batch.input_ids, batch.attention_mask, prefix)
        return self.reader(states, batch)

    def fuse(self, words: Tensor, batch: Batch, weight: Tensor, exposed: dict[str, Tensor] | None) -> Tensor:
        """The words with the knowledge fused into each of them (B, W, d)."""
        may_skip = exposed is None and not torch.is_grad_enabled() and not torch.compiler.is_exporting()
        if may_skip and not (weight > 0).any():
            # h_aux is 0 in eq. 9: its half of W need not be multiplied with it.
            own = self.fusion.weight[:, : words.shape[-1]]
            fused: Tensor = nn.functional.linear(words, own, self.fusion.bias)
            return fused if self.config.literal else self.dropout(nn.functional.gelu(fused))
        block = batch.knowledge[KNOWLEDGE]
        # Eq. 6-7; what weighs nothing need not be read.
        states = encode_texts(self.text_encoder, block.input_ids, block.attention_mask, weight > 0)
        if self.attention is None:
            pooled = states[:, :1]  # (B, 1, d)
        else:
            readable = block.attention_mask & (weight > 0)[:, None]
            pooled, attention = self.attention(words, states, readable, exposed is not None)  # (B, W, d)
            if exposed is not None and attention is not None:
                exposed["knowledge_attention"] = attention
        # Eq. 8
        auxiliary = torch.tanh(self.auxiliary(pooled)) * weight.to(pooled.dtype)[:, None, None]
        # Eq. 9-10
        fused = self.fusion(torch.cat((words, auxiliary.expand_as(words)), dim=-1))
        return fused if self.config.literal else self.dropout(nn.functional.gelu(fused))

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`.

        Exposes, where knowledge is read, ``relevance_weight`` (B,) what it weighs; with a filter
        ``relevance`` (B,), no number where it is not known; and with attention
        ``knowledge_attention`` (B, W, k).
        """
        if self.config.fusion == "text-only":
            return self.decoder(self.read(batch, None), batch)
        if self.config.fusion == "visual-prefix":
            return self.decoder(self.see(batch), batch)
        exposed: dict[str, Tensor] | None = {} if expose else None
        weight = self.weigh(batch)
        words = self.read(batch, weight)
        if self.config.fusion == "word-level":
            words = self.fuse(words, batch, weight, exposed)
        # Eq. 11-12
        output: Output = self.decoder(words, batch)
        if exposed is not None:
            if batch.relevance is not None and batch.relevance_known is not None:
                exposed["relevance"] = batch.relevance.masked_fill(~batch.relevance_known, torch.nan)
            output.exposed = {"relevance_weight": weight, **exposed}
        return output
