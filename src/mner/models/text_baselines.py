"""The text baselines that the five papers compare with.

============== ====================================================================================
name           what it is
============== ====================================================================================
bilstm-crf     word embeddings, BiLSTM, CRF (Huang et al. 2015)
cnn-bilstm-crf the same with a character CNN (Ma and Hovy 2016)
hbilstm-crf    the same with a character LSTM (Lample et al. 2016)
bert           a pre-trained encoder and a softmax over tags a word (Devlin et al. 2019)
bert-crf       a pre-trained encoder and a CRF
bert-bilstm-crf  a pre-trained encoder, a BiLSTM over its word states, a CRF
bert-span      a pre-trained encoder and a classifier of spans (Yamada et al. 2020, LUKE, section 4.2)
============== ====================================================================================

Any encoder of the BERT family stands behind the last four: RoBERTa-SPAN is bert-span with a RoBERTa.

Departures: the CRF runs over words, each represented by its first sub-word, so that a transition is one
between neighbouring words; impossible transitions are forbidden; word shapes may be added to word states.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from mner.encoding import Batch, Inputs
from mner.encoding.vocabulary import UNKNOWN, folded
from mner.errors import UsageError
from mner.models.base import (
    MnerConfig,
    MnerModel,
    Output,
    Sources,
    SpanDecoder,
    TagDecoder,
    WordReader,
)
from mner.models.registry import register
from mner.nn import backbones
from mner.nn.recurrent import BidirectionalLSTM, CharacterCNN, CharacterLSTM
from mner.nn.word_shape import WordShapeEmbedding


@strict
class WordTaggerConfig(MnerConfig):
    """Configuration of the taggers that start from words.

    Args:
        vocabulary_size: Number of word indices.
        character_count: Number of character indices.
        word_width: Width of a word's embedding.
        character_width: Width of a character's embedding.
        spelling_width: Width of the vector read from a word's characters.
        lstm_width: Width of the BiLSTM's states, both directions together.
        lstm_layers: Number of its layers.
        unknown_share: Share of words that are read as unknown in training, so that the unknown word
            has a meaning.
    """

    model_type = "mner-word-tagger"

    vocabulary_size: int = 2
    character_count: int = 2
    word_width: int = 100
    character_width: int = 30
    spelling_width: int = 50
    lstm_width: int = 200
    lstm_layers: int = 1
    unknown_share: float = 0.05
    dropout: float = 0.5


class WordTagger(MnerModel):
    """Word embeddings, optionally with vectors read from characters, a BiLSTM and a CRF."""

    config_class = WordTaggerConfig
    characters: ClassVar[Literal["none", "cnn", "lstm"]] = "none"

    def __init__(self, config: WordTaggerConfig) -> None:
        super().__init__(config)
        self.word_embedding = nn.Embedding(config.vocabulary_size, config.word_width, padding_idx=0)
        width = config.word_width
        self.spelling: nn.Module | None = None
        if self.characters != "none":
            reader = CharacterCNN if self.characters == "cnn" else CharacterLSTM
            self.spelling = reader(config.character_count, config.character_width, config.spelling_width)
            width += config.spelling_width
        self.shape_embedding = WordShapeEmbedding(width) if config.word_shape else None
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BidirectionalLSTM(width, config.lstm_width, config.lstm_layers, config.dropout)
        self.decoder = TagDecoder(config.lstm_width, config.tags, config.scheme, crf=True)
        self.post_init()

    @property
    def inputs(self) -> Inputs:
        """Words, and characters and shapes where the model reads them."""
        return Inputs(words=True, characters=self.spelling is not None, shapes=self.config.word_shape)

    @classmethod
    def config_from(cls, sources: Sources) -> dict[str, Any]:
        """Sizes of the vocabulary, and the width of given word vectors."""
        if sources.vocabulary is None:
            raise UsageError("This model reads words and needs the vocabulary of its training posts.")
        fields: dict[str, Any] = {
            "vocabulary_size": sources.vocabulary.word_count,
            "character_count": sources.vocabulary.character_count,
        }
        if sources.vectors is not None:
            fields["word_width"] = sources.vectors[1].shape[1]
        return fields

    def fill_from(self, sources: Sources) -> None:
        """Put given word vectors in; other words keep their random start."""
        if sources.vectors is None or sources.vocabulary is None:
            return
        words, vectors = sources.vectors
        # Of several words that are folded into one, one that is written so comes first, then the first: files
        # of vectors begin with the most frequent words.
        ranked: dict[int, tuple[bool, int]] = {}
        for place, word in enumerate(words):
            index = sources.vocabulary.word(folded(word))
            if index != UNKNOWN:
                rank = (folded(word) != word, place)
                ranked[index] = min(rank, ranked.get(index, rank))
        with torch.no_grad():
            for index, (_, place) in ranked.items():
                self.word_embedding.weight[index] = torch.from_numpy(vectors[place])

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`."""
        del expose
        assert batch.words is not None
        words = batch.words
        if self.training and self.config.unknown_share > 0:
            hidden = torch.rand(words.shape, device=words.device) < self.config.unknown_share
            words = words.masked_fill(hidden & batch.word_mask, UNKNOWN)
        states = self.word_embedding(words)
        if self.spelling is not None:
            states = torch.cat((states, self.spelling(batch.characters)), dim=-1)
        if self.shape_embedding is not None:
            assert batch.word_shapes is not None
            states = states + self.shape_embedding(batch.word_shapes)
        states, _ = self.lstm(self.dropout(states), batch.word_mask)
        return self.decoder(self.dropout(states), batch)


@register("bilstm-crf", summary="word embeddings, BiLSTM, CRF", source="Huang et al. 2015")
class BilstmCrf(WordTagger):
    """Word embeddings, BiLSTM, CRF."""


@register("cnn-bilstm-crf", summary="words and a character CNN, BiLSTM, CRF", source="Ma and Hovy 2016")
class CnnBilstmCrf(WordTagger):
    """Word embeddings and a character CNN, BiLSTM, CRF."""

    characters = "cnn"


@register("hbilstm-crf", summary="words and a character LSTM, BiLSTM, CRF", source="Lample et al. 2016")
class HbilstmCrf(WordTagger):
    """Word embeddings and a character LSTM, BiLSTM, CRF."""

    characters = "lstm"


@strict
class TextConfig(MnerConfig):
    """Configuration of the models that are a pre-trained encoder and a decoder.

    Args:
        text_config: Configuration of the text encoder.
        lstm_width: Width of a BiLSTM's states over the word states.
        longest_span: Most words of a span, for the model that classifies spans.
        span_width: Width of the span classifier's hidden layer; the encoder's where None.
    """

    model_type = "mner-text"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True)
    }

    text_config: dict | PreTrainedConfig | None = None
    lstm_width: int = 256
    longest_span: int = 16
    span_width: int | None = None


class RecurrentTagDecoder(nn.Module):
    """A BiLSTM over word states, then tags under a CRF.

    Args:
        width: Width of the word states.
        lstm_width: Width of the BiLSTM's states, both directions together.
        tags: The tags.
        scheme: Their scheme.
    """

    def __init__(self, width: int, lstm_width: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__()
        self.lstm = BidirectionalLSTM(width, lstm_width)
        self.tags = TagDecoder(lstm_width, tags, scheme, crf=True)

    def forward(self, states: torch.Tensor, batch: Batch) -> Output:
        """Word states (B, W, d) to an output."""
        read, _ = self.lstm(states, batch.word_mask)
        return self.tags(read, batch)


class TextModel(MnerModel):
    """A pre-trained encoder, the states of its words, and a decoder."""

    config_class = TextConfig

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config)
        if not isinstance(config.text_config, PreTrainedConfig):
            raise UsageError("The model's configuration has no text_config.")
        self.text_encoder = backbones.build_encoder(config.text_config)
        self.reader = WordReader(config)
        self.decoder = self.build_decoder(backbones.width_of(config.text_config))
        self.post_init()

    def build_decoder(self, width: int) -> nn.Module:
        """The decoder over word states of that width."""
        return TagDecoder(width, self.config.tags, self.config.scheme, crf=True)

    @property
    def inputs(self) -> Inputs:
        """Sub-words, and shapes where they are added."""
        return Inputs(subwords=True, shapes=self.config.word_shape)

    def read(self, batch: Batch) -> torch.Tensor:
        """The states of the words (B, W, d)."""
        encoded = self.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        return self.reader(encoded.last_hidden_state, batch)

    def forward(self, batch: Batch, expose: bool = False) -> Output:
        """Read a batch; see `MnerModel.forward`."""
        del expose
        return self.decoder(self.read(batch), batch)


@register("bert", summary="a pre-trained encoder, softmax over tags", source="Devlin et al. 2019")
class Bert(TextModel):
    """A pre-trained encoder and a softmax over tags."""

    def build_decoder(self, width: int) -> nn.Module:
        """Tags without scores of transitions."""
        return TagDecoder(width, self.config.tags, self.config.scheme, crf=False)


@register("bert-crf", summary="a pre-trained encoder, CRF", source="Devlin et al. 2019")
class BertCrf(TextModel):
    """A pre-trained encoder and a CRF."""


@register("bert-bilstm-crf", summary="a pre-trained encoder, BiLSTM, CRF", source="Devlin et al. 2019")
class BertBilstmCrf(TextModel):
    """A pre-trained encoder, a BiLSTM over its word states, and a CRF."""

    def build_decoder(self, width: int) -> nn.Module:
        """A BiLSTM and a CRF over its states."""
        config = self.config
        return RecurrentTagDecoder(width, config.lstm_width, config.tags, config.scheme)


@register("bert-span", summary="a pre-trained encoder, span classifier", source="Yamada et al. 2020")
class BertSpan(TextModel):
    """A pre-trained encoder and a classifier of spans."""

    def build_decoder(self, width: int) -> nn.Module:
        """Spans up to a length."""
        config = self.config
        return SpanDecoder(width, len(config.labels), config.longest_span, config.span_width, config.dropout)

    @property
    def inputs(self) -> Inputs:
        """Sub-words, shapes, and gold as spans."""
        return Inputs(subwords=True, shapes=self.config.word_shape, target="spans")
