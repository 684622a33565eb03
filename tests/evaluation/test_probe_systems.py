"""The systems that read pictures or text about them, and the text alone, from scratch, on the image probe."""

from __future__ import annotations

import pytest

from mner.evaluation.probe_scoring import TEXT_MOST
from mner.models import registered
from tests.evaluation.probe_training import RECIPES, assert_reads_pictures, probe_folder, trained


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return probe_folder(tmp_path_factory)


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


# DGHC has a file of its own, so that two systems train side by side.
@pytest.mark.parametrize(
    "name",
    ["cdner", "mmavk", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cat-mner", "mgips-cl"))],
)
def test_it_reads_follows_and_leaves_the_picture(name, probe, tmp_path):
    assert_reads_pictures(trained(name, probe, tmp_path / "run"))


@pytest.mark.slow
def test_mmavk_as_printed_cannot_tell_two_names_apart_by_the_picture(probe, tmp_path):
    """Eq. 9 and linear emissions move the tags of all words of a post alike: at most half of the pairs."""
    result = trained("mmavk", probe, tmp_path / "run", "model.literal=true")
    assert result.pairs.own <= 0.5
    assert result.forms["alone"].own >= 0.95
