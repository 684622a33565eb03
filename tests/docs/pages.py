"""The fenced blocks of the pages in docs/ and of the README, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]

# A comment before a block says why nobody can run it where the tests run.
NOT_RUN = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: Its page, from the project's folder.
        line: Where it begins, from 1.
        language: What the fence says it is.
        text: What stands in it.
        not_run: Why it cannot be run, where a comment before it says so.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def name(self) -> str:
        """Where it is, for messages and the names of tests."""
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """The blocks of those languages in all pages, or all blocks."""
    found = []
    for path in PAGES:
        page = path.relative_to(ROOT).as_posix()
        reason: str | None = None
        for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
            if token.type == "html_block":
                match = NOT_RUN.search(token.content)
                reason = match.group(1) if match else None
            elif token.type == "fence":
                language = token.info.split()[0] if token.info.strip() else ""
                if not languages or language in languages:
                    found.append(Block(page, (token.map or [0])[0] + 1, language, token.content, reason))
                reason = None
            elif token.type not in {"paragraph_close", "list_item_open", "list_item_close"}:
                reason = None
    return found


def mner_commands(block: Block) -> list[list[str]]:
    """The arguments of each `mner` command in a block of shell commands."""
    commands = []
    for line in block.text.replace("\\\n", " ").splitlines():
        # The shell's own words end a command; what comes before `mner` is torchrun's, or a variable's.
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        command: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;<>"):
                # Variables may stand before a command, and python or torchrun before `-m mner`.
                while command and re.match(r"\w+=", command[0]):
                    command.pop(0)
                if "-m" in command:
                    command = command[command.index("-m") + 1 :]
                if command[:1] == ["mner"]:
                    commands.append(command[1:])
                command = []
            else:
                command.append(word)
    return commands
