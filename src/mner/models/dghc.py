"""DGHC: visual prefixes in every layer of the text encoder, under a correlation coefficient and gates.

Liu, C., Yang, D., Yu, B., Bu, L.: DGHC: A Hybrid Algorithm for Multi-Modal Named Entity Recognition Using
Dynamic Gating and Correlation Coefficients With Visual Enhancements. IEEE Access 12, 2024,
doi:10.1109/ACCESS.2024.3400250. ``[liu2024dghc]``

========== ====================== ======================================================================
paper      here                   shape
========== ====================== ======================================================================
i, o_1..m  `batch.visual`         (B, c) the whole picture and m = 3 regions of it, c = m + 1 blocks
V          `blocks`               (B, c, d_v) pooled vectors of the vision tower, eq. 1
h_[CLS]    `text`                 (B, d) the whole text
M          `relation`             (B, 1), eq. 2
C          `coefficient`          (B, d_v), eq. 3
v_i^C      `weight`               (B, d_v), eq. 4
V^C        `correlated`           (B, c, d_v), eq. 5
gates^(l)  `gates`                (B, L, c), eq. 6-8
V_g^(l)    gates times `correlated`, inside `prefix_projection`
phi_k,     `Prefix.keys`,         (R, h, hw * c, d_h) for each layer, eq. 13
phi_V      `Prefix.values`
hw         `prompt_length`        4
========== ====================== ======================================================================

Departures
  * Eq. 2-5 in shapes that fit: M is a scalar a post, C and v_i^C are vectors of the tower's width, C * v_i
    is the element-wise product.
  * The correlation starts as a no-op (v_i^C = 1): with usual initial values tanh saturates in eq. 2 and
    eq. 4 makes the prefix many times too weak.
  * Eq. 13's linear map is an MLP of one hidden layer of prompt_dim (800), as the settings of section IV.C
    and HVPNeT, on which the system is built, have it; the hidden layer is shared by the encoder's layers.
  * ``text = "embeddings"`` takes the mean of the embedding layer's outputs, which saves the text-only pass.
    The embedding of [CLS] itself is the same for every text.
  * A long post is read in windows; its h_[CLS] is the mean of theirs, its correlation one.
  * Blocks that are not there are masked: in eq. 7's mean, in eq. 8's softmax and as positions. A post
    without a picture is read as by the text encoder alone.
  * sqrt(d) in eq. 14 is that of a head's width, as in the encoder itself; eq. 16 lacks its minus sign.
  * The CRF runs over words, each represented by its first sub-word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers import initialization as init
from transformers.configuration_utils import SubConfigSpec

from mner.encoding import Batch, Inputs, PictureInputs
from mner.errors import UsageError
from mner.models.base import MnerConfig, MnerModel, Output, TagDecoder, WordReader
from mner.models.registry import register
from mner.nn import backbones, vision
from mner.nn.anatomy import anatomy_of
from mner.nn.attention import PREFIXED, Prefix, encode_with_prefix, exchange_attention
from mner.nn.prefix import PrefixProjection


@strict
class DghcConfig(MnerConfig):
    """Configuration of DGHC.

    Args:
        text_config: Configuration of the text encoder.
        vision_config: Configuration of the vision tower.
        regions: Regions of the picture besides the whole (m); 0 is the paper's "w/o Augmentation".
        picture_size: Side in pixels to which the picture and each region are resized; the tower's own
            where None.
        correlation: Whether blocks are weighted by the correlation of text and picture; without, V^C = V
            ("w/o RE Score").
        gating: Whether each layer gates the blocks; without, they weigh alike ("w/o Gating").
        text: Where the whole text's vector comes from: a pass of the encoder without a prefix, or the mean
            of its embeddings.
        prompt_length: Positions that a block becomes (hw); with 0 the model is its text encoder.
        prompt_width: Width of the hidden layer that makes them (prompt_dim).
    """

    model_type = "mner-dghc"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", optional=True
        ),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    scheme: str = "BIOES"
    regions: int = 3
    picture_size: int | None = None
    correlation: bool = True
    gating: bool = True
    text: Literal["pass", "embeddings"] = "pass"
    prompt_length: int = 4
    prompt_width: int = 800


class Correlation(nn.Module):
    """How much of each feature of a picture a text asks for (section III.D).

    Args:
        text_width: Width d of the text's vector.
        width: Width d_v of the picture's.
    """

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.text_image = nn.Linear(width, text_width, bias=False)  # W_TI
        self.text = nn.Linear(text_width, width, bias=False)  # W_T
        self.image = nn.Linear(width, width, bias=False)  # W_I
        self.linear = nn.Linear(width, width)  # theta^C

    def forward(self, text: Tensor, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weight of a picture's features.

        Args:
            text: (B, d) h_[CLS].
            picture: (B, d_v) v_i.

        Returns:
            M (B, 1), C (B, d_v) and v_i^C (B, d_v).
        """
        # Eq. 2
        relation = torch.tanh((text * self.text_image(picture)).sum(-1, keepdim=True))
        # Eq. 3
        coefficient = torch.tanh(self.text(text) + self.image(picture) * relation)
        # Eq. 4
        return relation, coefficient, self.linear(coefficient * picture)


class DynamicGates(nn.Module):
    """How much each layer makes of each block (section III.E).

    Args:
        width: Width d_v of a block.
        blocks: Their number c.
        layers: Number L of layers.
    """

    def __init__(self, width: int, blocks: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.linear = nn.Linear(width, layers * blocks)  # W_1 .. W_L

    def forward(self, blocks: Tensor, mask: Tensor) -> Tensor:
        """Blocks (B, c, d_v), of which those of `mask` (B, c) are there, to gates (B, L, c)."""
        # Eq. 7
        present = mask.to(blocks.dtype).unsqueeze(-1)
        mean = (blocks * present).sum(1) / present.sum(1).clamp(min=1)
        signal = nn.functional.leaky_relu(self.linear(mean)).unflatten(-1, (self.layers, -1))
        # Eq. 6 and 8
        return masked_softmax(signal, mask)


def masked_softmax(signal: Tensor, mask: Tensor) -> Tensor:
    """A softmax of (B, L, c) over the blocks of `mask` (B, c); zero where a post has none."""
    hidden = ~mask.unsqueeze(1)
    least = torch.finfo(signal.dtype).min
    return signal.masked_fill(hidden, least).softmax(-1).masked_fill(hidden, 0.0)


@register("dghc", summary="visual prefixes, correlation and gates in every layer", source="Liu et al. 2024")
class Dghc(MnerModel):
    """DGHC."""

    config_class = DghcConfig
    reads_pictures = True
    reads_knowledge = ("regions",)
    exposes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "relation": (),
        "coefficient": ("features",),
        "picture_weight": ("features",),
        "gates": ("layers", "blocks"),
        "blocks": ("blocks",),
    }

    def __init__(self, config: DghcConfig) -> None:
        super().__init__(config)
        if not isinstance(config.text_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no text_config.")
        if not isinstance(config.vision_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no vision_config.")
        width, picture_width = backbones.width_of(config.text_config), vision.width_of(config.vision_config)
        layers: int = config.text_config.num_hidden_layers
        self.text_encoder = backbones.build_encoder(config.text_config)
        exchange_attention(self.text_encoder, PREFIXED)
        if config.prompt_length > 0:
            self.vision_encoder = vision.build_tower(config.vision_config)
            self.correlation = Correlation(width, picture_width) if config.correlation else None
            self.gates = DynamicGates(picture_width, config.regions + 1, layers) if config.gating else None
            self.prefix_projection = PrefixProjection(
                picture_width, config.prompt_width, config.prompt_length, config.text_config
            )
        self.reader = WordReader(config)
        self.decoder = TagDecoder(width, config.tags, config.scheme, crf=True)
        self.post_init()

    @property
    def inputs(self) -> Inputs:
        """Sub-words and shapes; the picture and regions of it, pixels or kept vectors."""
        config = self.config
        picture = None
        if config.prompt_length > 0:
            size = config.picture_size or vision.image_size_of(config.vision_config)
            picture = PictureInputs("regions", config.regions, size, features=True)
        return Inputs(subwords=True, shapes=config.word_shape, picture=picture)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Correlation):
            # M starts near 0 and v_i^C near 1, not at them, so that every weight gets a gradient.
            width, text_width = module.image.in_features, module.text.in_features
            init.normal_(module.text_image.weight, std=0.1 / math.sqrt(width * text_width))
            init.normal_(module.linear.weight, std=0.01 / math.sqrt(width))
            init.ones_(module.linear.bias)

    def looked_up(self, batch: Batch) -> Tensor | None:
        """The sub-words' vectors, where correlation and layers both start from them; looked up once."""
        if self.correlation is None or self.config.text == "pass":
            return None
        words: Tensor = self.text_encoder.get_input_embeddings()(batch.input_ids)
        return words

    def whole_text(self, batch: Batch, words: Tensor | None) -> Tensor:
        """The vector h_[CLS] of each post's text (B, d): from a pass without a prefix, or embeddings."""
        assert batch.attention_mask is not None
        assert batch.post_of_row is not None
        if words is None:
            # Eq. 9
            encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
            rows = encoded.last_hidden_state[:, 0]
        else:
            embedded = anatomy_of(self.text_encoder).embed_words(words)
            present = batch.attention_mask.unsqueeze(-1).to(embedded.dtype)
            rows = (embedded * present).sum(1) / present.sum(1)
        if len(rows) == batch.posts:
            return rows
        total = rows.new_zeros(batch.posts, rows.shape[-1]).index_add(0, batch.post_of_row, rows)
        return total / torch.bincount(batch.post_of_row, minlength=batch.posts).unsqueeze(-1)

    def blocks_of(self, batch: Batch) -> Tensor:
        """The vectors V of the picture and its regions (B, c, d_v), zero where there is none."""
        assert batch.visual is not None
        # Eq. 1
        if batch.visual.features is not None:
            return batch.visual.features.to(self.prefix_projection.shared.weight.dtype)
        assert batch.visual.pixels is not None
        return vision.pooled_parts(self.vision_encoder, batch.visual.pixels, batch.visual.mask)

    def prefix_of(self, batch: Batch, words: Tensor | None) -> tuple[Prefix, dict[str, Tensor]]:
        """The prefix of a batch, and what there is to show about it."""
        assert batch.visual is not None
        assert batch.post_of_row is not None
        blocks, mask = self.blocks_of(batch), batch.visual.mask
        shown: dict[str, Tensor] = {}
        correlated = blocks
        if self.correlation is not None:
            relation, coefficient, weight = self.correlation(self.whole_text(batch, words), blocks[:, 0])
            # Eq. 5
            correlated = blocks * weight.unsqueeze(1)
            shown.update(relation=relation.squeeze(-1), coefficient=coefficient, picture_weight=weight)
        if self.gates is not None:
            gates = self.gates(correlated, mask)
        else:
            layers = self.config.text_config.num_hidden_layers
            gates = masked_softmax(blocks.new_zeros(len(mask), layers, mask.shape[1]), mask)
        shown.update(gates=gates, blocks=mask)
        # Eq. 13, of V_g^(l) = gates^(l) V^C
        return self.prefix_projection(correlated, gates, mask, batch.post_of_row), shown

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`.

        Exposes ``relation`` M (B,), ``coefficient`` C and ``picture_weight`` v_i^C (B, d_v), ``gates``
        (B, L, c), and ``blocks`` (B, c), true where there is a picture or region.
        """
        shown: dict[str, Tensor] = {}
        if self.config.prompt_length > 0:
            words = self.looked_up(batch)
            prefix, shown = self.prefix_of(batch, words)
            # Eq. 10-12 and 14, in every layer
            states = encode_with_prefix(
                self.text_encoder, batch.input_ids, batch.attention_mask, prefix, words
            )
        else:
            encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
            states = encoded.last_hidden_state
        # Eq. 15-17
        output: Output = self.decoder(self.reader(states, batch), batch)
        if expose:
            output.exposed = shown
        return output
