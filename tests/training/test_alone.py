"""Two real processes and one run folder: the second is refused, and a dead one leaves no trace."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mner.errors import RunFolderError
from mner.training.alone import LOCK_FILE, alone_in

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


def command(recipe, folder, *options):
    """`mner train` in a process of its own."""
    words = [sys.executable, "-m", "mner", "train", str(recipe), "--output", str(folder), *options]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def test_a_second_training_is_refused_and_told_why(holder, backbone, small_folder, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[model]\nname = "bert-crf"\nbackbone = "{backbone}"\n[data]\nfolder = "{small_folder}"\n'
        "[training]\nepochs = 1\n",
        encoding="utf-8",
    )
    refused = command(recipe, tmp_path / "run")
    assert refused.returncode == 1
    assert "Another process is training" in refused.stderr
    # Not even --overwrite takes from a training what it is writing.
    assert "Another process is training" in command(recipe, tmp_path / "run", "--overwrite").stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]
    holder.stdin.close()
    holder.wait(timeout=30)
    assert command(recipe, tmp_path / "run", "--overwrite").returncode == 0


def test_the_lock_of_a_killed_process_is_gone(holder, tmp_path):
    with pytest.raises(RunFolderError, match="Another process"), alone_in(tmp_path / "run"):
        raise AssertionError("two processes are in the folder")
    holder.kill()
    holder.wait(timeout=30)
    with alone_in(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot be made"), alone_in(tmp_path / "file" / "run"):
        pass
