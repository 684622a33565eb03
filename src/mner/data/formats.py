"""The formats of annotated files as a table, and how a file's format is recognised by its content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mner.errors import DataError, UsageError, did_you_mean, shown
from mner.tags import BIO, BIOES, IOB1, Scheme, guess_scheme

IDENTIFIER = "IMGID:"
DOCUMENT_START = "-DOCSTART-"
# How many lines with words are looked at to recognise a format.
SAMPLE = 400


@dataclass(frozen=True)
class Format:
    """How a file says what its posts are.

    Args:
        name: What the user calls it.
        description: One line for messages and help.
        aliases: Other names for it.
        suffixes: Ends of file names that belong to it alone.
    """

    name: str
    description: str
    aliases: tuple[str, ...] = field(default=(), kw_only=True)
    suffixes: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class ColumnFormat(Format):
    """One word a line, the word in the first column and its tag in the last, a blank line after a post.

    Args:
        separator: What stands between columns; None where each file may have its own.
        columns: How many columns a line has; None where each file may have its own.
        identified: Whether each post starts with a line ``IMGID:<id>``.
        joiner: What stands between two words in the post's text.
        documents: Whether lines that start with ``-DOCSTART-`` separate documents.
        schemes: The tag schemes that files of this format use; the first is the usual one.
        extension: The end of the names of its pictures' files, looked for first.
    """

    separator: str | None = None
    columns: int | None = None
    identified: bool = False
    joiner: str = " "
    documents: bool = False
    schemes: tuple[Scheme, ...] = (BIO, BIOES)
    extension: str = ".jpg"

    def scheme_of(self, rows: Sequence[Sequence[str]]) -> Scheme:
        """The scheme in which these rows of tags are written."""
        guess = guess_scheme(rows)
        return guess if guess in self.schemes else self.schemes[0]


TWITTER = ColumnFormat(
    "twitter",
    "an IMGID:<id> line a post, then word TAB tag (Twitter-2015, Twitter-2017, GMNER)",
    separator="\t",
    columns=2,
    identified=True,
    aliases=("twitter2015", "twitter2017", "gmner"),
)
CP_MNER = ColumnFormat(
    "cp_mner",
    "an IMGID:<id> line a post, then character SPACE tag; the characters join to the text (CP-MNER)",
    separator=" ",
    columns=2,
    identified=True,
    joiner="",
)
CONLL2003 = ColumnFormat(
    "conll2003",
    "word, part of speech, chunk and tag, separated by spaces, with -DOCSTART- lines (CoNLL-2003)",
    separator=" ",
    columns=4,
    documents=True,
    schemes=(IOB1, BIO, BIOES),
)
WNUT17 = ColumnFormat(
    "wnut17",
    "word TAB tag; blank lines may hold a TAB (WNUT-17)",
    separator="\t",
    columns=2,
)
CROSSNER = ColumnFormat(
    "crossner",
    "word TAB tag, a blank line between sentences (CrossNER and many others)",
    separator="\t",
    columns=2,
)
CONLL = ColumnFormat(
    "conll",
    "the word in the first column and the tag in the last, any number of columns between",
    documents=True,
    schemes=(BIO, IOB1, BIOES),
)
JSONL = Format(
    "jsonl",
    "one JSON object a line: id, text or words, image, alt, entities by characters",
    suffixes=(".jsonl", ".ndjson", ".json"),
)
FORMATS: dict[str, Format] = {
    found.name: found for found in (TWITTER, CP_MNER, CONLL2003, WNUT17, CROSSNER, CONLL, JSONL)
}

# What a split's file is called, without an ending or with one of ENDINGS, in any case.
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "eng.train", "wnut17train"),
    "valid": ("valid", "validation", "val", "dev", "development", "testa", "eng.testa", "emerging.dev"),
    "test": ("test", "testb", "eng.testb", "emerging.test"),
}
ENDINGS = ("", ".txt", ".conll", ".tsv", ".bio", ".iob", ".iob2", ".annotated", *JSONL.suffixes)


def split_of(name: str) -> str | None:
    """The split that a file of this name holds by custom, or None."""
    for split, stems in SPLIT_NAMES.items():
        for stem in stems:
            if name.lower().startswith(stem) and name.lower()[len(stem) :] in ENDINGS:
                return split
    return None


def split_named(name: str) -> str:
    """A split's own name for one of its customary names: ``dev`` and ``validation`` give ``valid``."""
    for split, stems in SPLIT_NAMES.items():
        if name.lower() in stems:
            return split
    return name


def format_named(name: str | Format) -> Format:
    """The format of that name or alias.

    Raises:
        UsageError: No format is called that; the message names the nearest.
    """
    if isinstance(name, Format):
        return name
    for known in FORMATS.values():
        if name.lower() in (known.name, *known.aliases):
            return known
    names = [alias for known in FORMATS.values() for alias in (known.name, *known.aliases)]
    raise UsageError(f"There is no data format {name!r}.", hint=did_you_mean(name, names))


def recognise(text: str, path: Path, wanted: str | Format | None = None) -> Format:
    """The format of a file, with separator and number of columns filled in.

    Args:
        text: The file's text.
        path: Where it came from: its name can tell JSONL and WNUT-17.
        wanted: The format that the user named; then only what it leaves open is looked for.

    Raises:
        DataError: The text has no columns.
    """
    if wanted is None and path.suffix.lower() in JSONL.suffixes:
        return JSONL
    named = format_named(wanted) if wanted is not None else None
    if named is not None and not isinstance(named, ColumnFormat):
        return named
    facts = _Facts(text)
    if named is None:
        if facts.first.startswith("{") and not facts.first.startswith(("{\t", "{ O", "{ B-", "{ I-")):
            return JSONL
        named = facts.suits(path)
    if named.separator is not None and named.columns is not None:
        return named
    return facts.fill(named, path)


class _Facts:
    """What the first lines of a file look like."""

    def __init__(self, text: str) -> None:
        self.first = ""
        lines: list[str] = []
        self.tab_in_blank = self.documents = False
        start = 0
        # Not text.split: the file may be long and only its beginning is looked at.
        while start <= len(text) and len(lines) < SAMPLE:
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            line = text[start:end].removesuffix("\r")
            start = end + 1
            if not line.strip(" \t"):
                self.tab_in_blank |= "\t" in line
                continue
            self.first = self.first or line
            if line.startswith(DOCUMENT_START):
                self.documents = True
            elif not line.startswith(IDENTIFIER):
                lines.append(line)
        self.identified = self.first.startswith(IDENTIFIER)
        tabs = sum("\t" in line for line in lines)
        spaces = sum(" " in line for line in lines)
        self.separator = "\t" if tabs and tabs >= spaces else " " if spaces else None
        self.columns = 0
        self.by_characters = False
        if self.separator is not None:
            counts = Counter(line.count(self.separator) + 1 for line in lines)
            self.columns = counts.most_common(1)[0][0]
            words = [line.split(self.separator)[0] for line in lines]
            # Numbers and Latin letters stand a character a line too, in a text that is mostly not those.
            alone = sum(len(word) == 1 for word in words)
            foreign = sum(len(word) == 1 and word > "\u2e80" for word in words)
            self.by_characters = alone >= 0.8 * len(words) and foreign >= 0.4 * len(words)

    def suits(self, path: Path) -> ColumnFormat:
        shape = (self.identified, self.separator, self.columns)
        if shape == (True, "\t", 2):
            return TWITTER
        if shape == (True, " ", 2) and self.by_characters:
            return CP_MNER
        if shape == (False, " ", 4):
            return CONLL2003
        if shape == (False, "\t", 2) and not self.documents:
            own_name = path.name.lower().startswith(("wnut17", "emerging."))
            return WNUT17 if self.tab_in_blank or own_name else CROSSNER
        return CONLL

    def fill(self, named: ColumnFormat, path: Path) -> ColumnFormat:
        if self.separator is None or self.columns < 2:
            raise DataError(
                f"{path} is not in any known format.",
                expected="a word and a tag in columns separated by a TAB or a space on each line, "
                "or JSON objects, one a line",
                got=shown(self.first),
                hint=f"Known formats: {', '.join(FORMATS)}.",
            )
        return replace(
            named,
            separator=self.separator,
            columns=self.columns,
            identified=self.identified,
            joiner="" if self.by_characters else " ",
        )
