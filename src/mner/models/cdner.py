"""CDNER: captions fused in both directions (DDC) and a chain of reasoning behind the text (CRC).

Cross-Domain Named Entity Recognition with Image-aware Contexts: Leveraging Image Captions and
Chain-of-Thought. Anonymous ACL submission, 2025. ``[cdner2025]``

The caption (eq. 1) and the reasoning steps (eq. 2-3) are texts that providers make once and a store keeps.
This file is the recogniser that reads them.

========== ================== ==========================================================================
paper      here               shape
========== ================== ==========================================================================
T          the post's words   W words in windows
R^(k)      the chain          its steps, one text, at most `chain_length` sub-words
Z          `input_ids`        (R, n) each window's words with the chain behind them, section 3.2.2
C          the caption        (B, k) sub-words, encoded by themselves
t_i        `words`            (B, W, d) states of the words in Z
c_i        `read`             (B, W, d) what word i reads in the caption
a_i        `text_gate`        (B, W, d) weight of the text, from the caption
b_i        `caption_gate`     (B, W, d) weight of the caption, from the text
h_i        `fused`            (B, W, d)
========== ================== ==========================================================================

Section 3.1.3 gives the fusion in words ("the text feature generates a selective weighting coefficient based
on the image caption feature, while the image caption feature generates its [...] based on the text feature
[...] a bidirectional weighted sum"). Made concrete:

    c_i = attention of t_i over the caption's tokens
    a_i = sigmoid(W_a c_i),  b_i = sigmoid(W_b t_i)
    h_i = a_i * t_i + b_i * c_i,  and h_i = t_i without a caption.

Departures
  * The CRF runs over the post's own words. Eq. 4 lets it run to M, the length of Z, but there are labels
    for T alone; each word is represented by its first sub-word.
  * The gate of the text starts open (bias 2), so that a pre-trained encoder's states start nearly as they
    were and posts with and without a caption look alike to the decoder.
  * Text and chain are one segment, with the encoder's separator between them. A long post is read in
    several windows, and each gets the chain, which has room of its own.
  * The picture's alternative text stands in for a caption where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers import initialization as init
from transformers.configuration_utils import SubConfigSpec

from mner.encoding import Batch, Inputs
from mner.errors import UsageError
from mner.models.base import MnerConfig, MnerModel, Output, TagDecoder, WordReader
from mner.models.registry import register
from mner.nn import backbones
from mner.nn.cross_attention import CrossAttention
from mner.nn.texts import encode_texts

CAPTION, CHAIN = "caption", "reasoning"
"""The names under which caption and chain stand in a batch."""

OPEN = 2.0
"""Where the text's gate starts: sigmoid(2) = 0.88."""


@strict
class CdnerConfig(MnerConfig):
    """Configuration of CDNER.

    Args:
        text_config: Configuration of the text encoder.
        caption_fusion: Fuse the caption (DDC).
        reasoning_chain: Write the chain behind the text (CRC).
        caption_kinds: Kinds of knowledge that serve as caption, in the order in which they are tried;
            ``alt`` is the picture's alternative text.
        chain_kinds: Kinds of knowledge that serve as chain, in the order in which they are tried.
        caption_length: Most sub-words of a caption.
        chain_length: Most sub-words of a chain, which every window sets aside.
        attention_heads: Heads of the attention over the caption.
    """

    model_type = "mner-cdner"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True)
    }

    text_config: dict | PreTrainedConfig | None = None
    caption_fusion: bool = True
    reasoning_chain: bool = True
    caption_kinds: list[str] | tuple[str, ...] = ("caption", "alt")
    chain_kinds: list[str] | tuple[str, ...] = ("reasoning",)
    caption_length: int = 64
    chain_length: int = 192
    attention_heads: int = 4


class CaptionFusion(nn.Module):
    """Text and caption weigh each other, section 3.1.3.

    Args:
        width: Width of the states.
        heads: Heads of the attention over the caption.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = CrossAttention(width, heads)
        self.text_gate = nn.Linear(width, width)
        self.caption_gate = nn.Linear(width, width)

    def forward(
        self, words: Tensor, caption: Tensor, mask: Tensor, exposed: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Word states t (B, W, d) and a caption's states (B, k, d) with their mask to h (B, W, d)."""
        read, attention = self.attention(words, caption, mask, exposed is not None)  # c_i
        text_gate = torch.sigmoid(self.text_gate(read))  # a_i = sigmoid(W_a c_i)
        caption_gate = torch.sigmoid(self.caption_gate(words))  # b_i = sigmoid(W_b t_i)
        fused = text_gate * words + caption_gate * read  # h_i
        present = mask.any(1)[:, None, None]
        if exposed is not None and attention is not None:
            exposed["caption_attention"] = attention
            exposed["text_gate"] = torch.where(present, text_gate, 1.0)
            exposed["caption_gate"] = torch.where(present, caption_gate, 0.0)
        return torch.where(present, fused, words)


@register("cdner", summary="captions fused both ways, a reasoning chain appended", source="Anonymous 2025")
class Cdner(MnerModel):
    """CDNER with DDC and CRC."""

    config_class = CdnerConfig
    reads_pictures = True
    exposes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "chain": (CHAIN,),
        "text_gate": ("words", "features"),
        "caption_gate": ("words", "features"),
        "caption_attention": ("words", CAPTION),
    }

    def __init__(self, config: CdnerConfig) -> None:
        super().__init__(config)
        if not isinstance(config.text_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no text_config.")
        width = backbones.width_of(config.text_config)
        self.text_encoder = backbones.build_encoder(config.text_config)
        self.reader = WordReader(config)
        self.caption_fusion = CaptionFusion(width, config.attention_heads) if config.caption_fusion else None
        self.decoder = TagDecoder(width, config.tags, config.scheme, crf=True)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CaptionFusion):
            init.constant_(module.text_gate.bias, OPEN)

    @classmethod
    def reads_pictures_with(cls, options: Mapping[str, Any]) -> bool:
        """See `MnerModel.reads_pictures_with`: without captions and chain it is an encoder with a CRF."""
        return bool(options.get("caption_fusion", True) or options.get("reasoning_chain", True))

    @property
    def inputs(self) -> Inputs:
        """Sub-words and shapes; the caption beside the text, and the chain behind it."""
        config = self.config
        budgets = {
            **({CAPTION: config.caption_length} if config.caption_fusion else {}),
            **({CHAIN: config.chain_length} if config.reasoning_chain else {}),
        }
        return Inputs(
            subwords=True,
            shapes=config.word_shape,
            knowledge=budgets,
            alternatives={CAPTION: tuple(config.caption_kinds), CHAIN: tuple(config.chain_kinds)},
            appended=(CHAIN,) if config.reasoning_chain else (),
        )

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`.

        Exposes ``chain`` (B, c) the chain's sub-words as far as they were read, -1 at padding, and where
        captions are fused ``text_gate`` and ``caption_gate`` (B, W, d) and ``caption_attention`` (B, W, k).
        """
        exposed: dict[str, Tensor] | None = {} if expose else None
        # Z = [T ; R_1 .. R_K] through the encoder, section 3.2.2: t_i are the rows of the text's words.
        encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        words = self.reader(encoded.last_hidden_state, batch)
        if self.caption_fusion is not None:
            block = batch.knowledge[CAPTION]
            caption = encode_texts(self.text_encoder, block.input_ids, block.attention_mask)
            words = self.caption_fusion(words, caption, block.attention_mask, exposed)
        # Eq. 4-5
        output: Output = self.decoder(words, batch)
        if exposed is not None:
            if CHAIN in batch.knowledge:
                chain = batch.knowledge[CHAIN]
                exposed["chain"] = chain.input_ids.masked_fill(~chain.attention_mask, -1)
            output.exposed = exposed
        return output
