"""The recipe that `mner models NAME` prints."""

from __future__ import annotations

import itertools
import tomllib

import pytest

from mner.cli.app import run
from mner.errors import UsageError
from mner.models import registered
from mner.training.recipe import DataSection, KnowledgeSection, TrainingSection, check_recipe, model_options
from mner.training.template import template


@pytest.mark.parametrize("name", sorted(registered()))
def test_it_is_a_recipe_that_says_what_is_so_anyway(name):
    text = template(name)
    recipe = check_recipe(tomllib.loads(text), "template")
    assert recipe == check_recipe({"model": {"name": name, **recipe.model.options}}, "short")
    # What a recipe leaves out and what it says make the same model.
    config = registered()[name].model.config_class
    for key, value in recipe.model.options.items():
        default = getattr(config(), key)
        assert (list(default) if isinstance(default, tuple) else default) == value


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_key_is_there_and_explained(name):
    lines = template(name).splitlines()
    keys = [line.removeprefix("# ").split(" =")[0] for line in lines if " =" in line]
    for section in (DataSection, KnowledgeSection, TrainingSection):
        assert set(section.model_fields) <= set(keys)
    assert set(model_options(name)) <= set(keys)
    for before, line in itertools.pairwise(lines):
        if " =" in line and not line.startswith(("title", "# # ")):
            assert before.startswith("# "), line


def test_adapters_can_be_uncommented():
    head, _, tail = template("bert-crf").partition("# [adapter]")
    adapter, _, rest = tail.partition("\n\n")
    opened = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in adapter.splitlines()
    )
    tables = tomllib.loads(f"{head}[adapter]{opened}\n\n{rest}")
    assert check_recipe(tables, "template").adapter is not None


def test_the_command_prints_it(capsys):
    assert run(["models", "dghc"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["model"]["name"] == "dghc"
    assert run(["models", "dhgc"]) == 2
    assert "dghc" in capsys.readouterr().err
    with pytest.raises(UsageError):
        template("nothing")
