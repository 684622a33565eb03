"""Texts about pictures by a model on this machine: what captions and auxiliary knowledge share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mner.knowledge.prompts import Domain, Prompt, load_prompt
from mner.knowledge.provider import Answer, Question
from mner.knowledge.providers.generation import Generation, VisionLanguageModel
from mner.knowledge.providers.local import Checkpoint, LocalProvider


class PictureTextProvider(LocalProvider):
    """Says something about a picture with a model that sees it.

    Args:
        model: A local folder or a hub name; None takes `default_model`.
        prompt: A prompt's name or file; None takes the one that suits the model.
        domain: The domain's name or file.
        revision: Which commit of a hub name.
        dtype: The precision; None takes bfloat16 on a GPU and float32 elsewhere.
        device: Where to run; None takes a GPU where there is one.
        batch_size: Questions at once.
        max_new_tokens: The longest reply, in tokens; None takes what suits the kind.
        temperature: 0 is greedy.
        seed: Where sampling starts, with a temperature.
    """

    sees_picture = True
    default_model: str
    default_tokens = 64
    instructed_prompt: str
    completion_prompt: str

    def __init__(
        self,
        model: str | None = None,
        *,
        prompt: str | Path | Prompt | None = None,
        domain: str | Path | Domain = "twitter",
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 8,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        generation = Generation(max_new_tokens or self.default_tokens, temperature=temperature, seed=seed)
        checkpoint = Checkpoint(model or self.default_model, revision, dtype, device)
        self.model = VisionLanguageModel(checkpoint, generation)
        self.batch_size = batch_size
        self._domain = domain
        self._prompt = prompt if isinstance(prompt, Prompt) or prompt is None else load_prompt(prompt, domain)

    @property
    def prompt(self) -> Prompt:
        """What is asked."""
        if self._prompt is None:
            suited = self.instructed_prompt if self.model.follows_instructions else self.completion_prompt
            self._prompt = load_prompt(suited, self._domain)
        return self._prompt

    def settings(self) -> dict[str, Any]:
        """The model, pinned, the prompt's words and how text is generated."""
        return {**self.model.settings(), "prompt": self.prompt.as_settings()}

    def _load(self) -> None:
        _ = self.model.model

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        pictures = [question.picture for question in questions if question.picture is not None]
        requests = [
            self.prompt.render(text=question.post.text if self.sees_text else "").strip()
            for question in questions
        ]
        replies = self.model.reply(
            pictures,
            requests,
            self.prompt.render_system(),
            [question.picture_key or "" for question in questions],
        )
        return [
            Answer(
                knowledge=self._knowledge(self.model.checkpoint.label(), text=reply.text)
                if reply.text
                else None,
                raw=reply.text,
                request={"prompt": reply.prompt},
                problem=None if reply.text else "the model said nothing",
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
            )
            for reply in replies
        ]
