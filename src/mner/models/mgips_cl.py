"""MGIPS-CL: mutual attention, interweaving at two granularities, and contrast with implicit positives.

MGIPS-CL: Multimodal NER with Multi-Granularity Interweave and Implicit Positive Sample Contrastive Learning.
2025. ``[mgipscl2025]``

========== ============================ ==================================================================
paper      here                         shape
========== ============================ ==================================================================
S^e        (embeddings)                 (R, n, d) sub-words of R windows, eq. 1
V^e        `CropEmbedding`              (P, m, d_v) patches of the crops of P windows' pictures, m <= R
H^t, H^v   `text`, `picture`            (R, n, d) and (P, m, d) the encoders' last states, eq. 2-4
a, b       `guided`, `source`           (P, k, d) and (P, l, d) in MGE(a, b), which carries b into a
b~         `resampled`                  (P, k, d) b at a's positions
f_1 b~     `features`                   (P, k, d), eq. 5
M_im       `joined`                     (P, k, d), eq. 5
M_C, M_F   `row_weights`,               (P, k, 1) and (P, k, d), eq. 6
           `column_weights`
M_3, M_4   `rows`, `columns`            d x 1 and d x d
X^v, T^t   `picture`, `text`            (P, m, d) and (P, n, d) in `interweave`, eq. 9-11
I          `gate`                       (P, n, d), eq. 12
z          `states`                     (R, n, d), eq. 13
f, g       `Similarity`                 to (B, d), eq. 14
K          `positives`                  3
N          B                            posts of a batch
tau        `temperature`                0.07, which is ours
========== ============================ ==================================================================

Departures
  * Eq. 2's H^v in the query is read as H^t. For the picture's side no equation is printed: its keys and
    values are [text's ; picture's]. Both sides read the same layer of the other; ``lag = true`` reads the
    layer before and in the first one the other's embeddings themselves, as eq. 2 and 3 are printed.
  * Where the encoders' widths or heads differ, linear maps fit keys and values, two for each direction and
    layer; where their depths differ, the last layers are aligned. H^v passes the tower's last norm, which
    CLIP itself applies to its class token alone, and a linear map where widths differ.
  * Where text has rotary positions (ModernBERT), the picture's keys stay unturned and are hidden by no
    sliding window; the picture reads the text's keys before they are turned.
  * One class token for all crops; the tower's positions are interpolated to a crop's grid and shared; the
    embedding of a crop's number is added to its patches and starts at zero.
  * b is resampled to a's positions by cross-attention, since eq. 5 multiplies element by element.
  * M_4 is d x d: as printed, with d x 1, the softmax over one number is the constant 1. Both softmaxes are
    multiplied by their count (valid positions, d), without which V_F is some fifty times smaller than V_C;
    ``literal = true`` does without.
  * Eq. 7 multiplies f_1(Linear_1(H^t)); "multiplying H^v" in its text is read as a slip.
  * f_1, f_2, f_3 are multilayer perceptrons of one hidden layer; f and g are linear maps of the mean state.
  * Features of a text and its picture for eq. 14 are T^t and X^v after one image-guided MGE more. X^v
    contains its post's text by then, so that own pairs are told apart even where pictures are unrelated:
    ``similarity = "encoders"`` takes H^t and H^v (which mutual attention has joined too, but not
    interweaving), ``own_picture = false`` leaves a text's own picture out of eq. 15 and 16.
  * A missing picture is masked and never replaced: its post is read as by the text encoder alone, takes
    part in eq. 14-16 as a text only and in eq. 17 not at all. Equal pictures of a batch count once. A
    text with no more than K pictures to choose from has the loss 0 by eq. 16; `Output.losses` says how
    many had more.
  * Of posts read in several windows, the windows are interwoven each for itself; their pooled features are
    averaged for eq. 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedConfig
from transformers import initialization as init
from transformers.configuration_utils import SubConfigSpec

from mner.encoding import Batch, Inputs, PictureInputs, VisualBlock
from mner.errors import UsageError
from mner.models.base import MnerConfig, MnerModel, Output, TagDecoder, WordReader
from mner.models.registry import register
from mner.nn import backbones, contrastive, processes, vision
from mner.nn.anatomy import anatomy_of
from mner.nn.crops import CropEmbedding, crop_size
from mner.nn.cross_attention import CrossAttention
from mner.nn.mutual_attention import KeyValueMap, MutualAttention
from mner.nn.words import gather_words, mean_over_windows

PAPERS_CROP_SIZE = 128


@strict
class MgipsClConfig(MnerConfig):
    """Configuration of MGIPS-CL.

    Args:
        text_config: Configuration of the text encoder.
        vision_config: Configuration of the vision tower.
        crops: Crops of the picture.
        crop_size: Side of a crop in pixels, a multiple of the tower's patch. Where None, the paper's 128, or
            the side of the pictures that the tower was trained with if that is less, in whole patches.
        lag: Mutual attention reads the other side's keys and values of one layer earlier.
        interweave: Whether text and picture are interwoven and the gate chooses between before and after
            (MGI); without, the decoder reads the text encoder ("w/o MGI").
        interweave_encoders: How often; all share their weights.
        row_grained: Whether positions are weighted (V_C).
        column_grained: Whether features are weighted (V_F).
        literal: Weights as printed, not multiplied by their count.
        excavator_width: Width of the hidden layers of f_1, f_2 and f_3; half the text encoder's where None.
        implicit_contrast: Whether there is a loss with implicit positives ("w/o IPS-CL").
        contrast: Whether there is one with the post's own picture (CL).
        positives: How many pictures are implicit positives (K).
        temperature: Temperature of both.
        similarity: What they compare: features after interweaving, or the encoders'.
        own_picture: Whether a post's own picture may be an implicit positive of its text.
    """

    model_type = "mner-mgips-cl"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", optional=True
        ),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    crops: int = 3
    crop_size: int | None = None
    lag: bool = False
    interweave: bool = True
    interweave_encoders: int = 1
    row_grained: bool = True
    column_grained: bool = True
    literal: bool = False
    excavator_width: int | None = None
    implicit_contrast: bool = True
    contrast: bool = True
    positives: int = 3
    temperature: float = 0.07
    similarity: Literal["interwoven", "encoders"] = "interwoven"
    own_picture: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.interweave and not (self.row_grained or self.column_grained):
            raise UsageError(
                "Interweaving without row-grained and without column-grained weights carries nothing over.",
                expected="row_grained or column_grained",
                got="neither",
                hint="interweave = false leaves the whole module out.",
            )
        for field in ("interweave_encoders", "positives", "crops"):
            if getattr(self, field) < 1:
                raise UsageError(
                    f"{field} is too small.", expected="at least 1", got=str(getattr(self, field))
                )
        if self.temperature <= 0:
            raise UsageError("A temperature is positive.", expected="above 0", got=str(self.temperature))


class MultiGranularityExcavator(nn.Module):
    """MGE(a, b), eq. 5-8: carries b into a, weighting positions and features.

    Args:
        width: Width d of both.
        heads: Heads of the attention that resamples b.
        hidden: Width of the hidden layers of f_1, f_2 and f_3.
        row_grained: Whether positions are weighted.
        column_grained: Whether features are weighted.
        literal: Whether weights stay as the softmax gives them.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, row_grained: bool, column_grained: bool, literal: bool
    ) -> None:
        super().__init__()
        self.literal = literal
        self.resample = CrossAttention(width, heads)
        self.linear_source = nn.Linear(width, width)  # Linear_1
        self.encode_source = perceptron(width, hidden)  # f_1
        self.linear_guided = nn.Linear(width, width)  # Linear_2
        self.encode_guided = perceptron(width, hidden)  # f_2
        self.rows = nn.Linear(width, 1, bias=False) if row_grained else None  # M_3
        self.columns = nn.Linear(width, width, bias=False) if column_grained else None  # M_4
        self.encode_output = perceptron(width, hidden)  # f_3

    def forward(self, guided: Tensor, guided_mask: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """Carry over.

        Args:
            guided: (P, k, d) a.
            guided_mask: (P, k) true at its positions.
            source: (P, l, d) b.
            source_mask: (P, l) likewise.

        Returns:
            (P, k, d).
        """
        resampled, _ = self.resample(guided, source, source_mask)
        features = self.encode_source(self.linear_source(resampled))
        # Eq. 5
        joined = features * self.encode_guided(self.linear_guided(guided))
        weighted = torch.zeros_like(features)
        for weights in self.weights(joined, guided_mask):
            # Eq. 7
            weighted = weighted + weights * features
        # Eq. 8
        output: Tensor = self.encode_output(weighted)
        return output

    def weights(self, joined: Tensor, mask: Tensor) -> list[Tensor]:
        """Row weights (P, k, 1) and column weights (P, k, d) of M_im (P, k, d), those that are used."""
        weights = []
        # Eq. 6
        if self.rows is not None:
            there = mask.unsqueeze(-1)
            logits = self.rows(joined)
            row_weights = logits.masked_fill(~there, torch.finfo(logits.dtype).min).softmax(-2)
            count = 1.0 if self.literal else there.sum(-2, keepdim=True).to(row_weights.dtype)
            weights.append(row_weights * count)
        if self.columns is not None:
            column_weights = self.columns(joined).softmax(-1)
            weights.append(column_weights * (1.0 if self.literal else column_weights.shape[-1]))
        return weights


def perceptron(width: int, hidden: int) -> nn.Sequential:
    """A multilayer perceptron of one hidden layer, as wide at its end as at its start."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class PrePostGate(nn.Module):
    """Chooses, for each feature of each token, between text before and after fusion (eq. 12-13).

    Args:
        width: Width d of the states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.after = nn.Linear(width, width)  # W_1, b
        self.before = nn.Linear(width, width, bias=False)  # W_2

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """H^t and T^t (P, n, d) to z and I (P, n, d)."""
        # Eq. 12
        gate = torch.sigmoid(self.after(after) + self.before(before))
        # Eq. 13
        return gate * before + (1 - gate) * after, gate


class Similarity(nn.Module):
    """Relevance of pictures to texts (eq. 14).

    Args:
        width: Width d of the states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.picture = nn.Linear(width, width)  # f
        self.text = nn.Linear(width, width)  # g

    def forward(self, texts: Tensor, pictures: Tensor, gather: bool) -> tuple[Tensor, int]:
        """Cosines (B, N) of pooled texts and pictures (B, d), and where the own pictures begin among the N.

        Args:
            texts: (B, d).
            pictures: (B, d).
            gather: Whether to compare with the pictures of all processes.
        """
        projected = self.picture(pictures).float()
        offset = 0
        if gather:
            projected, offset = processes.gather_rows(projected)
        return contrastive.cosine_similarities(self.text(texts), projected), offset


@dataclass
class _Read:
    # What the encoders and the interweaving make of a batch; text and picture are those that are compared.
    states: Tensor  # (R, n, d) z
    text: Tensor  # (R, n, d)
    picture: Tensor  # (P, m, d)
    picture_mask: Tensor  # (P, m)
    rows: Tensor  # (P,)
    gate: Tensor | None  # (P, n, d)


@register(
    "mgips-cl", summary="mutual attention, interweaving, implicit positive contrast", source="MGIPS-CL, 2025"
)
class MgipsCl(MnerModel):
    """MGIPS-CL."""

    config_class = MgipsClConfig
    reads_pictures = True
    reads_knowledge = ("regions",)
    exposes = {"pre_post_gate": ("words",), "similarity": ("posts",), "implicit_positives": ("positives",)}  # noqa: RUF012

    def __init__(self, config: MgipsClConfig) -> None:
        super().__init__(config)
        if not isinstance(config.text_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no text_config.")
        if not isinstance(config.vision_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no vision_config.")
        self.crop_size = crop_size(config.vision_config, PAPERS_CROP_SIZE, config.crop_size)
        width, picture_width = backbones.width_of(config.text_config), vision.width_of(config.vision_config)
        heads: int = config.text_config.num_attention_heads
        self.text_encoder = backbones.build_encoder(config.text_config)
        anatomy_of(self.text_encoder)  # refuses encoders whose attention cannot be exchanged
        self.vision_encoder = vision.build_tower(config.vision_config, head=False)
        self.crop_embedding = CropEmbedding(picture_width, config.crops)
        self.mutual_attention = MutualAttention(config.text_config, config.vision_config, config.lag)
        self.widening = None if width == picture_width else nn.Linear(picture_width, width)
        if config.interweave:
            options = (
                width,
                heads,
                config.excavator_width or width // 2,
                config.row_grained,
                config.column_grained,
                config.literal,
            )
            self.image_guided = MultiGranularityExcavator(*options)
            self.text_guided = MultiGranularityExcavator(*options)
            self.gate = PrePostGate(width)
        self.similarity = Similarity(width) if config.implicit_contrast or config.contrast else None
        self.reader = WordReader(config)
        self.decoder = TagDecoder(width, config.tags, config.scheme, crf=True)
        self.post_init()

    @property
    def inputs(self) -> Inputs:
        """Sub-words and shapes, and crops of the picture."""
        config = self.config
        picture = PictureInputs("crops", config.crops, self.crop_size)
        return Inputs(subwords=True, shapes=config.word_shape, picture=picture)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CropEmbedding):
            init.zeros_(module.number.weight)
        if isinstance(module, KeyValueMap | MultiGranularityExcavator | PrePostGate | Similarity):
            # Products of several maps: each has to keep the size of what it is given, whatever the width.
            for linear in module.modules():
                if isinstance(linear, nn.Linear):
                    init.xavier_uniform_(linear.weight)
        if module is getattr(self, "widening", None):
            init.xavier_uniform_(module.weight)

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`.

        `Output.losses`: ``crf``, ``implicit_contrast``, ``contrast`` (eq. 16-18) and ``texts_with_choice``,
        how many texts had more than K pictures to choose from; the implicit loss of all others is 0.

        Exposes, for B posts of W words: ``pre_post_gate`` (B, W) I of each word's first sub-word, the
        mean over features, 1 where there is no picture (all from the text); where the model has a
        contrastive loss, ``similarity`` (B, B) of each text to each post's picture, 0 for missing ones,
        and ``implicit_positives`` (B, K) the posts whose pictures are chosen, most similar first, -1
        where there are none.
        """
        visual = batch.visual
        read: _Read | None = None
        if visual is None or not (self.training or bool(visual.mask.any())):
            encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
            states = encoded.last_hidden_state
        else:
            wanted = self.similarity is not None and (batch.tags is not None or expose)
            read = self._read(batch, visual, wanted)
            states = read.states
        # Eq. 18
        output: Output = self.decoder(self.reader(states, batch), batch)
        if output.loss is not None:
            output.losses["crf"] = output.loss
        if expose:
            output.exposed["pre_post_gate"] = self._gate_of_words(batch, read)
        if read is not None and self.similarity is not None and (expose or output.loss is not None):
            self._compare(batch, read, output, expose)
        return output

    def _read(self, batch: Batch, visual: VisualBlock, compared: bool) -> _Read:
        config = self.config
        assert batch.input_ids is not None
        assert batch.attention_mask is not None
        assert batch.post_of_row is not None
        if visual.pixels is None:
            raise UsageError("MGIPS-CL needs pixels: its tower reads the text in every layer.")
        present = visual.mask.any(1)
        rows = present[batch.post_of_row].nonzero().squeeze(1)
        tokens, token_mask = self.crop_embedding(
            self.vision_encoder, visual.pixels[present], visual.mask[present]
        )
        # A post's windows read its picture each with their own text.
        each = (present.cumsum(0) - 1)[batch.post_of_row[rows]]
        picture_mask, text_mask = token_mask[each], batch.attention_mask.bool()
        text, picture = self.mutual_attention(
            self.text_encoder,
            self.vision_encoder,
            batch.input_ids,
            text_mask,
            tokens[each],
            picture_mask,
            rows,
        )
        tower: Any = self.vision_encoder
        picture = tower.post_layernorm(picture)
        if self.widening is not None:
            picture = self.widening(picture)
        if not config.interweave:
            return _Read(text, text, picture, picture_mask, rows, None)
        everyone = len(rows) == len(text)
        before, before_mask = (text, text_mask) if everyone else (text[rows], text_mask[rows])
        after, woven = self.weave(before, before_mask, picture, picture_mask)
        states, gate = self.gate(before, after)
        compared_text, compared_picture = text, picture
        if compared and config.similarity == "interwoven":
            # One image-guided MGE more, with the same weights
            compared_picture = woven + self.image_guided(woven, picture_mask, after, before_mask)
            compared_text = after if everyone else text.index_copy(0, rows, after)
        states = states if everyone else text.index_copy(0, rows, states.to(text.dtype))
        return _Read(states, compared_text, compared_picture, picture_mask, rows, gate)

    def weave(
        self, text: Tensor, text_mask: Tensor, picture: Tensor, picture_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Interweave text and picture (section 3.3.2).

        Args:
            text: (P, n, d) H^t.
            text_mask: (P, n).
            picture: (P, m, d) H^v.
            picture_mask: (P, m).

        Returns:
            T^t (P, n, d) and X^v (P, m, d).
        """
        for _ in range(self.config.interweave_encoders):
            # Eq. 10
            picture = picture + self.image_guided(picture, picture_mask, text, text_mask)
            # Eq. 11
            text = text + self.text_guided(text, text_mask, picture, picture_mask)
        return text, picture

    def _gate_of_words(self, batch: Batch, read: _Read | None) -> Tensor:
        assert batch.input_ids is not None
        gate = torch.ones(*batch.input_ids.shape, 1, device=batch.input_ids.device)
        if read is not None and read.gate is not None:
            gate[read.rows] = read.gate.float().mean(-1, keepdim=True)
        assert batch.word_rows is not None
        assert batch.word_columns is not None
        return gather_words(gate, batch.word_rows, batch.word_columns, batch.word_mask).squeeze(-1)

    def _compare(self, batch: Batch, read: _Read, output: Output, expose: bool) -> None:
        config = self.config
        assert self.similarity is not None
        assert batch.visual is not None
        assert batch.visual.pictures is not None
        assert batch.attention_mask is not None
        assert batch.post_of_row is not None
        owners = batch.post_of_row
        texts = mean_over_windows(_mean(read.text, batch.attention_mask.bool()), owners, batch.posts)
        pictures = mean_over_windows(_mean(read.picture, read.picture_mask), owners[read.rows], batch.posts)
        numbers = torch.where(batch.visual.mask.any(1), batch.visual.pictures, -1)
        # Eq. 14
        gather = self.training and output.loss is not None
        similarities, offset = self.similarity(texts, pictures, gather)
        own = offset + torch.arange(batch.posts, device=owners.device)
        if gather:
            numbers, _ = processes.gather_rows(numbers)
        candidates = contrastive.candidate_pictures(numbers, own)
        choice = candidates if config.own_picture else contrastive.candidate_pictures(numbers, own, False)
        # Eq. 15
        positives = contrastive.most_similar(similarities, choice, config.positives)
        share_losses = contrastive.positive_share_losses
        if output.loss is not None:
            if config.implicit_contrast:
                # Eq. 16
                losses = share_losses(similarities, choice, positives, config.temperature)
                count = positives.any(1).sum()
                output.losses["implicit_contrast"] = processes.mean_over_processes(losses.sum(), count)
                output.losses["texts_with_choice"] = (choice.sum(1) > config.positives).sum()
            if config.contrast:
                # Eq. 17
                itself = F.one_hot(own, len(numbers)).bool() & candidates
                losses = share_losses(similarities, candidates, itself, config.temperature)
                count = itself.any(1).sum()
                output.losses["contrast"] = processes.mean_over_processes(losses.sum(), count)
            # Eq. 19
            for name in ("implicit_contrast", "contrast"):
                output.loss = output.loss + output.losses.get(name, 0.0)
        if expose:
            local = slice(offset, offset + batch.posts)
            there = numbers[local] >= 0
            output.exposed["similarity"] = (similarities[:, local] * there).detach()
            ranked = similarities.masked_fill(~positives, -torch.inf).argsort(1, descending=True)
            ranked = F.pad(ranked, (0, config.positives))[:, : config.positives]
            chosen = torch.arange(config.positives, device=ranked.device) < positives.sum(1, keepdim=True)
            output.exposed["implicit_positives"] = torch.where(chosen, ranked - offset, -1)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    # (R, k, d) to (R, d): the mean over the positions that are there.
    there = mask.unsqueeze(-1).to(states.dtype)
    return (states * there).sum(1) / there.sum(1).clamp(min=1)
