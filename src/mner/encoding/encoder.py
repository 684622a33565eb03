"""The one way from posts to a batch, for training, evaluation, prediction and serving alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from mner.encoding.batch import Batch, TokenBlock
from mner.encoding.label_words import encode_label_words
from mner.encoding.pictures import PictureInputs, PictureReader, Preprocessing
from mner.encoding.subwords import LONGEST_WORD, SubwordTable
from mner.encoding.vocabulary import Vocabulary
from mner.encoding.windows import choose_windows, plan_windows
from mner.errors import UsageError, did_you_mean
from mner.nn.word_shape import FEATURES, word_shapes
from mner.posts import Post
from mner.tags import Convention, Scheme, scheme_named, tag_names, to_tags


@dataclass(frozen=True)
class Inputs:
    """What a model wants to see in a batch.

    Args:
        subwords: Windows of sub-words.
        shapes: Word shapes.
        words: Indices of words in a vocabulary.
        characters: Indices of characters in a vocabulary.
        target: What gold is written as: ``tags`` or ``spans``.
        knowledge: Kinds of text beside the post, with the most sub-words of each.
        alternatives: For a kind of `knowledge` the kinds that may stand for it, of which the first that a
            post has is taken; a kind that is not named here stands for itself. ``alt`` is the picture's
            alternative text.
        appended: Kinds of `knowledge` whose texts are also written behind the words of every window. Their
            room is set aside, so that they never push out words.
        relevance: How much the picture has to do with the text.
        picture: Which parts of the picture.
        label_words: Words that stand for the types, by type.
    """

    subwords: bool = False
    shapes: bool = False
    words: bool = False
    characters: bool = False
    target: Literal["tags", "spans"] = "tags"
    knowledge: Mapping[str, int] = field(default_factory=dict)
    alternatives: Mapping[str, Sequence[str]] = field(default_factory=dict)
    appended: Sequence[str] = ()
    relevance: bool = False
    picture: PictureInputs | None = None
    label_words: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class EncodingSettings:
    """How posts are encoded; saved with the model.

    Args:
        max_length: Most sub-words of a window, special ones included.
        overlap: Sub-words that neighbouring windows of a long post share at least.
        longest_spelling: Characters of a word that are read, for models that read characters.
    """

    max_length: int = 512
    overlap: int = 64
    longest_spelling: int = 24


class PostEncoder:
    """Turns posts into batches.

    Args:
        labels: The types, in the model's order.
        scheme: Name of the tag scheme in which tags are written.
        inputs: What the model wants.
        settings: How to encode.
        tokenizer: A fast tokenizer, for models that read sub-words.
        vocabulary: Words and characters, for models that read those.
        capacity: Most sub-words the encoder takes at once; bounds `settings.max_length`.
        preprocessing: How pixels become numbers, for models that see pictures.

    Raises:
        UsageError: The model wants sub-words or a vocabulary and none is given, or a window is too short.
    """

    def __init__(
        self,
        labels: Sequence[str],
        scheme: str,
        inputs: Inputs,
        settings: EncodingSettings,
        tokenizer: PreTrainedTokenizerBase | None = None,
        vocabulary: Vocabulary | None = None,
        capacity: int | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if inputs.subwords and tokenizer is None:
            raise UsageError("This model reads sub-words and needs a tokenizer.")
        if (inputs.words or inputs.characters) and vocabulary is None:
            raise UsageError("This model reads words and needs a vocabulary.")
        self.labels = tuple(labels)
        self.scheme: Scheme = scheme_named(scheme)
        self.tags = tag_names(self.labels, self.scheme)
        self.inputs = inputs
        self.settings = settings
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.counts: Counter[str] = Counter()
        self.pictures: PictureReader | None = None
        if inputs.picture is not None:
            if preprocessing is None:
                raise UsageError("This model sees pictures and has to know how pixels become numbers.")
            self.pictures = PictureReader(inputs.picture, preprocessing, self.counts)
        self._tag_ids = {tag: index for index, tag in enumerate(self.tags)}
        self._label_ids = {label: index for index, label in enumerate(self.labels)}
        self.subwords: SubwordTable | None = None
        if tokenizer is not None:
            window = settings.max_length if capacity is None else min(settings.max_length, capacity)
            special = tokenizer.num_special_tokens_to_add(pair=False)
            reserved = special + sum(inputs.knowledge[kind] for kind in inputs.appended)
            self.room = window - reserved
            self.longest_text = window
            if self.room < 4:
                raise UsageError(
                    "A window of that length holds no words.",
                    expected=f"a max_length of at least {reserved + 4}",
                    got=f"{window}, of which {reserved} are for special and appended sub-words",
                )
            self.overlap = min(settings.overlap, self.room // 2)
            self.subwords = SubwordTable(tokenizer, min(LONGEST_WORD, self.room))
        self._label_words: tuple[TokenBlock, Tensor] | None = None
        if inputs.label_words:
            if self.subwords is None:
                raise UsageError("Label words need a tokenizer.")
            # They are the same in every batch.
            self._label_words = encode_label_words(inputs.label_words, self.labels, self.subwords)

    def forget(self) -> None:
        """Forget what words became in the tokenizer; it is found out again when they come back."""
        if self.subwords is not None:
            self.subwords.forget()

    def lengths(self, posts: Sequence[Post]) -> list[int]:
        """The length of each post as far as computing it goes: in sub-words, or else in words."""
        if self.subwords is None or not self.inputs.subwords:
            return [len(post.words) for post in posts]
        self.subwords.learn(word for post in posts for word in post.words)
        lookup = self.subwords.lookup
        sizes = [sum(map(len, lookup(post.words))) for post in posts]
        for kind in self.inputs.appended:
            pieces = self._pieces(self._texts(posts, kind), self.inputs.knowledge[kind])
            sizes = [size + len(piece) for size, piece in zip(sizes, pieces, strict=True)]
        return sizes

    def encode(
        self,
        posts: Sequence[Post],
        *,
        labelled: bool = False,
        convention: Convention | str = Convention.CONLL,
        draw: tuple[int, int] | None = None,
    ) -> Batch:
        """Posts as one batch.

        Args:
            posts: The posts; one without any words gets an empty row.
            labelled: Write gold into the batch, as tags or spans as the model wants.
            convention: What stray tags mean in gold.
            draw: In training, a seed and an epoch from which what is random is drawn.

        Raises:
            DataError: Gold is wanted and a post has none.
            UsageError: Gold has a type that the model does not know.
        """
        count = len(posts)
        widest = max((len(post.words) for post in posts), default=0) or 1
        lengths = np.fromiter((len(post.words) for post in posts), dtype=np.int64, count=count)
        mask = np.arange(widest) < lengths[:, None]
        batch = Batch(word_mask=torch.from_numpy(mask))
        texts = {
            kind: self._pieces(self._texts(posts, kind), budget, counted=True)
            for kind, budget in self.inputs.knowledge.items()
        }
        if self.inputs.subwords:
            self._add_subwords(batch, posts, mask, [texts[kind] for kind in self.inputs.appended])
        if self.inputs.shapes:
            shapes = np.zeros((count, widest, len(FEATURES)), dtype=np.int64)
            flat = [shape for post in posts for shape in word_shapes(post.words)]
            if flat:
                shapes[mask] = np.asarray(flat, dtype=np.int64)
            batch.word_shapes = torch.from_numpy(shapes)
        if self.inputs.words:
            assert self.vocabulary is not None
            lookup = self.vocabulary.word
            batch.words = _padded(mask, [lookup(word) for post in posts for word in post.words])
        if self.inputs.characters:
            batch.characters = self._characters(posts, mask)
        for kind, pieces in texts.items():
            batch.knowledge[kind] = self._framed(pieces)
        if self.inputs.relevance:
            scores = [_relevance_of(post) for post in posts]
            batch.relevance = torch.tensor([score or 0.0 for score in scores])
            batch.relevance_known = torch.tensor([score is not None for score in scores])
        if self.pictures is not None:
            batch.visual = self.pictures.read(posts, draw)
        if self._label_words is not None:
            batch.label_words, batch.label_word_types = self._label_words
        if labelled:
            self._add_gold(batch, posts, mask, convention)
        return batch

    def _add_subwords(
        self,
        batch: Batch,
        posts: Sequence[Post],
        mask: np.ndarray,
        appended: Sequence[Sequence[Sequence[int]]],
    ) -> None:
        assert self.subwords is not None
        table, room = self.subwords, self.room
        table.learn(word for post in posts for word in post.words)
        prefix, suffix = table.prefix, table.suffix
        rows: list[list[int]] = []
        post_of_row: list[int] = []
        word_rows: list[int] = []
        word_columns: list[int] = []
        for number, post in enumerate(posts):
            pieces = table.lookup(post.words)
            sizes = list(map(len, pieces))
            total = sum(sizes)
            if total <= room:
                row = list(prefix)
                columns = []
                for piece in pieces:
                    columns.append(len(row))
                    row.extend(piece)
                word_rows.extend([len(rows)] * len(pieces))
                word_columns.extend(columns)
                row.extend(suffix)
                rows.append(row)
                post_of_row.append(number)
                continue
            windows = plan_windows(sizes, room, self.overlap)
            chosen = choose_windows(sizes, windows)
            for index, (start, end) in enumerate(windows):
                row = list(prefix)
                for word in range(start, end):
                    if chosen[word] == index:
                        word_rows.append(len(rows))
                        word_columns.append(len(row))
                    row.extend(pieces[word])
                row.extend(suffix)
                rows.append(row)
                post_of_row.append(number)
        if appended:
            ends = list(map(len, rows))
            for row, number in zip(rows, post_of_row, strict=True):
                for texts in appended:
                    if texts[number]:
                        row.extend((*texts[number], *suffix))
            columns_of_rows = np.arange(max(map(len, rows), default=1))
            sizes_of_rows = np.asarray(list(map(len, rows)), dtype=np.int64).reshape(-1, 1)
            behind = columns_of_rows >= np.asarray(ends, dtype=np.int64).reshape(-1, 1)
            batch.appended = torch.from_numpy(behind & (columns_of_rows < sizes_of_rows))
        batch.input_ids, batch.attention_mask = _token_rows(rows, table.padding)
        batch.post_of_row = torch.tensor(post_of_row, dtype=torch.int64)
        batch.word_rows = _padded(mask, word_rows)
        batch.word_columns = _padded(mask, word_columns)

    def tokens(self, texts: Sequence[str | None], budget: int) -> TokenBlock:
        """Texts beside posts as rows of sub-words, cut to a budget; what is cut is counted.

        Args:
            texts: A text a row, or None.
            budget: Most sub-words of a row, special ones included.
        """
        return self._framed(self._pieces(texts, budget, counted=True))

    def _texts(self, posts: Sequence[Post], kind: str) -> list[str | None]:
        kinds = self.inputs.alternatives.get(kind, (kind,))
        return [_text_of(post, kinds) for post in posts]

    def _pieces(
        self, texts: Sequence[str | None], budget: int, *, counted: bool = False
    ) -> list[Sequence[int]]:
        # Sub-words without special ones, cut so that they fit into the budget with those.
        if self.subwords is None or self.tokenizer is None:
            raise UsageError("Texts beside a post need a tokenizer.")
        most = min(budget, self.longest_text) - len(self.subwords.prefix) - len(self.subwords.suffix)
        if most < 1:
            raise UsageError("The budget of a text beside the post holds no sub-word.", got=str(budget))
        present = [text for text in texts if text]
        encoded = (
            self.tokenizer(present, add_special_tokens=False, split_special_tokens=True, verbose=False)[
                "input_ids"
            ]
            if present
            else []
        )
        if counted:
            self.counts["texts"] += len(encoded)
            self.counts["texts cut"] += sum(len(ids) > most for ids in encoded)
        remaining = iter(encoded)
        return [next(remaining)[:most] if text else () for text in texts]

    def _framed(self, pieces: Sequence[Sequence[int]]) -> TokenBlock:
        assert self.subwords is not None
        prefix, suffix = self.subwords.prefix, self.subwords.suffix
        rows = [(*prefix, *ids, *suffix) if ids else () for ids in pieces]
        return TokenBlock(*_token_rows(rows, self.subwords.padding))

    def _characters(self, posts: Sequence[Post], mask: np.ndarray) -> Tensor:
        assert self.vocabulary is not None
        longest = self.settings.longest_spelling
        spellings = [self.vocabulary.spelling(word, longest) for post in posts for word in post.words]
        widest = max(map(len, spellings), default=1) or 1
        table = np.zeros((len(spellings), widest), dtype=np.int64)
        for row, spelling in zip(table, spellings, strict=True):
            row[: len(spelling)] = spelling
        characters = np.zeros((*mask.shape, widest), dtype=np.int64)
        characters[mask] = table
        return torch.from_numpy(characters)

    def _add_gold(
        self, batch: Batch, posts: Sequence[Post], mask: np.ndarray, convention: Convention | str
    ) -> None:
        spans = [post.gold_spans(convention) for post in posts]
        for label in {span.label for found in spans for span in found}:
            if label not in self._label_ids:
                raise UsageError(
                    f"Gold has the type {label!r}, which the model does not know.",
                    hint=did_you_mean(label, self.labels) + " A label_map in the recipe renames types.",
                )
        if self.inputs.target == "tags":
            ids = [
                self._tag_ids[tag]
                for post, found in zip(posts, spans, strict=True)
                for tag in to_tags(found, len(post.words), self.scheme)
            ]
            batch.tags = _padded(mask, ids)
        else:
            rows = [
                (number, span.start, span.end, self._label_ids[span.label])
                for number, found in enumerate(spans)
                for span in found
            ]
            batch.spans = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)


def _padded(mask: np.ndarray, values: Iterable[int]) -> Tensor:
    array = np.zeros(mask.shape, dtype=np.int64)
    array[mask] = np.fromiter(values, dtype=np.int64)
    return torch.from_numpy(array)


def _token_rows(rows: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    widest = int(sizes.max(initial=1)) or 1
    mask = np.arange(widest) < sizes[:, None]
    ids = np.full(mask.shape, padding, dtype=np.int64)
    ids[mask] = np.fromiter((piece for row in rows for piece in row), dtype=np.int64, count=int(sizes.sum()))
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _text_of(post: Post, kinds: Sequence[str]) -> str | None:
    for kind in kinds:
        known = post.known(kind)
        text = post.alt if kind == "alt" else known and known.text
        if text and text.strip():
            return text
    return None


def _relevance_of(post: Post) -> float | None:
    known = post.known("relevance")
    return known.score if known is not None else None
