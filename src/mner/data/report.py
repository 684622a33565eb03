"""What an audit says: what is in a data set, split by split, and what is wrong with it."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field
from typing import Any

from mner.data.checks import Alignment, Conflicts, Overlap, PictureReport, Recurrence, TokenReport


class Severity(enum.StrEnum):
    """How bad a finding is: an error makes the set unusable as it is, a note only wants to be known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Args:
        severity: How bad it is.
        check: Which check found it.
        message: What it is, in a sentence.
        split: The split it concerns; None where it concerns the whole set.
        count: How often, where it can be counted.
    """

    severity: Severity
    check: str
    message: str
    split: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class SplitReport:
    """What is in a split.

    Args:
        file: Its file; None for a set that was not read from files.
        format: The name of the file's format.
        scheme: The scheme of its tags.
        posts: How many posts it has.
        documents: How many document starts its file has.
        blocks: Posts and document starts together, which is what a count of blank lines gives.
        words: How many words.
        annotated: How many posts have gold, be it an empty one.
        empty: How many posts have no words.
        repeated_ids: How many posts have the id of an earlier one.
        duplicates: How many posts have the text of an earlier one, addresses and case left out of account.
        stray_tags: How many tags break the scheme.
        entities: How many entities there are under each convention.
        entities_by_type: The same for each type.
        alignment: How entities by characters sit on the words.
        tokens: What the tokenizer makes of the words; None where none was given.
        pictures: The pictures; None where they were not looked at.
    """

    file: str | None
    format: str | None
    scheme: str | None
    posts: int
    documents: int
    blocks: int
    words: int
    annotated: int
    empty: int
    repeated_ids: int
    duplicates: int
    stray_tags: int
    entities: dict[str, int]
    entities_by_type: dict[str, dict[str, int]]
    alignment: Alignment
    tokens: TokenReport | None = None
    pictures: PictureReport | None = None


@dataclass(frozen=True)
class Audit:
    """What is in a data set, and what is wrong with it.

    Args:
        name: The set's name.
        labels: Its types.
        fingerprint: SHA-256 over its content (`Dataset.fingerprint`).
        splits: What is in each split that could be read.
        recurrence: Texts that stand in several splits.
        conflicts: Mentions that have several types.
        against: For each split of another set, how much of it stands in this one's train split.
        findings: What is wrong, the worst first.
    """

    name: str
    labels: tuple[str, ...]
    fingerprint: str
    splits: dict[str, SplitReport]
    recurrence: Recurrence
    conflicts: Conflicts
    against: dict[str, Overlap] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the set can be used as it is: nothing found is an error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The audit as JSON writes it."""
        return {"ok": self.ok, **asdict(self)}
