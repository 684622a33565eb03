"""Words to sub-words, a word at a time and once a word.

Words handed to a fast tokenizer are tokenised independently of their neighbours, so what a word becomes
can be kept. A word that the tokenizer drops (a lone variation selector, say) becomes the unknown token:
every word keeps a state of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from mner.errors import BackboneError

# A word of more sub-words is cut: its first one stands for it, and no name is that long.
LONGEST_WORD = 64
REMEMBERED_WORDS = 20_000


class SubwordTable:
    """What each word becomes in a tokenizer's vocabulary.

    Args:
        tokenizer: A fast tokenizer.
        longest_word: Sub-words a word is cut to.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, longest_word: int = LONGEST_WORD) -> None:
        if tokenizer.unk_token_id is None and tokenizer.pad_token_id is None:
            raise BackboneError(
                "The tokenizer has neither an unknown nor a padding token.",
                expected="a token for words that it drops",
                got=type(tokenizer).__name__,
            )
        self.tokenizer = tokenizer
        self.longest_word = longest_word
        unknown = tokenizer.unk_token_id
        self.unknown = int(unknown if unknown is not None else tokenizer.pad_token_id)
        # The padding of rows is masked, so any id does where the tokenizer has none of its own.
        self.padding = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.unknown)
        self.prefix, self.suffix = self._frame()
        self._known: dict[str, tuple[int, ...]] = {}

    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        # The special tokens before and behind a text are those around a word in its own encoding.
        bare = self.tokenizer(["a"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        framed = self.tokenizer(["a"], is_split_into_words=True)["input_ids"]
        for start in range(len(framed) - len(bare) + 1):
            if framed[start : start + len(bare)] == bare:
                return tuple(framed[:start]), tuple(framed[start + len(bare) :])
        raise BackboneError(
            "The tokenizer changes words when it adds special tokens.",
            expected="a prefix and a suffix of special tokens",
            got=f"{bare} and {framed}",
        )

    def learn(self, words: Iterable[str]) -> None:
        """Tokenise all words not seen before, in one call; afterwards all of `words` are known."""
        wanted = dict.fromkeys(words)
        if len(self._known) + len(wanted) > REMEMBERED_WORDS:
            self._known.clear()
        new = [word for word in wanted if word not in self._known]
        if not new:
            return
        encoded = self.tokenizer(
            [[word] for word in new],
            is_split_into_words=True,
            add_special_tokens=False,
            # A word that is written like a special token is a word all the same.
            split_special_tokens=True,
            verbose=False,
        )["input_ids"]
        for word, ids in zip(new, encoded, strict=True):
            self._known[word] = tuple(ids[: self.longest_word])

    def forget(self) -> None:
        """Forget all words."""
        self._known.clear()

    def lookup(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The sub-words of each word, at least one each."""
        known = self._known
        try:
            found = [known[word] for word in words]
        except KeyError:
            self.learn(words)
            found = [known[word] for word in words]
        return [ids or (self.unknown,) for ids in found]

    def vanishes(self, word: str) -> bool:
        """Whether the tokenizer drops the word."""
        self.learn((word,))
        return not self._known[word]
