"""Vocabularies of words and characters, for the models that read no sub-words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mner.errors import DataError, shown
from mner.posts import Post

PADDING, UNKNOWN = 0, 1


def folded(word: str) -> str:
    """The form under which a word is kept: lower case, digits as zeros (case is the word shape's matter)."""
    return "".join("0" if character.isdigit() else character for character in word.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words and characters with their indices; 0 is padding and 1 is what was never seen.

    Args:
        words: Folded words, from index 2 on.
        characters: Characters, from index 2 on.
    """

    words: tuple[str, ...]
    characters: tuple[str, ...]
    _words: dict[str, int] = field(init=False, repr=False, compare=False)
    _characters: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_words", {word: index for index, word in enumerate(self.words, 2)})
        object.__setattr__(
            self, "_characters", {character: index for index, character in enumerate(self.characters, 2)}
        )

    @classmethod
    def of_posts(
        cls,
        posts: Iterable[Post],
        *,
        extra_words: Iterable[str] = (),
        rarest_word: int = 1,
        rarest_character: int = 2,
    ) -> Vocabulary:
        """The vocabulary of training posts.

        Args:
            posts: The training posts.
            extra_words: Further words to know, such as those of a file of word vectors.
            rarest_word: How often a word must occur.
            rarest_character: How often a character must occur.
        """
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        for post in posts:
            words.update(map(folded, post.words))
            for word in post.words:
                characters.update(word)
        kept = [word for word, count in words.most_common() if count >= rarest_word]
        kept = list(dict.fromkeys((*kept, *map(folded, extra_words))))
        return cls(
            words=tuple(kept),
            characters=tuple(c for c, count in characters.most_common() if count >= rarest_character),
        )

    def word(self, word: str) -> int:
        """The index of a word."""
        return self._words.get(folded(word), UNKNOWN)

    def spelling(self, word: str, longest: int) -> list[int]:
        """The indices of a word's first `longest` characters."""
        known = self._characters
        return [known.get(character, UNKNOWN) for character in word[:longest]]

    @property
    def word_count(self) -> int:
        """Number of word indices, padding and unknown included."""
        return len(self.words) + 2

    @property
    def character_count(self) -> int:
        """Number of character indices, padding and unknown included."""
        return len(self.characters) + 2


def read_vectors(path: Path, most: int | None = None) -> tuple[list[str], np.ndarray]:
    """Read word vectors from a text file as GloVe and word2vec write them.

    Args:
        path: A line a word: the word and its numbers, separated by spaces; word2vec's first line, which
            gives the number of words and their width, is recognised.
        most: Read at most so many words.

    Returns:
        The words and their vectors (words, width), float32.

    Raises:
        DataError: The file is not there or a line does not fit; the message names the line.
    """
    if not path.is_file():
        raise DataError(
            f"There is no file of word vectors {shown(path)}.",
            hint="Name a text file as GloVe or word2vec write them, or leave the setting out.",
        )
    words: list[str] = []
    rows: list[np.ndarray] = []
    width = 0
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            parts = line.rstrip("\r\n ").split(" ")
            if number == 1 and len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit():
                continue
            if not width:
                width = len(parts) - 1
            # Some published files have words with spaces in them; the numbers stand at the end.
            word, numbers = " ".join(parts[: len(parts) - width]), parts[len(parts) - width :]
            try:
                vector = np.asarray(numbers, dtype=np.float32)
            except ValueError:
                vector = np.empty(0, dtype=np.float32)
            if not width or not word or vector.shape != (width,) or not np.isfinite(vector).all():
                raise DataError(
                    f"{path}, line {number}: not a word and its vector.",
                    expected=f"a word and {width or 'some'} numbers, separated by spaces",
                    got=shown(line.rstrip(), 60),
                )
            words.append(word)
            rows.append(vector)
            if most is not None and len(words) >= most:
                break
    if not rows:
        raise DataError(f"The file of word vectors {shown(path)} is empty.")
    return words, np.stack(rows)
