"""WordNet's nouns, read from its own files: glosses, senses in order, named instances, what is above what.

The reader needs ``data.noun`` and ``index.noun`` in the format of wndb(5WN), as Debian's package
``wordnet-base`` and nltk's corpus have them; ``noun.exc`` (irregular plurals) and ``cntlist.rev`` (how
often a sense was tagged) are used where they lie beside. A synset's name is its byte offset in
``data.noun``, so nothing is parsed before it is asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mner.errors import DataError, MnerError, shown

# Lexicographer files of nouns by number: lexnames(5WN). Debian does not ship that table.
CATEGORIES = {
    3: "top", 4: "act", 5: "animal", 6: "artifact", 7: "attribute", 8: "body", 9: "cognition",
    10: "communication", 11: "event", 12: "feeling", 13: "food", 14: "group", 15: "location",
    16: "motive", 17: "object", 18: "person", 19: "phenomenon", 20: "plant", 21: "possession",
    22: "process", 23: "quantity", 24: "relation", 25: "shape", 26: "state", 27: "substance", 28: "time",
}  # fmt: skip

_HYPERNYM, _INSTANCE_OF = "@", "@i"
_HYPONYM, _INSTANCE = "~", "~i"
_DERIVED = frozenset("+;-!")

# morphy(7WN): endings of regular plurals and what they stand for.
_DETACHMENTS = (
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
    ("ies", "y"),
)  # fmt: skip


class WordNetError(DataError):
    """A file is not WordNet's, or is damaged."""


@dataclass(frozen=True, slots=True)
class Synset:
    """A meaning and the words for it.

    Args:
        offset: Where it stands in ``data.noun``; its name.
        category: The lexicographer file, such as ``person`` or ``location``.
        words: The words for it, with spaces and case, most usual first.
        sense_keys: The words' sense keys without the last two fields, as ``cntlist.rev`` begins them.
        gloss: The definition, without examples.
        examples: The example sentences.
        hypernyms: What it is a kind of.
        instance_of: What it is a named instance of.
        hyponyms: Kinds of it.
        instances: Named instances of it.
        related: Parts, wholes, members and attributes.
    """

    offset: int
    category: str
    words: tuple[str, ...]
    sense_keys: tuple[str, ...]
    gloss: str
    examples: tuple[str, ...]
    hypernyms: tuple[int, ...]
    instance_of: tuple[int, ...]
    hyponyms: tuple[int, ...]
    instances: tuple[int, ...]
    related: tuple[int, ...]

    @property
    def is_instance(self) -> bool:
        """Whether it is one named thing (a person, a city) and not a kind."""
        return bool(self.instance_of)


def wordnet_folders() -> list[Path]:
    """Where WordNet is looked for: Debian's folder, then the places of nltk's data."""
    roots = [Path.home(), Path(sys.prefix), Path(sys.prefix) / "share", Path("/usr/share"),
             Path("/usr/local/share"), Path("/usr/lib"), Path("/usr/local/lib")]  # fmt: skip
    return [Path("/usr/share/wordnet")] + [root / "nltk_data/corpora/wordnet" for root in roots]


def find_wordnet() -> Path | None:
    """The folder of an installed WordNet, or None."""
    return next((folder for folder in wordnet_folders() if (folder / "data.noun").is_file()), None)


class WordNet:
    """The nouns of a WordNet.

    Args:
        folder: Its folder; None looks in the usual places.

    Raises:
        NoWordNetError: No folder is given and none is found.
        WordNetError: The folder has no ``data.noun`` and ``index.noun``.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        found = find_wordnet() if folder is None else Path(folder)
        if found is None:
            raise NoWordNetError
        self.folder = found
        self._data = self._read("data.noun")
        self._index_text = self._read("index.noun")

    def _read(self, name: str) -> bytes:
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise WordNetError(
                f"The folder {shown(self.folder)} is not a WordNet.",
                expected="data.noun and index.noun, as Debian's wordnet-base or nltk's copy have them",
                got=str(error),
            ) from error
        if b"\r\n" in content[:4096]:
            raise WordNetError(
                f"The file {self.folder / name} has Windows line ends, which move every offset in it.",
                hint="Copy it again as a binary file.",
            )
        return content

    @cached_property
    def _index(self) -> dict[str, tuple[int, ...]]:
        # lemma pos synset_cnt p_cnt [symbol]*p_cnt sense_cnt tagsense_cnt offset*synset_cnt, most usual first
        index = {}
        for line in self._index_text.decode("utf-8").split("\n"):
            if not line or line[0] == " ":
                continue
            fields = line.split()
            index[fields[0]] = tuple(map(int, fields[-int(fields[2]) :]))
        return index

    @cached_property
    def _exceptions(self) -> dict[str, tuple[str, ...]]:
        path = self.folder / "noun.exc"
        if not path.is_file():
            return {}
        lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return {fields[0]: tuple(fields[1:]) for fields in lines if fields}

    @cached_property
    def _counts(self) -> dict[str, int]:
        path = self.folder / "cntlist.rev"
        if not path.is_file():
            return {}
        counts: dict[str, int] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, count = line.split()
            counts[key] = int(count)
        return counts

    def synset(self, offset: int) -> Synset:
        """The synset at an offset.

        Raises:
            WordNetError: No synset begins there.
        """
        end = self._data.find(b"\n", offset)
        line = self._data[offset : end if end >= 0 else None]
        if not line.startswith(b"%08d " % offset):
            raise WordNetError(
                f"There is no synset at {offset} in {self.folder / 'data.noun'}.",
                expected="a line that begins with its own byte offset",
                got=shown(line[:20].decode("utf-8", "replace")),
                hint="Take data.noun and index.noun from the same release, unchanged.",
            )
        return _parse(line.decode("utf-8"))

    def __iter__(self) -> Iterator[Synset]:
        """All synsets, in the file's order."""
        for line in self._data.decode("utf-8").split("\n"):
            if line and line[0] != " ":
                yield _parse(line)

    def lemma(self, word: str) -> str | None:
        """The form under which WordNet lists a word, or None: regular and irregular plurals are undone."""
        plain = "_".join(word.lower().split())
        if plain in self._index:
            return plain
        for base in self._exceptions.get(plain, ()):
            if base in self._index:
                return base
        for ending, replacement in _DETACHMENTS:
            base = plain.removesuffix(ending) + replacement
            if plain.endswith(ending) and len(base) > 1 and base in self._index:
                return base
        return None

    def synsets(self, word: str) -> tuple[Synset, ...]:
        """The meanings of a word or name, the most usual first; none where it is not listed."""
        lemma = self.lemma(word)
        return () if lemma is None else tuple(map(self.synset, self._index[lemma]))

    def named(self, name: str) -> tuple[Synset, ...]:
        """The named instances that bear exactly that name, whatever its case."""
        wanted = " ".join(name.lower().split())
        return tuple(
            synset
            for offset in self._index.get(wanted.replace(" ", "_"), ())
            if (synset := self.synset(offset)).is_instance
            and any(word.lower() == wanted for word in synset.words)
        )

    def instances(self, category: str | None = None) -> list[Synset]:
        """All named instances, or those of one category (``person``, ``location``, ``group`` ...)."""
        found = []
        for match in re.finditer(rb"^\d{8} [^|\n]* @i [^\n]*", self._data, re.MULTILINE):
            synset = _parse(match.group().decode("utf-8"))
            if category is None or synset.category == category:
                found.append(synset)
        return found

    def hypernym_paths(self, synset: Synset) -> list[tuple[Synset, ...]]:
        """Every way up: from what stands directly above a synset to the root."""
        above = synset.hypernyms + synset.instance_of
        paths: list[tuple[Synset, ...]] = []
        for offset in above:
            parent = self.synset(offset)
            paths.extend((parent, *rest) for rest in self.hypernym_paths(parent) or [()])
        return paths

    def is_a(self, synset: Synset, ancestor: Synset) -> bool:
        """Whether a synset is `ancestor`, a kind of it or a named instance of it."""
        waiting = [synset.offset]
        while waiting:
            offset = waiting.pop()
            if offset == ancestor.offset:
                return True
            here = self.synset(offset)
            waiting.extend(here.hypernyms + here.instance_of)
        return False

    def kinds(self, synset: Synset, depth: int = 1) -> list[tuple[Synset, int]]:
        """The kinds of a synset down to a depth, each once and with its depth, breadth first."""
        seen = {synset.offset}
        level = [synset]
        found: list[tuple[Synset, int]] = []
        for distance in range(1, depth + 1):
            following = []
            for parent in level:
                for offset in parent.hyponyms:
                    if offset not in seen:
                        seen.add(offset)
                        following.append(self.synset(offset))
            found.extend((kind, distance) for kind in following)
            level = following
        return found

    @property
    def has_counts(self) -> bool:
        """Whether it is known how often meanings were tagged."""
        return bool(self._counts)

    def count(self, synset: Synset, word: int = 0) -> int:
        """How often a word of a synset was tagged with that meaning in WordNet's texts; 0 where unknown.

        Args:
            synset: The meaning.
            word: Which of its words.
        """
        return self._counts.get(f"{synset.sense_keys[word]}::", 0)


class NoWordNetError(MnerError):
    """WordNet is needed and not installed."""

    exit_status = 2

    def __init__(self) -> None:
        super().__init__(
            "WordNet is not installed.",
            hint="Install Debian's package wordnet-base (apt-get install wordnet-base) or nltk's corpus "
            "'wordnet', or give the folder that holds data.noun and index.noun.",
        )


def _parse(line: str) -> Synset:
    # offset lex_filenum ss_type w_cnt [word lex_id]... p_cnt [symbol offset pos source/target]... | gloss,
    # where w_cnt and lex_id are hexadecimal.
    try:
        data, _, gloss = line.partition("|")
        fields = data.split()
        number = int(fields[1])
        count = int(fields[3], 16)
        words, keys = [], []
        for position in range(4, 4 + 2 * count, 2):
            words.append(fields[position].replace("_", " "))
            keys.append(f"{fields[position].lower()}%1:{number:02d}:{int(fields[position + 1], 16):02d}")
        place = 4 + 2 * count
        pointers: dict[str, list[int]] = {}
        for position in range(place + 1, place + 1 + 4 * int(fields[place]), 4):
            symbol, target, part = fields[position : position + 3]
            if part == "n":
                pointers.setdefault(symbol, []).append(int(target))
    except (ValueError, IndexError) as error:
        raise WordNetError(
            "A line of data.noun is not of its format.", expected="wndb(5WN)", got=shown(line)
        ) from error
    definition, examples = _read_gloss(gloss)
    known = (_HYPERNYM, _INSTANCE_OF, _HYPONYM, _INSTANCE)
    related = [
        target
        for symbol, targets in pointers.items()
        if symbol not in known and symbol[0] not in _DERIVED
        for target in targets
    ]
    return Synset(
        offset=int(fields[0]),
        category=CATEGORIES.get(number, str(number)),
        words=tuple(words),
        sense_keys=tuple(keys),
        gloss=definition,
        examples=examples,
        hypernyms=tuple(pointers.get(_HYPERNYM, ())),
        instance_of=tuple(pointers.get(_INSTANCE_OF, ())),
        hyponyms=tuple(pointers.get(_HYPONYM, ())),
        instances=tuple(pointers.get(_INSTANCE, ())),
        related=tuple(dict.fromkeys(related)),
    )


def _read_gloss(gloss: str) -> tuple[str, tuple[str, ...]]:
    examples = tuple(re.findall(r'"([^"]+)"', gloss))
    definition = gloss.split('; "')[0].strip()
    return definition, examples
