"""What a tracker is told is what the run's own record says."""

from __future__ import annotations

import pytest

from mner.errors import UsageError
from mner.training.recipe import check_recipe
from mner.training.run import train
from mner.training.tracking import TENSORBOARD_FOLDER, tracker


def test_tensorboard_has_the_curve_of_the_record(backbone, small_dataset, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = check_recipe(
        {
            "model": {"name": "bert-crf", "backbone": str(backbone)},
            "training": {"epochs": 3, "tracker": "tensorboard"},
        }
    )
    run = train(recipe, tmp_path / "run", dataset=small_dataset)
    written = events.EventAccumulator(str(run.folder / TENSORBOARD_FOLDER))
    written.Reload()
    scores = written.Scalars("eval/f1")
    assert [event.step for event in scores] == [point["step"] for point in run.record["curve"]]
    assert [event.value for event in scores] == pytest.approx([point["f1"] for point in run.record["curve"]])
    losses = written.Scalars("train/loss")
    assert [event.value for event in losses] == pytest.approx([one["loss"] for one in run.record["losses"]])


def test_a_tracker_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="pip install mlflow"):
        tracker("mlflow", tmp_path)
