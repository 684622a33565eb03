"""Knowledge that is already there: a picture's alternative text, and files by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mner.knowledge.filed import FiledEntry, FiledKnowledge, read_knowledge_file
from mner.knowledge.keys import names_of
from mner.knowledge.provider import Answer, Question
from mner.posts import Knowledge, Post


class AltTextProvider:
    """The alternative text that came with a picture, as its caption."""

    name = "alt"
    kind = "caption"
    sees_text = False
    sees_picture = False
    sees_alt = True
    batch_size = 500
    concurrency = 1
    leaves_machine = False

    def settings(self) -> Mapping[str, Any]:
        """There are none."""
        return {}

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The alternative texts, without the spaces around them."""
        answers = []
        for question in questions:
            raw = question.post.alt or ""
            text = " ".join(raw.split())
            if text:
                answers.append(Answer(Knowledge(self.kind, text=text, origin=self.name), raw=raw))
            else:
                answers.append(Answer(None, raw=raw, problem="the alternative text is empty"))
        return answers


class FileProvider:
    """Knowledge from a file, found by the name of a post's picture or by its id.

    The formats are those of `mner.knowledge.filed`.

    Args:
        path: The file.
        kind: The kind of knowledge, where the one that the format suggests is not meant.
        name: What the source is called, after ``file:``; the file's name without suffix where None.
        field: For JSONL, the field that holds what is said, where it is not one of the usual ones.
        drop_placeholders: Whether a text that stands suspiciously often is no knowledge.

    Raises:
        DataError: The file cannot be read as one of the formats.
    """

    sees_text = False
    sees_picture = False
    sees_name = True
    batch_size = 500
    concurrency = 1
    leaves_machine = False

    def __init__(
        self,
        path: Path | str,
        *,
        kind: str | None = None,
        name: str | None = None,
        field: str | None = None,
        drop_placeholders: bool = False,
    ) -> None:
        self.name = f"file:{name or Path(path).stem}"
        self.filed: FiledKnowledge = read_knowledge_file(path, kind, content=field, origin=self.name)
        self.kind = self.filed.kind
        self.field = field
        self.drop_placeholders = drop_placeholders

    def settings(self) -> Mapping[str, Any]:
        """The file by name and contents, and how it is read."""
        return {
            "file": self.filed.path.name,
            "sha256": self.filed.sha256,
            "field": self.field,
            "drop_placeholders": self.drop_placeholders,
        }

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The file's entries for the posts; a post that has none is a problem."""
        answers = []
        for question in questions:
            name = self.name_for(question.post)
            if name is None:
                names = " or ".join(names_of(question.post))
                answers.append(Answer(None, problem=f"the file has no entry for {names}"))
            else:
                answers.append(self.answer_of(self.filed.entries[name]))
        return answers

    def name_for(self, post: Post) -> str | None:
        """The first of a post's names of which the file says something, or None."""
        return next((name for name in names_of(post) if name in self.filed.entries), None)

    def answer_of(self, entry: FiledEntry) -> Answer:
        """An entry of the file as an answer."""
        request = {"file": self.filed.path.name, "entry": entry.place}
        text = (entry.knowledge.text if entry.knowledge else None) or ""
        if self.drop_placeholders and text in self.filed.placeholders:
            times = self.filed.placeholders[text]
            problem = f"a placeholder: the same text stands for {times} of {len(self.filed.entries)} names"
            return Answer(None, raw=entry.raw, request=request, problem=problem)
        return Answer(entry.knowledge, raw=entry.raw, request=request, problem=entry.problem)
