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
"""The usual training posts; fewer test posts."""

QUICK_EPOCHS = {"bert-crf": 2, "cat-mner": 9, "cdner": 3, "dghc": 4, "mgips-cl": 4, "mmavk": 3}
"""About half of what the recipes have, so that one takes a minute or a few; docs/results.md has the whole."""


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
    """What a system makes of the probe's test posts after its recipe, trained for `QUICK_EPOCHS`.

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
        [
            'data.test="none"',
            f"training.epochs={QUICK_EPOCHS[name]}",
            *(f'{key}="{value}"' for key, value in places.items()),
            *changes,
        ],
    )
    return evaluate_probe(train(recipe, run).recognizer, probe / "data")


def assert_reads_pictures(result: ProbeResult) -> None:
    """What the quick probe asks of a system: what the whole one asks, each a little less.

    The text alone has a quarter of the ambiguous names, at most half of the pairs, and 99 % of F1 where the
    picture is to be left alone (see `test_probe_systems.py`).
    """
    for found, least in ((result.ambiguous, 0.9), (result.pairs, 0.8)):
        assert found.own >= least
        assert found.followed >= least - 0.05
    assert result.ambiguous.none <= TEXT_MOST
    assert result.unrelated.overall.f1 >= 0.98
    # What the picture is not about stays as the text tells it.
    assert result.forms["aside"].told >= 0.85
    assert result.forms["aside"].told_swapped >= 0.85
