"""What run folders tell about how they were trained, as series for figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mner.errors import DataError, RunFolderError, did_you_mean, shown
from mner.plots.curves import Curve
from mner.plots.sensitivity import Setting

# As `mner.training.run` calls them; the module itself would bring torch along.
RECORD_FILE = "run.json"
RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class RunRecord:
    """What a run folder tells.

    Args:
        folder: The folder.
        settings: The recipe's values by dotted name, such as ``training.seed``.
        curve: Epochs and F1 on the validation posts.
        losses: Epochs and training loss.
        score: F1 on the test posts, or None where there were none.
        data: The fingerprint of the data.
    """

    folder: Path
    settings: dict[str, Any]
    curve: Curve
    losses: Curve
    score: float | None
    data: str


def read_run(folder: Path | str) -> RunRecord:
    """Read what a run folder tells.

    Raises:
        RunFolderError: It is not a run folder, or is damaged.
    """
    folder = Path(folder)
    record = _json(folder / RECORD_FILE)
    try:
        points = record.get("curve", [])
        epoch_of = {point["step"]: point["epoch"] for point in points}
        # Losses are logged by step; an epoch has as many steps as the curve says.
        steps = next((step / epoch for step, epoch in epoch_of.items() if epoch), None)
        results = _json(folder / RESULTS_FILE) if (folder / RESULTS_FILE).is_file() else {}
        scores = next(iter(results.values()), None)
        return RunRecord(
            folder=folder,
            settings=dict(_flat(record["recipe"])),
            curve=[(point["epoch"], point["f1"]) for point in points],
            losses=[(one["step"] / steps, one["loss"]) for one in record.get("losses", []) if steps],
            score=scores["overall"]["f1"] if scores else None,
            data=record["data"]["fingerprint"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{folder / RECORD_FILE} is not the record of a run.", got=f"no {error}"
        ) from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(
            f"{path.parent} has no {path.name}.", expected="a folder that `mner train` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read.", got=str(error)) from error


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found


UNSET = "default"
"""The value of a setting that a recipe leaves out."""

# What does not make two runs different series.
_ASIDE = ("training.seed", "title", "data.folder")


def series_of(
    runs: Sequence[RunRecord], aside: Sequence[str] = (), names: Sequence[str] = ()
) -> dict[str, list[RunRecord]]:
    """Runs that differ in nothing but the seed together, under the name of their model.

    Where a model has several series, the settings in which they differ are named too.

    Args:
        runs: The runs.
        aside: Further settings in which runs of one series may differ.
        names: The names of the series, in the order in which they come; found where there are none.

    Raises:
        DataError: There are not as many names as series.
    """
    left_out = {*_ASIDE, *aside}
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        kept = {name: value for name, value in run.settings.items() if name not in left_out}
        groups.setdefault(json.dumps([kept, run.data], sort_keys=True), []).append(run)
    members = list(groups.values())
    if names:
        if len(names) != len(members):
            raise DataError(
                "There are not as many names as series.",
                expected=f"{len(members)} names, one for the runs of each setting",
                got=str(len(names)),
            )
        return dict(zip(names, members, strict=True))
    result: dict[str, list[RunRecord]] = {}
    for group in members:
        model = group[0].settings.get("model.name", group[0].folder.name)
        rivals = [other[0] for other in members if other[0].settings.get("model.name") == model]
        differing = _differing(rivals, left_out)
        parts = [model]
        if len({run.data for run in rivals}) > 1:
            parts.append(Path(str(group[0].settings.get("data.folder", "data"))).name)
            # How the types of other data are renamed goes without saying.
            differing = [name for name in differing if not name.startswith("data.label_map")]
        settings = group[0].settings
        parts += [f"{name.split('.')[-1]}={settings[name]}" for name in differing if name in settings]
        name = ", ".join(map(str, parts))
        result.setdefault(name if name not in result else f"{name} ({group[0].folder.name})", group)
    return result


def _differing(runs: Sequence[RunRecord], left_out: set[str]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in left_out)
    return [name for name in names if len({str(run.settings.get(name)) for run in runs}) > 1]


def scores_by_setting(
    runs: Sequence[RunRecord], setting: str, names: Sequence[str] = ()
) -> dict[str, dict[Setting, list[float]]]:
    """The test scores of runs by the value of a setting.

    Args:
        runs: The runs.
        setting: The setting's dotted name, such as ``model.threshold``.
        names: The names of the series.

    Returns:
        For each series its scores by the setting's value, in the order of the values; runs whose recipes
        leave the setting out stand under `UNSET`.

    Raises:
        DataError: No run has such a setting, or one has no test score.
    """
    if not any(setting in run.settings for run in runs):
        known = dict.fromkeys(name for run in runs for name in run.settings)
        raise DataError(f"No run sets {shown(setting)}.", hint=did_you_mean(setting, known))
    for run in runs:
        if run.score is None:
            raise DataError(f"The run {run.folder} has no score on test posts.")
    result: dict[str, dict[Setting, list[float]]] = {}
    for name, group in series_of(runs, [setting], names).items():
        found: dict[Setting, list[float]] = {}
        for run in sorted(group, key=lambda one: _order(one.settings.get(setting, UNSET))):
            value = run.settings.get(setting, UNSET)
            assert run.score is not None
            found.setdefault(value if isinstance(value, int | float | str) else str(value), []).append(
                run.score
            )
        result[name] = found
    return result


def _order(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float)
    return (0, float(value), "") if number else (1, 0.0, str(value))
