"""Twenty steps of a system's training, in one process or in several; run by test_processes.

Writes the mean loss of each step and the validation score as this process sees it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from mner.nn.processes import process_number, processes
from mner.training.processes import join_processes, leave_processes
from mner.training.recipe import TrainingSection
from mner.training.trainer import METRIC, PostTrainer, training_arguments
from tests.contract.tiny import BUILDERS, POSTS, tiny_text_config, tiny_vision_config

BATCH = 8
STEPS = 20
# Text posts and posts with pictures by turns; the last batch of an epoch is short and uneven: 8 + 8 + 5.
TRAIN = [dataclasses.replace(POSTS[number % len(POSTS)], id=str(number)) for number in range(21)]
VALID = [dataclasses.replace(post, id=f"v{number}") for number, post in enumerate(POSTS * 2 + POSTS[:1])]


def built(name: str):
    """A tiny recogniser without dropout anywhere."""
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    options = {"dropout": 0.0, "text_config": tiny_text_config(**still)}
    if name == "mgips-cl":
        options["vision_config"] = tiny_vision_config(attention_dropout=0.0)
    torch.manual_seed(3)
    recognizer = BUILDERS[name](name, **options)
    for module in recognizer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return recognizer


class Watched(PostTrainer):
    """Keeps the loss of every step, the mean over the processes."""

    losses: list[float]

    def training_step(self, model, inputs, num_items_in_batch=None):
        """As it is, with the loss written down."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        mean = loss.detach().clone()
        if processes() > 1:
            dist.all_reduce(mean)
        self.losses.append(float(mean) / processes())
        return loss


def main(name: str, folder: Path) -> None:
    """Train and write what this process saw."""
    join_processes()
    recognizer = built(name)
    section = TrainingSection(
        epochs=7, batch_size=BATCH // processes(), learning_rate=1e-3, precision="float32", warmup=0.0
    )
    scores: list[float] = []
    trainer = Watched(
        recognizer,
        section,
        training_arguments(section, folder / "checkpoints"),
        TRAIN,
        VALID,
        "conll",
        lambda _steps: None,
        lambda _step, _epoch, found: scores.append(found.overall.f1),
    )
    trainer.losses = []
    trainer.train()
    best = trainer.state.best_metric
    seen = [entry[METRIC] for entry in trainer.state.log_history if METRIC in entry]
    (folder / f"{process_number()}.json").write_text(
        json.dumps({"losses": trainer.losses, "best": best, "seen": seen, "told": scores})
    )
    del trainer
    leave_processes()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
