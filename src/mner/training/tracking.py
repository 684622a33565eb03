"""Trackers: programs that draw the course of a training while it runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from transformers import TrainerCallback, integrations

from mner.errors import MissingExtraError, UsageError, shown
from mner.training.processes import is_first

TENSORBOARD_FOLDER = "tensorboard"


def tracker(name: str, folder: Path) -> TrainerCallback:
    """What tells a tracker of every loss and score.

    Args:
        name: ``tensorboard``, which writes into the run folder, ``wandb`` or ``mlflow``, which are set up
            as their own documentation says, through variables of the environment.
        folder: The run folder.

    Raises:
        UsageError: The tracker is not installed.
    """
    if name == "tensorboard":
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingExtraError('training.tracker = "tensorboard"', "tracking")
        from torch.utils.tensorboard import SummaryWriter

        # The writer makes its file at once.
        writer = SummaryWriter(str(folder / TENSORBOARD_FOLDER)) if is_first() else None
        return integrations.TensorBoardCallback(writer)
    if importlib.util.find_spec(name) is None:
        raise UsageError(
            f"The tracker {shown(name)} is not installed.", hint=f"Install it with: pip install {name}"
        )
    found: type[TrainerCallback] = {
        "wandb": integrations.WandbCallback,
        "mlflow": integrations.MLflowCallback,
    }[name]
    return found()
