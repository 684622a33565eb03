"""Training on the image probe as the recipes of `recipes/probe` say, for one test file a core."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from mner.evaluation.probe import SIZES, STORE_FILE, write_probe
from mner.evaluation.probe_backbones import write_backbones
from mner.evaluation.probe_scoring import TEXT_MOST, ProbeResult, evaluate_probe
from mner.training.recipe import read_recipe
from mner.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes" / "probe"

QUICK_SIZES = {**SIZES, "test": 900}
"""The usual training; fewer test posts."""


def probe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe and the backbones, written once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    # Processes of pytest-xdist each have a folder in one that they share.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "image-probe"
    with FileLock(shared / "image-probe.lock"):
        if not folder.exists():
            write_probe(folder / "data", sizes=QUICK_SIZES)
            write_backbones(folder / "backbones")
    return folder


def trained(name: str, probe: Path, run: Path, *changes: str) -> ProbeResult:
    """What a system makes of the probe's test posts after its recipe.

    Args:
        name: The recipe in `RECIPES`.
        probe: What `probe_folder` wrote.
        run: The run folder to write.
        changes: Settings to change, as `--set` takes them.
    """
    places = {
        "data.folder": probe / "data",
        "knowledge.store": probe / "data" / STORE_FILE,
        "model.backbone": probe / "backbones" / "bert",
    }
    if "vision_backbone" in (RECIPES / f"{name}.toml").read_text(encoding="utf-8"):
        places["model.vision_backbone"] = probe / "backbones" / "clip"
    recipe = read_recipe(
        RECIPES / f"{name}.toml",
        # The test posts are scored below, in more than one way.
        ['data.test="none"', *(f'{key}="{value}"' for key, value in places.items()), *changes],
    )
    return evaluate_probe(train(recipe, run).recognizer, probe / "data")


def assert_reads_pictures(result: ProbeResult, least: float = 0.95, followed: float = 0.90) -> None:
    """What the probe asks of a system, without a text model beside it.

    A system may lose a point of F1 to the text alone where the picture is to be left alone; the text alone
    has 99 % and more there (see `test_probe_systems.py`).

    Args:
        result: What the system made of the probe.
        least: Share of posts that have to be right with their own picture, and of names that the text tells.
        followed: Share of posts that have to follow another picture.
    """
    for found in (result.ambiguous, result.pairs):
        assert found.own >= least
        assert found.followed >= followed
    assert result.ambiguous.none <= TEXT_MOST
    assert result.unrelated.overall.f1 >= 0.985
    # What the picture is not about stays as the text tells it.
    assert result.forms["aside"].told >= least
    assert result.forms["aside"].told_swapped >= least
