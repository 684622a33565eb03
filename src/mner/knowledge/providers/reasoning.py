"""A reasoning chain by a causal language model on this machine (CDNER's CRC, eq. 2 and 3).

K steps, each a text from the model given the post, its caption where one is known, and the steps before.
The paper names neither K nor the model; the prompt has three steps (candidates, what context and caption
say about each, the type of each), and Qwen2.5-7B-Instruct is the model unless another is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mner.knowledge.prompts import Domain, Prompt, load_prompt
from mner.knowledge.provider import Answer, Question
from mner.knowledge.providers.endpoint import NO_CAPTION
from mner.knowledge.providers.generation import Generation, LanguageModel, Reply
from mner.knowledge.providers.local import Checkpoint, LocalProvider


class ReasoningProvider(LocalProvider):
    """A chain of texts about a post, each step seeing the ones before.

    Args:
        model: A local folder or a hub name.
        prompt: A prompt's name or file; its number of steps is K.
        domain: The domain's name or file.
        revision: Which commit of a hub name.
        dtype: The precision; None takes bfloat16 on a GPU and float32 elsewhere.
        device: Where to run; None takes a GPU where there is one.
        batch_size: Questions at once; each step is one batch.
        max_new_tokens: The longest reply of one step, in tokens.
        temperature: 0 is greedy.
        seed: Where sampling starts, with a temperature.
    """

    name = "reasoning"
    kind = "reasoning"
    sees_text = True
    sees_knowledge = ("caption",)

    def __init__(
        self,
        model: str = "Qwen/Qwen2.5-7B-Instruct",
        *,
        prompt: str | Path | Prompt = "reasoning",
        domain: str | Path | Domain = "twitter",
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 8,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        generation = Generation(max_new_tokens, temperature=temperature, seed=seed)
        self.model = LanguageModel(Checkpoint(model, revision, dtype, device), generation)
        self.prompt = prompt if isinstance(prompt, Prompt) else load_prompt(prompt, domain)
        self.batch_size = batch_size

    def settings(self) -> dict[str, Any]:
        """The model, pinned, the prompt's words and how text is generated."""
        return {**self.model.settings(), "prompt": self.prompt.as_settings()}

    def _load(self) -> None:
        _ = self.model.model

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        chains: list[list[Reply]] = [[] for _ in questions]
        for step in range(len(self.prompt.steps)):
            requests = [
                self.prompt.render(
                    step,
                    text=question.post.text,
                    caption=_caption(question),
                    steps="\n".join(reply.text for reply in chain),
                ).strip()
                for question, chain in zip(questions, chains, strict=True)
            ]
            replies = self.model.reply(requests, self.prompt.render_system())
            for chain, reply in zip(chains, replies, strict=True):
                chain.append(reply)
        return [self._answer(chain) for chain in chains]

    def _answer(self, chain: Sequence[Reply]) -> Answer:
        steps = tuple(reply.text for reply in chain)
        text = "\n".join(steps)
        said = bool(text.strip())
        return Answer(
            knowledge=self._knowledge(self.model.checkpoint.label(), text=text, steps=steps)
            if said
            else None,
            raw=text,
            request={"prompts": [reply.prompt for reply in chain]},
            problem=None if said else "the model said nothing",
            input_tokens=sum(reply.input_tokens for reply in chain),
            output_tokens=sum(reply.output_tokens for reply in chain),
        )


def _caption(question: Question) -> str:
    known = question.post.known("caption")
    return (known.text or NO_CAPTION) if known is not None else NO_CAPTION
