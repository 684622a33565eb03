"""CAT-MNER: one stream of words and picture cells, its cross-modal attention refined by label words.

Wang, X., Ye, J., Li, Z., Tian, J., Jiang, Y., Yan, M., Zhang, J., Xiao, Y.: CAT-MNER: Multimodal Named Entity
Recognition with Knowledge-Refined Cross-Modal Attention. ICME 2022. ``[wang2022catmner]``

=========== ========================= ====================================================================
paper       here                      shape
=========== ========================= ====================================================================
w           `states[:, :n]`           (R, n, d) sub-words of R windows, from the embeddings up
v           `states[:, n:]`           (R, m, d) the m = L_I = 16 cells of the window's post's picture
c           `labels`                  (C, d) label words in the C-Transformer, section 3.2
FFN_K(c)    `Refinement.label_keys`   (h, C, d_h) keys of the label words in a layer
s_I, s_T    `saliency`                (R, h, m) and (R, h, n), eq. 6
g_I, g_T    `Side.gate`               (R, m) and (R, n), eq. 4
(none)      `Side.scale`              (h,) see Departures
d           `scaling` ** -2           the width d_h of a head, so that at gate 0 eq. 4 is eq. 3
l_i^c       `Output.span_scores`      (B, W, 16, types + 1) a score a type for each span, section 3.1
=========== ========================= ====================================================================

Departures
  * A learned scale, one a head, side and layer, stands before s in eq. 4. As printed the equation adds next
    to nothing: s sums to 1 over the tokens and is divided by sqrt(d_h), a bias near 0.008. The scale starts
    at sqrt(d_h) times the number of cells, where an even saliency is a bias of g. ``literal = true``
    keeps it at 1.
  * Eq. 6's softmax runs over the tokens and its mean over the label words, as its text says ("reduces the
    second dimension"); the other way round, every token would get the constant 1 / C. The softmax of s_T
    leaves padding out.
  * The gates' last layer starts at zero, where the model is plain self-attention over [w; v].
  * The picture's cells have position and type embeddings of their own and pass the language model's own
    embedding norm. With rotary positions (ModernBERT) they take the places before the first token, -m to -1,
    whatever the length of the text, and no sliding window hides them or hides anything from them.
  * The text gates (T2I) of the last layer would only change the cells' last states, which nobody reads: there
    are none.
  * Label words enter the C-Transformer as the embedding layer gives them, framed by special tokens, the mean
    of their sub-words. They are projected without rotary positions.
  * A missing picture is masked. Spans have at most 16 words. Word shapes may be added to the word states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers import initialization as init
from transformers.configuration_utils import SubConfigSpec

from mner.encoding import Batch, Inputs, PictureInputs, TokenBlock, VisualBlock
from mner.errors import UsageError
from mner.knowledge.label_words import KnowledgeBase, label_words_for
from mner.models.base import MnerConfig, MnerModel, Output, Sources, SpanDecoder, WordReader
from mner.models.registry import register
from mner.nn import backbones, vision
from mner.nn.anatomy import Anatomy, anatomy_of, sliding_window
from mner.nn.attention import exchange_attention
from mner.nn.refined_attention import REFINED, Refinement, SaliencyGate, Side
from mner.nn.words import gather_words
from mner.pretrained import DEFAULT


@strict
class CatMnerConfig(MnerConfig):
    """Configuration of CAT-MNER.

    Args:
        text_config: Configuration of the language model.
        vision_config: Configuration of the vision tower.
        refinement: Where attention is refined: in ``both`` directions, where text looks at the picture
            (``image-to-text``; the ablation w/o T2I), where the picture looks at text (``text-to-image``; w/o
            I2T), or nowhere (``none``; w/o Refine).
        text_only: Read no picture at all (the ablation 'text only').
        knowledge_base: Where label words come from that are not given: ``textual`` or ``multimodal``.
        label_words: The words of each type; of types that are not named, those of the knowledge base.
        literal: Saliency as printed, without a learned scale.
        grid: The picture is cut into grid x grid cells.
        cell_size: Side of a cell in pixels; that of the tower's own pictures where None.
        gate_width: Width of the gates' hidden layers.
        longest_span: Most words of a span.
        span_width: Width of the span classifier's hidden layer; the encoder's where None.
    """

    model_type = "mner-cat-mner"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", optional=True
        ),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    refinement: Literal["both", "image-to-text", "text-to-image", "none"] = "both"
    text_only: bool = False
    knowledge_base: KnowledgeBase = "textual"
    label_words: dict[str, list[str]] | None = None
    literal: bool = False
    grid: int = 4
    cell_size: int | None = None
    gate_width: int = 64
    longest_span: int = 16
    span_width: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.labels:
            # The words themselves are kept, so that a saved model does not depend on any knowledge base.
            self.label_words = label_words_for(self.labels, self.knowledge_base, self.label_words)


class CellEmbedding(nn.Module):
    """Vectors of a picture's cells to tokens: projection, position, type; the norm is the encoder's.

    Args:
        vision_width: Width d_v of the tower's vectors.
        width: Width of the encoder's embeddings.
        cells: Number m of cells.
    """

    def __init__(self, vision_width: int, width: int, cells: int) -> None:
        super().__init__()
        self.projection = nn.Linear(vision_width, width)
        self.position = nn.Embedding(cells, width)
        self.modality = nn.Embedding(1, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, m, d_v) to (B, m, width)."""
        embedded: Tensor = self.projection(vectors) + self.position.weight + self.modality.weight
        return embedded


class LayerRefinement(nn.Module):
    """What a layer's refinement has of its own: a gate and a scale a head for each side that is refined.

    Args:
        width: Width d of the states.
        heads: Number h of heads.
        gate_width: Width of the gates' hidden layers.
        image: Whether text looks at the picture in a refined way (I2T).
        text: Whether the picture looks at text in a refined way (T2I).
        scale_unit: What a scale of 1 stands for; None for saliency as it is.
    """

    def __init__(
        self, width: int, heads: int, gate_width: int, image: bool, text: bool, scale_unit: float | None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale_unit = scale_unit
        sides = [name for name, wanted in (("image", image), ("text", text)) if wanted]
        self.gate = nn.ModuleDict({name: SaliencyGate(width, gate_width) for name in sides})
        self.scale = nn.ParameterDict()
        if scale_unit is not None:
            self.scale.update({name: nn.Parameter(torch.ones(heads)) for name in sides})

    def side(self, name: str, states: Tensor) -> Side | None:
        """How one side is refined, given the states (R, k, d) that its tokens bring to the attention."""
        if name not in self.gate:
            return None
        literal = self.scale_unit is None
        scale = states.new_ones(self.heads) if literal else self.scale_unit * self.scale[name]
        return Side(self.gate[name](states), scale)


@register(
    "cat-mner", summary="words and picture cells, attention refined by label words", source="Wang et al. 2022"
)
class CatMner(MnerModel):
    """CAT-MNER."""

    config_class = CatMnerConfig
    reads_pictures = True
    reads_knowledge = ()
    exposes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "image_attention": ("layers", "words", "cells"),
        "image_saliency": ("layers", "cells"),
        "type_saliency": ("layers", "types", "cells"),
        "text_saliency": ("layers", "words"),
        "image_gate": ("layers", "cells"),
        "text_gate": ("layers", "words"),
    }

    def __init__(self, config: CatMnerConfig) -> None:
        super().__init__(config)
        if not isinstance(config.text_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no text_config.")
        width = backbones.width_of(config.text_config)
        self.text_encoder = backbones.build_encoder(config.text_config)
        if not config.text_only:
            if not isinstance(config.vision_config, PreTrainedConfig):
                raise UsageError("The model's configuration has no vision_config.")
            exchange_attention(self.text_encoder, REFINED)
            parts = anatomy_of(self.text_encoder)
            self.vision_encoder = vision.build_tower(config.vision_config)
            cells = config.grid**2
            self.cells = CellEmbedding(vision.width_of(config.vision_config), parts.embedding_width, cells)
            heads = config.text_config.num_attention_heads
            unit = None if config.literal else (width / heads) ** 0.5 * cells
            last = len(parts.layers) - 1
            self.refinements = nn.ModuleList(
                LayerRefinement(
                    width,
                    heads,
                    config.gate_width,
                    image=config.refinement in ("both", "image-to-text"),
                    text=config.refinement in ("both", "text-to-image") and layer < last,
                    scale_unit=unit,
                )
                for layer in range(last + 1)
            )
        self.reader = WordReader(config)
        self.decoder = SpanDecoder(
            width, len(config.labels or ()), config.longest_span, config.span_width, config.dropout
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SaliencyGate):
            init.zeros_(module.output.weight)
            init.zeros_(module.output.bias)
        if isinstance(module, LayerRefinement):
            for scale in module.scale.values():
                init.ones_(scale)

    @classmethod
    def reads_pictures_with(cls, options: Mapping[str, Any]) -> bool:
        """See `MnerModel.reads_pictures_with`: with `text_only` it classifies spans of the text alone."""
        return not options.get("text_only", False)

    @property
    def inputs(self) -> Inputs:
        """Sub-words and shapes, gold as spans, the picture's cells, and the label words."""
        config = self.config
        plain = Inputs(subwords=True, shapes=config.word_shape, target="spans")
        if config.text_only:
            return plain
        size = config.cell_size or vision.image_size_of(config.vision_config)
        return replace(
            plain,
            picture=PictureInputs("cells", config.grid**2, size, features=True),
            label_words=config.label_words if config.refinement != "none" else {},
        )

    @classmethod
    def from_sources(cls, options: dict[str, Any], sources: Sources) -> Self:
        """A new model with pre-trained backbones; without a vision tower where no picture is read."""
        if not options.get("text_only", False):
            return super().from_sources(options, sources)
        model = cls(
            cls.config_class(**options, text_config=backbones.load_config(sources.backbone or DEFAULT))
        )
        model.fill_from(sources)
        return model

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`.

        Exposed, heads averaged; posts of several windows have the mean of what their windows say of the
        picture; B posts, L layers, W words, m cells, T types:

        ================== ============ ===========================================================
        image_attention    (B, L, W, m) how much each word looks at each cell, refined (eq. 4)
        image_saliency     (B, L, m)    s_I
        type_saliency      (B, L, T, m) s_I of each type's label words alone
        text_saliency      (B, L-1, W)  s_T
        image_gate         (B, L, m)    g_I
        text_gate          (B, L-1, W)  g_T
        ================== ============ ===========================================================
        """
        visual = batch.visual if not self.config.text_only else None
        exposed: dict[str, Tensor] = {}
        if visual is None or not (self.training or expose or bool(visual.mask.any())):
            encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
            states = encoded.last_hidden_state
        else:
            shown: list[dict[str, Tensor]] | None = [] if expose else None
            states = self._encode(batch, visual, shown)
            if shown is not None:
                names = dict.fromkeys(name for layer in shown for name in layer)
                exposed = {
                    name: torch.stack([layer[name] for layer in shown if name in layer], 1) for name in names
                }
        output: Output = self.decoder(self.reader(states, batch), batch)
        output.exposed = exposed
        return output

    def _encode(self, batch: Batch, visual: VisualBlock, shown: list[dict[str, Tensor]] | None) -> Tensor:
        # Eq. 1: the R-Transformer over [w; v]; only the words' states (R, n, d) are of use after it.
        assert batch.input_ids is not None
        assert batch.attention_mask is not None
        parts = anatomy_of(self.text_encoder)
        words = parts.embed(batch.input_ids)
        tokens = words.shape[1]
        cells = parts.embed_vectors(self.cells(self._vectors(visual)))
        states = torch.cat((words, cells[batch.post_of_row].to(words.dtype)), 1)
        present = torch.cat((batch.attention_mask.bool(), visual.mask[batch.post_of_row]), 1)
        positions = _positions(tokens, cells.shape[1], states.device)
        label_keys = self._label_keys(parts, batch.label_words)
        for number, layer in enumerate(parts.layers):
            seen = parts.attention_input(layer, states)
            own: Any = self.refinements[number]
            rotary = parts.rotary(layer, states, positions)
            refinement = Refinement(
                present=present,
                text_tokens=tokens,
                label_keys=label_keys[number],
                image=own.side("image", seen[:, tokens:]),
                text=own.side("text", seen[:, :tokens]),
                rotary=rotary,
                windows=_windows(tokens, cells.shape[1], parts.window(layer), states.device),
                shown=None if shown is None else {},
            )
            states = parts.run(layer, states, None, rotary, refinement=refinement)
            if shown is not None:
                assert refinement.shown is not None
                shown.append(_averaged(refinement.shown, batch, len(self.config.labels)))
        return parts.finish(states[:, :tokens])

    def _vectors(self, visual: VisualBlock) -> Tensor:
        # A vector a cell (B, m, d_v): kept ones, or the tower's.
        if visual.features is not None:
            return visual.features.to(self.cells.projection.weight.dtype)
        assert visual.pixels is not None
        pixels = visual.pixels.to(self.vision_encoder.dtype)
        return vision.pooled_parts(self.vision_encoder, pixels, visual.mask)

    def _label_keys(self, parts: Anatomy, words: TokenBlock | None) -> list[Tensor | None]:
        # The C-Transformer: the R-Transformer's layers without self-attention. What it says depends on no
        # post, so that all layers are computed once for the whole batch.
        if words is None:
            return [None] * len(parts.layers)
        # Eq. 5.
        pieces = words.attention_mask.unsqueeze(-1).to(self.dtype)
        labels = (parts.embed(words.input_ids) * pieces).sum(1) / pieces.sum(1)
        keys: list[Tensor | None] = []
        for layer in parts.layers:
            keys.append(parts.keys(layer, labels).transpose(0, 1))  # FFN_K(c), (h, C, d_h)
            labels = parts.feed_forward(layer, labels)
        return keys


def _positions(tokens: int, cells: int, device: torch.device) -> Tensor:
    # Rotary places: the text from 0, the cells before it, so that they do not depend on the text's length.
    numbers = torch.arange(-cells, tokens, device=device)
    return torch.cat((numbers[cells:], numbers[:cells])).unsqueeze(0)


def _windows(tokens: int, cells: int, window: int | None, device: torch.device) -> Tensor | None:
    # Sliding windows are about distances in the text alone.
    near = sliding_window(tokens, window, device) if window is not None else None
    return None if near is None else nn.functional.pad(near, (0, cells, 0, cells), value=True)[None, None]


def _averaged(shown: dict[str, Tensor], batch: Batch, types: int) -> dict[str, Tensor]:
    # What a layer shows of its windows, heads averaged, to what it shows of posts.
    averaged: dict[str, Tensor] = {}
    for name, values in shown.items():
        if name == "text_word_saliency":
            continue
        if name == "image_word_saliency":
            assert batch.label_word_types is not None
            each = values.mean(1)  # (R, C, m)
            own = torch.nn.functional.one_hot(batch.label_word_types, types).to(each.dtype)
            by_type = torch.einsum("rcm,ct->rtm", each, own / own.sum(0))
            averaged["type_saliency"] = _of_posts(by_type, batch)
        elif name == "image_attention":
            averaged[name] = _of_words(values.mean(1), batch)
        else:
            values = values.mean(1) if values.dim() == 3 else values
            of = _of_posts if name.startswith("image") else _of_words
            averaged[name] = of(values, batch)
    return {name: values.float() for name, values in averaged.items()}


def _of_posts(values: Tensor, batch: Batch) -> Tensor:
    # (R, …) to (B, …): the mean over each post's windows.
    assert batch.post_of_row is not None
    windows = torch.bincount(batch.post_of_row, minlength=batch.posts).to(values.dtype)
    total = values.new_zeros(batch.posts, *values.shape[1:]).index_add(0, batch.post_of_row, values)
    return total / windows.view(-1, *[1] * (values.dim() - 1))


def _of_words(values: Tensor, batch: Batch) -> Tensor:
    # (R, n) or (R, n, k) to (B, W) or (B, W, k): each word's first sub-word, in the window chosen for it.
    assert batch.word_rows is not None
    assert batch.word_columns is not None
    wide = values if values.dim() == 3 else values.unsqueeze(-1)
    words = gather_words(wide, batch.word_rows, batch.word_columns, batch.word_mask)
    return words if values.dim() == 3 else words.squeeze(-1)
