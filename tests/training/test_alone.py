"""Two real processes and one run folder: the second is refused, and a dead one leaves no trace."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mner.cli.app import run as command
from mner.errors import RunFolderError
from mner.training.alone import LOCK_FILE, alone_in
from tests.machine import PATIENCE

HOLD = """
import sys
from pathlib import Path
from mner.training.alone import alone_in
with alone_in(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process inside of the folder; it leaves when its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "inside\n"
        yield process
        process.kill()


def test_a_second_training_is_refused_and_told_why(holder, backbone, small_folder, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[model]\nname = "bert-crf"\nbackbone = "{backbone}"\n[data]\nfolder = "{small_folder}"\n'
        "[training]\nepochs = 1\n",
        encoding="utf-8",
    )
    train = ["train", str(recipe), "--output", str(tmp_path / "run")]
    # Not even --overwrite takes from a training what it is writing.
    for options in ([], ["--overwrite"]):
        assert command([*train, *options]) == 1
        assert "Another process is training" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]
    holder.stdin.close()
    holder.wait(timeout=PATIENCE)
    assert command([*train, "--overwrite"]) == 0


def test_the_lock_of_a_killed_process_is_gone(holder, tmp_path):
    with pytest.raises(RunFolderError, match="Another process"), alone_in(tmp_path / "run"):
        raise AssertionError("two processes are in the folder")
    holder.kill()
    holder.wait(timeout=PATIENCE)
    with alone_in(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot be made"), alone_in(tmp_path / "file" / "run"):
        pass
