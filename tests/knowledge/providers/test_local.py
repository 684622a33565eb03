from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mner.errors import BackboneError, UsageError
from mner.knowledge.provider import Answer, Question
from mner.knowledge.providers.local import Checkpoint, LocalProvider
from mner.posts import Knowledge, Post


class Lengths(LocalProvider):
    """Says how long texts are; breaks on some, as a model does, and counts how often it is asked."""

    name = "lengths"
    kind = "caption"
    sees_text = True

    def __init__(self) -> None:
        self.batches: list[int] = []

    def settings(self) -> dict[str, Any]:
        return {}

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        self.batches.append(len(questions))
        if any("break" in question.post.text for question in questions):
            raise RuntimeError("out of memory")
        return [Answer(Knowledge("caption", text=str(len(q.post.text)))) for q in questions]


def test_a_failing_batch_is_halved_until_the_culprit_stands_alone() -> None:
    provider = Lengths()
    texts = ["a" * n for n in range(16)]
    texts[5] = "break"
    answers = provider.answer([Question(Post.from_text(text)) for text in texts])
    assert [None if a.knowledge is None else a.knowledge.text for a in answers] == [
        None if text == "break" else str(len(text)) for text in texts
    ]
    assert answers[5].problem == "RuntimeError: out of memory"
    assert len(provider.batches) == 1 + 2 * 4  # halving sixteen finds one in four steps
    assert provider.answer([]) == []


def test_a_model_s_fault_is_raised_and_not_recorded_for_every_post(tmp_path: Path) -> None:
    class Broken(Lengths):
        def _load(self) -> None:
            Checkpoint(str(tmp_path)).load_config()

    with pytest.raises(BackboneError, match="cannot be loaded"):
        Broken().answer([Question(Post.from_text("a"))])


def test_a_checkpoint_is_pinned_by_its_files(checkpoint: Callable[[str], str], tmp_path: Path) -> None:
    folder = Path(checkpoint("clip"))
    settings = Checkpoint(str(folder), device="cpu").settings()
    assert settings["model"] == "clip"
    assert settings["dtype"] == "float32"
    copied = tmp_path / "clip"
    shutil.copytree(folder, copied)
    assert Checkpoint(str(copied), device="cpu").settings() == settings
    weights = load_file(copied / "model.safetensors")
    weights["logit_scale"] = weights["logit_scale"] + 1
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    assert Checkpoint(str(copied), device="cpu").settings()["revision"] != settings["revision"]


def test_weights_that_do_not_fill_the_model_are_refused(
    checkpoint: Callable[[str], str], tmp_path: Path
) -> None:
    copied = tmp_path / "clip"
    shutil.copytree(checkpoint("clip"), copied)
    weights = load_file(copied / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"visual_projection\.weight"):
        Checkpoint(str(copied), device="cpu").load_model(transformers.AutoModel)


def test_pickled_weights_are_refused(checkpoint: Callable[[str], str], tmp_path: Path) -> None:
    copied = tmp_path / "clip"
    shutil.copytree(checkpoint("clip"), copied)
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="its weights"):
        Checkpoint(str(copied), device="cpu").load_model(transformers.AutoModel)


def test_a_model_of_another_kind_is_refused(checkpoint: Callable[[str], str]) -> None:
    with pytest.raises(BackboneError, match="cannot be loaded"):
        Checkpoint(checkpoint("detr"), device="cpu").load_model(transformers.AutoModelForCausalLM)


def test_loading_is_silent(checkpoint: Callable[[str], str], capfd: pytest.CaptureFixture[str]) -> None:
    Checkpoint(checkpoint("clip"), device="cpu").load_model(transformers.AutoModel)
    written = capfd.readouterr()
    assert written.out == written.err == ""


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="bfloat16"):
        Checkpoint("x", dtype="bflaot16")
