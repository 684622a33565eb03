"""Errors that teach: what was expected, what came, and what to do about it.

Every error that a user can cause is a `MnerError`. The command line prints its message without a
traceback and leaves with its `exit_status`: 1 where the data or the result is bad, 2 where the
command was used wrongly.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any


class MnerError(Exception):
    """Something a user can put right.

    Args:
        what: One sentence saying what is wrong and where (a file and line, a field, a folder).
        expected: What would have been right.
        got: What was there instead.
        hint: What to do now.
    """

    exit_status = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.expected = expected
        self.got = got
        self.hint = hint
        parts = [what]
        if expected is not None:
            parts.append(f"Expected: {expected}.")
        if got is not None:
            parts.append(f"Got: {got}.")
        if hint is not None:
            parts.append(hint)
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their message alone when they cross to another process, which does
        # not fit every signature here, and an error that cannot be rebuilt leaves a pool waiting.
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[MnerError], args: tuple[Any, ...], fields: dict[str, Any]) -> MnerError:
    error = kind.__new__(kind, *args)
    vars(error).update(fields)
    return error


class UsageError(MnerError):
    """The command or the call was used wrongly: a wrong flag, a name that does not exist."""

    exit_status = 2


class RecipeError(UsageError):
    """A recipe has an unknown key, a wrong type, a contradiction, or is not there."""


class DataError(MnerError):
    """A data file cannot be read as what it claims to be."""


class TagError(DataError):
    """A tag does not belong to its scheme."""


class RunFolderError(MnerError):
    """A run folder is incomplete or damaged."""


class BackboneError(MnerError):
    """A pre-trained encoder cannot be used: missing, altered, or of an architecture that does not fit."""


class MissingExtraError(UsageError):
    """An optional part of the package is needed and not installed.

    Args:
        purpose: What the user was about to do.
        extra: The extra of this package that brings what is missing.
    """

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs a part of mner that is not installed.",
            hint=f"Install it with: pip install 'mner[{extra}]'",
        )


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, or None where nothing is like it."""
    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint that names the nearest candidate, or all of them where none is near."""
    options = list(candidates)
    if not options:
        return "There is none."
    near = nearest(name, options)
    if near is not None:
        return f"Did you mean {near!r}?"
    return f"There is: {', '.join(options)}."


def shown(value: object, limit: int = 80) -> str:
    """`repr(value)` cut to `limit` characters, for messages that quote what a file contains.

    A path stays whole.
    """
    if isinstance(value, PurePath):
        return repr(str(value))
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
