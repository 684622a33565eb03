"""Small tables of small models on a small data folder."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from mner.data import write_folder
from mner.data.dataset import Dataset
from mner.experiments.job import do_run
from mner.experiments.material import places
from mner.experiments.plans import Plan, make_plan
from mner.experiments.shelf import Shelf
from mner.experiments.tables import read_table
from tests.training.conftest import small_posts

RECIPE = """
[model]
name = "bilstm-crf"
[training]
epochs = 3
batch_size = 8
learning_rate = 2e-2
precision = "float32"
"""

TABLE = """
title = "Small"
seeds = [1, 2]
[data.small]
[[rows]]
name = "one"
recipe = "recipe.toml"
[[rows]]
name = "two"
recipe = "recipe.toml"
set = { training.epochs = 2 }
"""

# The run of the second row starts from that of the first.
FROM = TABLE.replace("seeds = [1, 2]", "seeds = [1]") + 'pretrain = { data = "small", row = "one" }\n'


@pytest.fixture
def workshop(tmp_path):
    """A folder with a recipe and a data folder, for tables to be written to."""
    return make_workshop(tmp_path)


def make_workshop(folder: Path) -> Path:
    splits = {"train": small_posts(40, 1), "valid": small_posts(12, 2), "test": small_posts(12, 3)}
    write_folder(Dataset("small", splits), folder / "small")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def planned(folder: Path, text: str, name: str = "table", size: str | None = None, **options) -> Plan:
    """The plan of a table that is written to a folder."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    file = read_table(path, size)
    return make_plan(file, places(file, {}, {}), **options)


def run_here(plan: Plan, shelf: Shelf) -> list[str]:
    """Do the runs of a plan in this process; the keys of those that were not done."""
    done = []
    for key, run in plan.runs.items():
        if shelf.state(run) != "done":
            source = plan.runs[run.start_from] if run.start_from is not None else None
            do_run(run, shelf.root, start_from=source)
            done.append(key)
    return done


class StopAfter:
    """A reporter that breaks the training off after some steps."""

    def __init__(self, steps):
        self.steps = steps

    @contextmanager
    def __call__(self, *about):
        del about

        def advance(count=1, **notes):
            del notes
            self.steps -= count
            if self.steps < 0:
                raise ConnectionError("the cable was pulled")

        yield advance


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workshop whose table has been run: the folder and the plan; not to be changed."""
    folder = make_workshop(tmp_path_factory.mktemp("finished"))
    plan = planned(folder, TABLE)
    shelf = Shelf(folder / "results")
    shelf.check_data(plan)
    run_here(plan, shelf)
    shelf.keep_plan(plan)
    return folder, plan
