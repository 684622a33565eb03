"""Knowledge from an OpenAI-compatible endpoint: captions, auxiliary knowledge and chains of reasoning.

Posts and pictures leave the machine with these, unless the endpoint is on this very machine; the engine
asks nobody before a user has allowed that. The raw reply is kept with every answer, and so is the request,
without the picture's bytes and without the key.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mner.errors import UsageError
from mner.knowledge.chat import Endpoint, RefusedError, Reply, picture_part, without_pictures
from mner.knowledge.prompts import Domain, Prompt, load_prompt
from mner.knowledge.provider import Answer, Question
from mner.knowledge.retrying import PassingError, Retry
from mner.posts import Knowledge

# How a picture is sent; part of the key.
_MAX_SIDE = 1024
_QUALITY = 90

NO_CAPTION = "nothing is known about it"
"""What a prompt says of a post's picture where there is no caption."""


@dataclass
class _Conversation:
    """What was said so far about one post: the evidence, complete or not."""

    messages: list[list[dict[str, Any]]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    unread: str = ""


class EndpointProvider(ABC):
    """What the three providers share: the connection, the prompt and the settings.

    Args:
        endpoint: The base URL, such as ``http://127.0.0.1:8000/v1``.
        model: The model's name there.
        revision: The model's version, for the key; what an endpoint calls by one name may change.
        domain: What the posts are about: a name or a TOML file of one's own.
        prompt: What is asked: a name or a TOML file of one's own.
        temperature: 0 for the likeliest answer.
        max_tokens: The longest answer.
        seed: Handed to the endpoint, where given.
        key: The secret, where the endpoint wants one; not part of the settings.
        concurrency: How many requests are under way at once.
        timeout: Seconds to wait for a connection, and for each piece of an answer.
        attempts: How often one question is tried.
        first_pause: Seconds before the second try; each further pause is twice as long.
        longest_pause: The longest pause in seconds; an endpoint that asks for a longer one is given up.
        input_price: Price of a million tokens read, where cost is to be counted.
        output_price: Price of a million tokens written.
    """

    name: str
    kind: str
    sees_text: bool
    sees_picture: bool
    sees_knowledge: tuple[str, ...] = ()
    batch_size = 1
    default_prompt: str
    default_length: int

    def __init__(
        self,
        endpoint: str,
        model: str,
        *,
        revision: str = "",
        domain: str | Path | Domain = "twitter",
        prompt: str | Path | None = None,
        temperature: float = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        key: str | None = None,
        concurrency: int = 8,
        timeout: float = 60.0,
        attempts: int = 5,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
        input_price: float | None = None,
        output_price: float | None = None,
    ) -> None:
        if concurrency < 1 or attempts < 1 or timeout <= 0:
            raise UsageError(
                "An endpoint needs a concurrency and attempts of at least 1, and a timeout above 0."
            )
        self.endpoint = Endpoint(
            endpoint,
            model,
            key=key,
            timeout=timeout,
            retry=Retry(attempts, first_pause, longest_pause),
            input_price=input_price,
            output_price=output_price,
        )
        self.revision = revision
        self.prompt: Prompt = load_prompt(prompt or self.default_prompt, domain)
        self.generation: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens or self.default_length,
        }
        if seed is not None:
            self.generation["seed"] = seed
        self.concurrency = concurrency
        self.leaves_machine = not self.endpoint.is_here
        self.destination = self.endpoint.destination

    def settings(self) -> Mapping[str, Any]:
        """Model, revision, prompt, generation, and how a picture is sent.

        Not the address: a server that moves to another port says the same.
        """
        settings: dict[str, Any] = {
            "model": self.endpoint.model,
            "revision": self.revision,
            "prompt": self.prompt.as_settings(),
            "generation": dict(self.generation),
        }
        if self.sees_picture:
            settings["picture"] = {"format": "JPEG", "max_side": _MAX_SIDE, "quality": _QUALITY}
        return settings

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question; what fails for good has its reason."""
        return [self._answer(question) for question in questions]

    @abstractmethod
    def _knowledge(self, question: Question, conversation: _Conversation) -> Knowledge:
        """Ask, put what is said into the conversation, and give what it comes to."""

    def _answer(self, question: Question) -> Answer:
        started = time.monotonic()
        conversation = _Conversation()
        knowledge, problem = None, None
        try:
            knowledge = self._knowledge(question, conversation)
        except (PassingError, RefusedError) as error:
            conversation.unread = error.raw
            step = len(conversation.replies) + 1
            problem = str(error) if len(self.prompt.steps) == 1 else f"step {step}: {error}"
        replies = conversation.replies
        bodies = [reply.raw for reply in replies] + ([conversation.unread] if conversation.unread else [])
        request: dict[str, Any] = {
            "endpoint": self.endpoint.address,
            "model": self.endpoint.model,
            **self.generation,
            "steps": [without_pictures(messages, question.picture_key) for messages in conversation.messages],
        }
        return Answer(
            knowledge=knowledge,
            # One body as it came; several as a JSON list of such bodies.
            raw=bodies[0] if len(bodies) == 1 else json.dumps(bodies) if bodies else "",
            request=request,
            problem=problem,
            input_tokens=_total([reply.input_tokens for reply in replies]),
            output_tokens=_total([reply.output_tokens for reply in replies]),
            cost=_total([reply.cost for reply in replies]),
            duration=time.monotonic() - started,
        )

    def _ask(self, question: Question, words: str, conversation: _Conversation) -> str:
        content: Any = words
        if self.sees_picture and question.picture is not None:
            picture = picture_part(question.picture, max_side=_MAX_SIDE, quality=_QUALITY)
            content = [picture, {"type": "text", "text": words}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.prompt.system:
            messages.insert(0, {"role": "system", "content": self.prompt.render_system()})
        conversation.messages.append(messages)
        reply = self.endpoint.complete(messages, self.generation)
        conversation.replies.append(reply)
        return reply.text

    @property
    def _origin(self) -> str:
        return f"{self.name} ({self.endpoint.model})"


class EndpointCaption(EndpointProvider):
    """A caption made for the post and its domain (CDNER's dynamic domain caption, eq. 1)."""

    name = "endpoint-caption"
    kind = "caption"
    sees_text = True
    sees_picture = True
    default_prompt = "caption"
    default_length = 120

    def _knowledge(self, question: Question, conversation: _Conversation) -> Knowledge:
        words = self.prompt.render(text=question.post.text)
        return Knowledge(self.kind, text=self._ask(question, words, conversation), origin=self._origin)


class EndpointAuxiliary(EndpointProvider):
    """Auxiliary knowledge about the picture alone (MMAVK): the post's text is never shown."""

    name = "endpoint-auxiliary"
    kind = "auxiliary"
    sees_text = False
    sees_picture = True
    default_prompt = "auxiliary"
    default_length = 300

    def _knowledge(self, question: Question, conversation: _Conversation) -> Knowledge:
        return Knowledge(
            self.kind, text=self._ask(question, self.prompt.render(), conversation), origin=self._origin
        )


class EndpointReasoning(EndpointProvider):
    """A chain of reasoning over post and caption (CDNER, eq. 2 and 3); each step sees the ones before.

    Args:
        endpoint: The base URL.
        model: The model's name there.
        steps: How many of the prompt's steps are asked; all where None.
        options: What every endpoint takes: see `EndpointProvider`.
    """

    name = "endpoint-reasoning"
    kind = "reasoning"
    sees_text = True
    sees_picture = False
    sees_knowledge = ("caption",)
    default_prompt = "reasoning"
    default_length = 400

    def __init__(self, endpoint: str, model: str, *, steps: int | None = None, **options: Any) -> None:
        super().__init__(endpoint, model, **options)
        there = len(self.prompt.steps)
        if steps is not None and not 1 <= steps <= there:
            raise UsageError(
                f"The prompt {self.prompt.name!r} has {there} steps.",
                got=f"steps={steps}",
                hint="Write a prompt file with as many steps as you want; name it by --option prompt=FILE.",
            )
        self.steps = steps or there

    def settings(self) -> Mapping[str, Any]:
        """The shared ones and the number of steps."""
        return {**super().settings(), "steps": self.steps}

    def _knowledge(self, question: Question, conversation: _Conversation) -> Knowledge:
        caption = question.post.known("caption")
        said: list[str] = []
        for step in range(self.steps):
            words = self.prompt.render(
                step,
                text=question.post.text,
                caption=(caption.text if caption else None) or NO_CAPTION,
                steps="\n\n".join(f"Step {number}: {text}" for number, text in enumerate(said, 1)),
            )
            said.append(self._ask(question, words, conversation))
        return Knowledge(self.kind, text="\n".join(said), steps=tuple(said), origin=self._origin)


class EndpointEntities(EndpointProvider):
    """A post's entities by a language model that was not trained for them (the zero-shot rows of papers).

    What it says is kept as it came; `mner.knowledge.mentions` reads entities out of it. It is no kind of
    knowledge that models are handed: it is a prediction.

    Args:
        endpoint: The base URL.
        model: The model's name there.
        pictures: Whether the picture is shown with the text; posts without one are then not asked about.
        options: What every endpoint takes: see `EndpointProvider`.
    """

    name = "endpoint-entities"
    kind = "entities"
    sees_text = True
    sees_picture = False
    default_prompt = "entities"
    default_length = 600

    def __init__(self, endpoint: str, model: str, *, pictures: bool = False, **options: Any) -> None:
        super().__init__(endpoint, model, **options)
        self.sees_picture = pictures

    def _knowledge(self, question: Question, conversation: _Conversation) -> Knowledge:
        words = self.prompt.render(text=question.post.text)
        return Knowledge(self.kind, text=self._ask(question, words, conversation), origin=self._origin)


def _total(values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
