"""What the pages say can be done: every command is one, every setting exists, every link leads somewhere."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
import typer

from mner.cli import app as command_line
from mner.models import registered
from mner.training.recipe import Recipe
from tests.docs.pages import PAGES, ROOT, blocks, mner_commands
from tests.machine import PATIENCE

SHELL = blocks("bash")

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def named(found):
    """Blocks as parameters whose names say where they are."""
    return [pytest.param(block, id=block.name) for block in found]


def test_every_block_says_what_it_is():
    assert [block.name for block in blocks("")] == []


@pytest.mark.parametrize("block", named(block for block in SHELL if mner_commands(block)))
def test_every_command_is_one(block):
    command_line._add_commands()
    root = typer.main.get_command(command_line.app)
    for words in mner_commands(block):
        command, name, rest = root, "mner", [word for word in words if word != "--debug"]
        while hasattr(command, "resolve_command"):
            context = typer.Context(command, info_name=name)
            name, command, rest = command.resolve_command(context, rest)
        # Parsing refuses unknown options, missing arguments and values that do not fit.
        command.make_context(name, rest)


def options_of(command):
    """The options of a command and of all below it."""
    found = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    return found.union(*(options_of(below) for below in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_option_in_the_prose_is_one(path):
    command_line._add_commands()
    known = options_of(typer.main.get_command(command_line.app)) | {"--help"}
    # What begins otherwise is another program's.
    said = re.findall(r"`((?:mner |--)[^`]*)`", FENCED.sub("", path.read_text(encoding="utf-8")))
    named_there = {option for code in said for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)}
    assert named_there - known == set()


@pytest.mark.parametrize("block", named(blocks("toml")))
def test_settings_are_toml_and_recipes_are_right(block):
    tables = tomllib.loads(block.text)
    if "name" in tables.get("model", {}) and tables["model"]["name"] in registered():
        from mner.training.recipe import check_recipe

        check_recipe(tables)
    elif "model" not in tables and set(tables) <= set(Recipe.model_fields):
        Recipe.model_validate({"model": {"name": "bert-crf"}, **tables})


@pytest.mark.parametrize("block", named(blocks("json")))
def test_json_is_json(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", named(blocks("python")))
def test_python_imports_what_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mner":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    built = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    for path in PAGES:
        if path.parent.name != ROOT.name and path.name != "README.md":
            page = path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
            assert page in built
    # The built pages fetch nothing: no style, script or font of another server.
    for path in (tmp_path / "site").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text
