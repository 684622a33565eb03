"""Recipes are checked strictly, and every recipe of the project is a right one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mner.errors import RecipeError, UsageError
from mner.models import registered
from mner.training.recipe import check_recipe, model_options, read_recipe

ROOT = Path(__file__).parents[2]
MINIMAL = '[model]\nname = "bert-crf"\n'


def written(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_project_is_right(path):
    if "model" not in tomllib.loads(path.read_text(encoding="utf-8")):
        pytest.skip("a table of experiments, not a recipe")
    recipe = read_recipe(path)
    assert recipe.model.name in registered()


def test_defaults_and_changes(tmp_path):
    path = written(tmp_path, MINIMAL + "dropout = 0.3\n[training]\nseed = 4\n")
    recipe = read_recipe(
        path, ["training.seed=9", "model.backbone=some/folder", "data.label_map={OTHER='MISC'}"]
    )
    assert recipe.training.seed == 9
    assert recipe.model.options == {"dropout": 0.3}
    assert recipe.model.backbone == "some/folder"
    assert recipe.data.label_map == {"OTHER": "MISC"}
    assert check_recipe(recipe.as_dict()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MINIMAL + "[training]\nepochs = 3\nevaluate_from = 4\n",
            "evaluate_from of at most the 3 epochs",
        ),
        (MINIMAL + "[training]\nepoch = 3\n", r"training\.epoch.*Did you mean 'epochs'"),
        (MINIMAL + "[trainning]\nepochs = 3\n", r"trainning.*Did you mean 'training'"),
        (MINIMAL + "droput = 0.1\n", r"model\.droput.*Did you mean 'dropout'"),
        (MINIMAL + "vocabulary_size = 7\n", r"model\.vocabulary_size is not a setting of bert-crf"),
        (MINIMAL + "word_width = 7\n", r"model\.word_width is not a setting of bert-crf"),
        (MINIMAL + 'dropout = "much"\n', r"model\.dropout has a wrong value"),
        (MINIMAL + "[training]\nepochs = 0\n", r"training\.epochs.*greater than or equal to 1"),
        (MINIMAL + '[training]\nepochs = "3"\n', r"training\.epochs.*Expected: a valid integer\."),
        (
            MINIMAL + "[training]\nseed = -1\n",
            r"training\.seed.*Expected: greater than or equal to 0\. Got: -1",
        ),
        (MINIMAL + "[training]\nseed = 4294967296\n", r"training\.seed.*Expected: less than 4294967296\."),
        (MINIMAL + "[training]\nlearning_rates = { texts = 1e-4 }\n", r"learning_rates"),
        (MINIMAL + '[data]\nconvention = "lenient"\n', r"data\.convention"),
        ('[model]\nname = "bert-crff"\n', r"Did you mean 'bert-crf'"),
        ("[training]\nseed = 1\n", r"model is missing"),
        ("[model\n", r"not valid TOML"),
    ],
)
def test_wrong_recipes_name_the_field_and_the_nearest(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_recipe(written(tmp_path, text))


def test_missing_and_unreadable_recipes(tmp_path):
    with pytest.raises(RecipeError, match="no recipe"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes('title = "Übung"\n'.encode("latin-1"))
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "latin.toml")
    with pytest.raises(RecipeError, match=r"section\.key=value"):
        read_recipe(written(tmp_path, MINIMAL), ["training.seed"])


def test_a_number_may_be_written_without_a_point():
    recipe = check_recipe({"model": {"name": "bert-crf", "dropout": 0}, "training": {"learning_rate": 1}})
    assert recipe.training.learning_rate == 1.0


@pytest.mark.parametrize("name", sorted(registered()))
def test_options_are_the_fields_of_the_configuration(name):
    options = model_options(name)
    assert {"scheme", "dropout", "word_shape"} <= set(options)
    assert not {"labels", "text_config", "vision_config", "vocabulary_size"} & set(options)
