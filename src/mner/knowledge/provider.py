"""What every provider of knowledge is: something that answers questions about posts and pictures.

A provider knows nothing of the store, of other posts or of progress; it gets a batch of questions and
gives one answer each. `settings` is everything besides the post and the picture that shapes an answer,
and is part of the key under which the answer is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from mner.errors import MnerError
from mner.posts import Knowledge, Post


class ProviderError(MnerError):
    """A provider cannot answer anything now; raised, it ends a run, and what was answered before is kept."""


@dataclass(frozen=True, slots=True)
class Question:
    """One post to say something about.

    Args:
        post: The post; a provider that does not see text must not read it.
        picture: The opened picture (RGB, upright), or None where there is none or it is not asked for.
        picture_key: SHA-256 of the picture's bytes, or None.
    """

    post: Post
    picture: Image.Image | None = None
    picture_key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said: the evidence and what it was read as.

    Args:
        knowledge: The parsed result, or None where there is none.
        raw: The reply exactly as it came.
        request: What was sent, as JSON would write it, without pictures' bytes and without any secret.
        problem: Why there is no result; None where there is one.
        input_tokens: Tokens read, where known.
        output_tokens: Tokens written, where known.
        cost: Price in the provider's currency, where known.
        duration: Seconds.
    """

    knowledge: Knowledge | None
    raw: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    duration: float = 0.0


@runtime_checkable
class Provider(Protocol):
    """A source of one kind of knowledge.

    Attributes:
        name: The provider's name, such as ``blip-2`` or ``rapidocr``.
        kind: The kind of `Knowledge` it makes.
        sees_text: Whether the post's text shapes the answer (and so belongs to the key).
        sees_picture: Whether the picture shapes the answer; a post without one is then not asked about.
        batch_size: How many questions it likes at once.
        concurrency: How many batches may be under way at once (1 for local models).
        leaves_machine: Whether posts or pictures are sent elsewhere.

    A provider may have five attributes more; where it has not, the first value holds:

    * ``sees_knowledge``, ``()``: kinds of knowledge that it reads from `Question.post` (a caption, say).
      They are attached from the store before it is asked, and belong to the key.
    * ``sees_name``, False: whether the post's name shapes the answer, as with knowledge from a file.
    * ``name_for``, a function of a post that gives None: the one of the post's names by which the answer is
      found. The answer is kept under it, so that it is told of every post of that name and of no other;
      where it is None, under the post's id.
    * ``sees_alt``, False: whether the picture's alternative text shapes the answer.
    * ``destination``, the name: where posts or pictures are sent to, for whoever has to allow it.
    """

    name: str
    kind: str
    sees_text: bool
    sees_picture: bool
    batch_size: int
    concurrency: int
    leaves_machine: bool

    def settings(self) -> Mapping[str, Any]:
        """Everything besides post and picture that shapes an answer: model, revision, prompts, generation."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order. A failure of one question is an `Answer` with a problem."""
