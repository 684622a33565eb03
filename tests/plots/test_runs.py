"""Run folders become series: seeds together, settings apart."""

from __future__ import annotations

import json

import pytest

from mner.errors import DataError, RunFolderError
from mner.plots.runs import UNSET, read_run, scores_by_setting, series_of


def write(folder, *, seed=1, f1=0.5, model="mmavk", data="x", **options):
    folder.mkdir()
    record = {
        "recipe": {
            "model": {"name": model, **options},
            "data": {"folder": f"/in/{data}"},
            "training": {"seed": seed},
        },
        "data": {"fingerprint": data},
        "curve": [{"step": 10, "epoch": 1.0, "f1": 0.4}, {"step": 20, "epoch": 2.0, "f1": f1}],
        "losses": [{"step": 5, "loss": 3.0}, {"step": 20, "loss": 1.0}],
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "results.json").write_text(json.dumps({"test": {"overall": {"f1": f1}}}))
    return read_run(folder)


def test_what_a_folder_tells(tmp_path):
    run = write(tmp_path / "a", seed=3, threshold=0.2)
    assert run.curve == [(1.0, 0.4), (2.0, 0.5)]
    # Steps become epochs.
    assert run.losses == [(0.5, 3.0), (2.0, 1.0)]
    assert run.score == 0.5
    assert run.settings["model.threshold"] == 0.2
    assert run.settings["training.seed"] == 3


def test_seeds_belong_together_and_settings_name_the_series(tmp_path):
    runs = [
        write(tmp_path / "a", seed=1),
        write(tmp_path / "b", seed=2),
        write(tmp_path / "c", threshold=0.2),
        write(tmp_path / "d", model="cdner"),
    ]
    found = {name: [run.folder.name for run in group] for name, group in series_of(runs).items()}
    assert found == {"mmavk": ["a", "b"], "mmavk, threshold=0.2": ["c"], "cdner": ["d"]}
    assert list(series_of(runs, names=["x", "y", "z"])) == ["x", "y", "z"]
    with pytest.raises(DataError, match="3 names"):
        series_of(runs, names=["x"])


def test_other_data_is_another_series(tmp_path):
    runs = [write(tmp_path / "a", data="twitter2015"), write(tmp_path / "b", data="twitter2017")]
    assert list(series_of(runs)) == ["mmavk, twitter2015", "mmavk, twitter2017"]


def test_scores_by_setting_in_the_order_of_its_values(tmp_path):
    runs = [
        write(tmp_path / "a", f1=0.7, threshold=0.5),
        write(tmp_path / "b", f1=0.6, threshold=0.1),
        write(tmp_path / "c", f1=0.8, threshold=0.1, seed=2),
        write(tmp_path / "d", f1=0.9),
    ]
    found = scores_by_setting(runs, "model.threshold")
    assert found == {"mmavk": {0.1: [0.6, 0.8], 0.5: [0.7], UNSET: [0.9]}}
    assert list(found["mmavk"]) == [0.1, 0.5, UNSET]


def test_what_is_not_there_is_explained(tmp_path):
    run = write(tmp_path / "a", threshold=0.5)
    with pytest.raises(DataError, match=r"Did you mean 'model.threshold'"):
        scores_by_setting([run], "model.treshold")
    with pytest.raises(RunFolderError, match="has no run.json"):
        read_run(tmp_path)
    (tmp_path / "a" / "run.json").write_text("{}")
    with pytest.raises(RunFolderError, match="not the record of a run"):
        read_run(tmp_path / "a")
    (tmp_path / "a" / "results.json").unlink()
    (tmp_path / "a" / "run.json").write_text(
        json.dumps({"recipe": {"model": {"threshold": 1}}, "data": {"fingerprint": "x"}})
    )
    with pytest.raises(DataError, match="no score on test posts"):
        scores_by_setting([read_run(tmp_path / "a")], "model.threshold")
