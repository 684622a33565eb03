"""What the providers that run a model on this machine share: which weights, and how a batch may fail.

Real models are named by hub name or folder. Every model is pinned in `settings()`: its name, the commit or
the digest of its folder, and the precision in which it runs, for all three shape what it says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from mner.errors import BackboneError, MnerError, UsageError, did_you_mean, shown
from mner.knowledge.provider import Answer, Question
from mner.posts import Knowledge
from mner.pretrained import locate, quiet_loading, revision_of, why_not_loaded

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Checkpoint:
    """A model of transformers by name, and how it is run.

    Args:
        model: A local folder or a hub name.
        revision: A branch, tag or commit of a hub name.
        dtype: ``float32``, ``bfloat16`` or ``float16``; None takes bfloat16 on a GPU and float32 elsewhere.
        device: ``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` spreads the model over all GPUs; None takes the
            first GPU where there is one.

    Raises:
        UsageError: There is no such precision.
    """

    model: str
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in PRECISIONS:
            raise UsageError(
                f"There is no precision {self.dtype!r}.", hint=did_you_mean(self.dtype, PRECISIONS)
            )

    @property
    def place(self) -> str:
        """What transformers is handed: a folder's path or a hub name."""
        return locate(self.model)

    def label(self) -> str:
        """The model's name without the path that leads to it."""
        return Path(self.place).name if Path(self.place).is_dir() else self.model

    def pinned_revision(self) -> str:
        """The commit, or the digest of the folder."""
        return revision_of(self.model, self.revision)

    def precision(self) -> str:
        """The precision in which the model runs."""
        if self.dtype is not None:
            return self.dtype
        return "float32" if self.run_on() == "cpu" else "bfloat16"

    def run_on(self) -> str:
        """The device on which the model runs."""
        if self.device is not None:
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def settings(self) -> dict[str, str]:
        """What pins the model: its name, which weights that is, and the precision."""
        return {"model": self.label(), "revision": self.pinned_revision(), "dtype": self.precision()}

    def load_config(self) -> Any:
        """The model's configuration.

        Raises:
            BackboneError: It cannot be found or read.
        """
        from transformers import AutoConfig

        return self.load_part(AutoConfig, "its configuration")

    def load_model(self, auto_class: Any) -> Any:
        """The model, in evaluation mode, on its device.

        Args:
            auto_class: Such as ``transformers.AutoModelForCausalLM``.

        Raises:
            BackboneError: There is no such model, it is of another kind, its weights are not safetensors, or
                they do not fill it.
        """
        import torch

        device = self.run_on()
        spread = {"device_map": "auto"} if device == "auto" else {}
        model, report = self.load_part(
            auto_class,
            "its weights",
            dtype=getattr(torch, self.precision()),
            use_safetensors=True,
            output_loading_info=True,
            **spread,
        )
        missing = sorted(report["missing_keys"])
        if missing:
            raise BackboneError(
                f"The weights of {shown(self.model)} do not fill the model; the rest would be random.",
                got=f"nothing for {', '.join(missing[:5])}",
                hint="Is this a checkpoint of a model for this purpose, and complete?",
            )
        return model.eval() if spread else model.eval().to(device)

    def load_part(self, auto_class: Any, part: str, **options: Any) -> Any:
        """Anything that a checkpoint holds: its processor, tokenizer, image processor.

        Raises:
            BackboneError: It is not there or cannot be read; the message says which part.
        """
        try:
            with quiet_loading():
                return auto_class.from_pretrained(self.place, revision=self.revision, **options)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError, AttributeError) as error:
            raise BackboneError(
                f"The model {shown(self.model)} cannot be loaded ({part}).",
                expected="config.json, safetensors weights, a tokenizer and a preprocessor, of one model",
                got=why_not_loaded(self.place, error),
                hint="Without a connection only folders and models in the local cache can be named.",
            ) from error


class LocalProvider(ABC):
    """A provider that runs on this machine: batches that fall apart where one question breaks them.

    A subclass says what it is (`name`, `kind`, ``sees_...``) and answers a batch in `_ask`.
    """

    name: str
    kind: str
    sees_text: bool = False
    sees_picture: bool = False
    sees_knowledge: tuple[str, ...] = ()
    batch_size: int = 8
    concurrency: int = 1
    leaves_machine: bool = False

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything besides post and picture that shapes an answer."""

    @abstractmethod
    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question; any exception but a `MnerError` is a failure of this batch."""

    def _load(self) -> None:
        """Load what is needed once; raises where the user named something that cannot be loaded."""
        return

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer a question, in order.

        Where a batch fails it is halved until the questions that cannot be answered stand alone; each of
        those is an `Answer` with a problem.

        Raises:
            MnerError: The provider itself cannot work: its model cannot be loaded.
        """
        if not questions:
            return []
        self._load()
        answers: dict[int, Answer] = {}
        asked = []
        for index, question in enumerate(questions):
            problem = self._refusal(question)
            if problem is None:
                asked.append(index)
            else:
                answers[index] = Answer(None, problem=problem)
        replies = self._answer_or_halve([questions[index] for index in asked])
        answers.update(zip(asked, replies, strict=True))
        return [answers[index] for index in range(len(questions))]

    def _refusal(self, question: Question) -> str | None:
        """Why a question cannot be asked at all, or None."""
        return "there is no picture" if self.sees_picture and question.picture is None else None

    def _answer_or_halve(self, questions: Sequence[Question]) -> list[Answer]:
        if not questions:
            return []
        started = perf_counter()
        try:
            answers = self._ask(questions)
        except MnerError:
            raise
        except Exception as error:  # A model raises whatever an odd picture or text leads it to.
            if len(questions) == 1:
                seconds = perf_counter() - started
                return [Answer(None, problem=f"{type(error).__name__}: {error}"[:500], duration=seconds)]
            _free_memory()
            middle = len(questions) // 2
            return self._answer_or_halve(questions[:middle]) + self._answer_or_halve(questions[middle:])
        seconds = (perf_counter() - started) / len(questions)
        return [replace(answer, duration=answer.duration or seconds) for answer in answers]

    def _knowledge(self, origin: str, **fields: Any) -> Knowledge:
        return Knowledge(self.kind, origin=f"{self.name}: {origin}", **fields)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
