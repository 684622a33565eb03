"""Files of columns: a word and its tag a line, a blank line after each post."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from mner.data.files import place
from mner.data.formats import DOCUMENT_START, IDENTIFIER, ColumnFormat
from mner.data.pictures import PictureFolder
from mner.errors import DataError, TagError, shown
from mner.posts import Post
from mner.tags import Scheme, parse

_SHOWN_SEPARATOR = {"\t": "a TAB", " ": "a space"}


class Row(NamedTuple):
    """A post as a column file has it."""

    id: str | None
    words: list[str]
    tags: list[str]


@dataclass(frozen=True)
class ColumnFile:
    """A column file, read but not yet understood: what its tags mean depends on their scheme.

    Args:
        path: The file.
        format: How it is written.
        rows: Its posts.
        documents: How many document starts it has.
        first_lines: For every tag that occurs, the first line with it.
    """

    path: Path
    format: ColumnFormat
    rows: list[Row]
    documents: int
    first_lines: dict[str, int]

    def scheme(self) -> Scheme:
        """The scheme of its tags, as far as it alone can tell."""
        return self.format.scheme_of([row.tags for row in self.rows])

    def check_scheme(self, scheme: Scheme) -> None:
        """Check that every tag has a prefix of `scheme`.

        Raises:
            DataError: One has not; the message names its first line.
        """
        for tag, line in self.first_lines.items():
            prefix, _ = parse(tag)
            if prefix != "O" and prefix not in scheme.prefixes:
                raise DataError(
                    f"{place(self.path, line)}: a tag does not belong to the scheme {scheme.name}.",
                    expected=f"O or one of the prefixes {', '.join(scheme.prefixes)}",
                    got=shown(tag),
                    hint="Name the scheme in which the file is written, or leave it to be recognised.",
                )

    def posts(self, scheme: Scheme, pictures: PictureFolder | None = None) -> list[Post]:
        """Its posts, their tags kept as they stand.

        Args:
            scheme: What the tags are written in.
            pictures: Where the pictures of posts with an id are.
        """
        posts = []
        for identity, words, tags in self.rows:
            image, problem = None, None
            if identity is not None:
                image, problem = (
                    pictures.find(identity, self.format.extension)
                    if pictures is not None
                    else (None, "no folder of pictures was given or found beside the file")
                )
            posts.append(
                Post.from_words(
                    words,
                    joiner=self.format.joiner,
                    id=identity or "",
                    tags=tuple(tags),
                    scheme=scheme,
                    image=image,
                    image_problem=problem,
                )
            )
        return posts


def parse_columns(text: str, path: Path, layout: ColumnFormat) -> ColumnFile:
    """Read the text of a column file.

    Words are kept to the letter: a word may be a lone no-break space or a zero-width space. A carriage
    return at the end of a line belongs to the line's end.

    Args:
        text: The file's text without a byte order mark.
        path: The file, for messages.
        layout: A format whose separator and number of columns are known.

    Raises:
        DataError: A line is not what the format says; the message names file and line.
    """
    return _Parser(path, layout).parse(text)


class _Parser:
    def __init__(self, path: Path, layout: ColumnFormat) -> None:
        if layout.separator is None or layout.columns is None:
            raise ValueError("the layout must say its separator and number of columns")
        self.path = path
        self.layout = layout
        self.separator = layout.separator
        self.columns = layout.columns
        self.tags: dict[str, str] = {}
        self.first_lines: dict[str, int] = {}

    def parse(self, text: str) -> ColumnFile:
        layout, separator, columns, known = self.layout, self.separator, self.columns, self.tags
        # With two columns separated by spaces the word may itself be or hold a space: the last one counts.
        two_by_space = separator == " " and columns == 2
        rows: list[Row] = []
        identity: str | None = None
        words: list[str] = []
        tags: list[str] = []
        documents = 0
        for number, line in enumerate(text.split("\n"), start=1):
            if line.endswith("\r"):
                line = line[:-1]
            if not line or not line.strip(" \t"):
                if words or identity is not None:
                    rows.append(Row(identity, words, tags))
                    identity, words, tags = None, [], []
                continue
            if layout.identified and not words and identity is None:
                identity = self._identity(line, number)
                continue
            if layout.documents and line.startswith(DOCUMENT_START) and self._starts_document(line):
                documents += 1
                if words:
                    rows.append(Row(identity, words, tags))
                    identity, words, tags = None, [], []
                continue
            fields = line.rsplit(" ", 1) if two_by_space else line.split(separator)
            if len(fields) != columns:
                self._wrong_columns(line, number, len(fields))
            word, tag = fields[0], fields[-1]
            if not word:
                self._fail(number, "there is no word before the tag", "a word, then its tag", line)
            checked = known.get(tag)
            if checked is None:
                checked = self._new_tag(tag, line, number)
            words.append(word)
            tags.append(checked)
        if words or identity is not None:
            rows.append(Row(identity, words, tags))
        return ColumnFile(self.path, layout, rows, documents, self.first_lines)

    def _identity(self, line: str, number: int) -> str:
        if not line.startswith(IDENTIFIER) or (self.separator == "\t" and "\t" in line):
            self._fail(
                number,
                "a post starts without its id",
                f"a line '{IDENTIFIER}<id>' before the post's first word",
                line,
                "Is there a blank line inside a post?",
            )
        identity = line.removeprefix(IDENTIFIER)
        if not identity.strip(" \t"):
            self._fail(number, "the post's id is empty", f"'{IDENTIFIER}' and an id", line)
        return identity

    def _starts_document(self, line: str) -> bool:
        return line.split(self.separator, 1)[0] == DOCUMENT_START

    def _wrong_columns(self, line: str, number: int, found: int) -> NoReturn:
        if line.startswith(IDENTIFIER) and self.layout.identified:
            self._fail(
                number,
                "a new post starts inside another",
                "a blank line before each line with an id",
                line,
                "Put a blank line before it.",
            )
        self._fail(
            number,
            f"the line has {found} column{'s' if found != 1 else ''}",
            f"{self.columns} columns separated by {_SHOWN_SEPARATOR[self.separator]} "
            f"(the format '{self.layout.name}')",
            line,
            "Correct the line, or name the format if another was recognised than the file's own.",
        )

    def _new_tag(self, tag: str, line: str, number: int) -> str:
        try:
            parse(tag)
        except TagError as error:
            self._fail(
                number,
                "the last column holds no tag",
                error.expected or "a tag",
                line,
                "Is the file written in BIO, IOB1 or BIOES?",
            )
        self.first_lines[tag] = number
        self.tags[tag] = tag
        return tag

    def _fail(self, number: int, what: str, expected: str, line: str, hint: str | None = None) -> NoReturn:
        raise DataError(f"{place(self.path, number)}: {what}.", expected=expected, got=shown(line), hint=hint)


def format_columns(
    posts: Iterable[Post],
    layout: ColumnFormat,
    tags_of: Callable[[Post], Sequence[str]],
) -> Iterable[str]:
    """Posts as the text of a column file, a piece a post.

    Args:
        posts: The posts.
        layout: How to write them; its separator and number of columns (two) must be known.
        tags_of: Gives the tags to write for a post.

    Raises:
        DataError: A word or an id cannot be written in columns.
    """
    separator = layout.separator
    if separator is None or layout.columns != 2:
        raise ValueError("only two columns with a known separator can be written")
    for number, post in enumerate(posts, start=1):
        lines = []
        if layout.identified:
            _check_id(post, number)
            lines.append(IDENTIFIER + post.id)
        for word, tag in zip(post.words, tags_of(post), strict=True):
            if not word or "\n" in word or "\0" in word or (separator == "\t" and "\t" in word):
                raise DataError(
                    f"Post {number} ({shown(post.id)}) has a word that no column can hold.",
                    expected="a word without TAB, line feed and NUL",
                    got=shown(word),
                    hint="Write JSONL instead.",
                )
            if any(space in tag for space in "\t\n\r ") or "\0" in tag:
                raise DataError(
                    f"Post {number} ({shown(post.id)}) has a type that no column can hold.",
                    expected="a type without white space",
                    got=shown(tag),
                    hint="Rename it with a label map, or write JSONL.",
                )
            lines.append(f"{word}{separator}{tag}")
        if not lines:
            raise DataError(
                f"Post {number} has no words and no id.",
                expected="something to write on a line",
                hint="Leave it out, or write JSONL.",
            )
        if layout.documents and not layout.identified and lines[0].startswith(DOCUMENT_START):
            raise DataError(f"Post {number} starts with {DOCUMENT_START}.", hint="Write JSONL instead.")
        yield "\n".join(lines) + "\n\n"


def _check_id(post: Post, number: int) -> None:
    ends = post.id[-1:] == "\r"
    if not post.id.strip(" \t") or ends or any(character in post.id for character in "\t\n\0"):
        raise DataError(
            f"Post {number} has an id that no line can hold.",
            expected="an id without TAB, line feed and NUL",
            got=shown(post.id),
            hint="Give it another id, or write JSONL.",
        )
