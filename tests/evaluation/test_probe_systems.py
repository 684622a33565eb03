"""The systems that read pictures or text about them, and the text alone, from scratch, on the image probe.

They are trained as the recipes of `recipes/probe` say, for fewer epochs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mner.evaluation.probe import SIZES, STORE_FILE, write_probe
from mner.evaluation.probe_backbones import write_backbones
from mner.evaluation.probe_scoring import TEXT_MOST, ProbeResult, evaluate_probe
from mner.models import registered
from mner.training.recipe import read_recipe
from mner.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes" / "probe"

QUICK_SIZES = {**SIZES, "test": 900}
"""The usual training posts; fewer test posts."""

QUICK_EPOCHS = {"bert-crf": 2, "cat-mner": 9, "cdner": 3, "dghc": 4, "mgips-cl": 4, "mmavk": 3}
"""About half of what the recipes have, so that one takes a minute or a few; docs/results.md has the whole."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A folder with the probe and its backbones."""
    folder = tmp_path_factory.mktemp("image-probe")
    write_probe(folder / "data", sizes=QUICK_SIZES)
    write_backbones(folder / "backbones")
    return folder


def trained(name: str, probe: Path, run: Path, *changes: str) -> ProbeResult:
    """What a system makes of the probe's test posts after its recipe, trained for `QUICK_EPOCHS`.

    Args:
        name: The recipe in `RECIPES`.
        probe: The folder that the fixture `probe` wrote.
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
    picture is to be left alone (the test of the text alone).
    """
    for found, least in ((result.ambiguous, 0.9), (result.pairs, 0.8)):
        assert found.own >= least
        assert found.followed >= least - 0.05
    assert result.ambiguous.none <= TEXT_MOST
    assert result.unrelated.overall.f1 >= 0.98
    # What the picture is not about stays as the text tells it.
    assert result.forms["aside"].told >= 0.85
    assert result.forms["aside"].told_swapped >= 0.85


def test_every_system_has_a_recipe():
    systems = {name for name, entry in registered().items() if entry.reads_pictures}
    recipes = {path.stem for path in RECIPES.glob("*.toml")} - {"ablation"}
    assert recipes == {"bert-crf", *systems}


def test_the_text_alone_is_at_chance_on_ambiguous_names_and_right_on_others(probe, tmp_path):
    text = trained("bert-crf", probe, tmp_path / "run")
    assert text.ambiguous.own <= TEXT_MOST
    assert text.ambiguous.own == text.ambiguous.none
    assert text.pairs.own <= 0.5
    assert text.unrelated.overall.f1 >= 0.99


# Those with a vision tower take minutes each.
TOWERS = ("cat-mner", "dghc", "mgips-cl")


@pytest.mark.parametrize(
    "name", ["cdner", "mmavk", *(pytest.param(name, marks=pytest.mark.slow) for name in TOWERS)]
)
def test_it_reads_follows_and_leaves_the_picture(name, probe, tmp_path):
    assert_reads_pictures(trained(name, probe, tmp_path / "run"))


@pytest.mark.slow
def test_mmavk_as_printed_cannot_tell_two_names_apart_by_the_picture(probe, tmp_path):
    """Eq. 9 and linear emissions move the tags of all words of a post alike: at most half of the pairs."""
    result = trained("mmavk", probe, tmp_path / "run", "model.literal=true")
    assert result.pairs.own <= 0.5
    assert result.forms["alone"].own >= 0.95
