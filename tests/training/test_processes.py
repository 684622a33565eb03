"""Several processes, started by torchrun, do what one does with the same posts in a batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mner.data import write_folder
from mner.encoding import LengthGroupedBatches
from mner.errors import UsageError
from mner.recognizer import Recognizer
from mner.training.recipe import check_recipe
from mner.training.run import train
from tests.machine import PATIENCE
from tests.training.together_process import STEPS

ROOT = Path(__file__).parents[2]


def started(*command: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """A Python program, started once or by torchrun."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    result = subprocess.run(
        [*launcher, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result


def seen_by(folder: Path, process: int) -> dict:
    """What a process wrote."""
    return json.loads((folder / f"{process}.json").read_text())


# MGIPS-CL compares the posts of all processes with one another, beside a mean over posts; the others have means over
# words and spans.
@pytest.mark.parametrize(
    "name", ["mgips-cl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "bert-span"))]
)
def test_two_processes_have_the_losses_and_the_choice_of_one(name, tmp_path):
    script = str(Path(__file__).with_name("together_process.py"))
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        started(script, name, str(folder), processes=count)
    one, first, second = (seen_by(tmp_path / "1", 0), *(seen_by(tmp_path / "2", rank) for rank in range(2)))
    assert len(one["losses"]) >= STEPS
    assert one["losses"][0] > one["losses"][-1]
    assert first["losses"] == second["losses"]
    assert first["losses"][:STEPS] == pytest.approx(one["losses"][:STEPS], abs=1e-4)
    # Every post is counted once, so that scores are the same numbers, and each process decides alike.
    assert first["seen"] == second["seen"]
    assert first["seen"] == pytest.approx(one["seen"], abs=1e-9)
    assert first["best"] == second["best"] == max(first["seen"])
    assert first["told"] == second["told"]
    assert len(first["told"]) == len(first["seen"])


def test_torchrun_trains_a_recipe_into_one_run_folder(backbone, small_dataset, tmp_path):
    data = tmp_path / "data"
    write_folder(small_dataset, data)
    tables = {
        "model": {"name": "bert-crf", "backbone": str(backbone), "dropout": 0.0},
        "data": {"folder": str(data)},
        "training": {"epochs": 6, "batch_size": 4, "learning_rate": 3e-3, "precision": "float32"},
    }
    recipe = tmp_path / "recipe.toml"
    lines = []
    for section, values in tables.items():
        lines.append(f"[{section}]")
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in values.items())
    recipe.write_text("\n".join(lines), encoding="utf-8")
    folder = tmp_path / "run"
    result = started("-m", "mner", "train", str(recipe), "--output", str(folder), "--json", processes=2)
    # One document on stdout, though there are two processes.
    document = json.loads(result.stdout)
    assert document["processes"] == 2
    assert document["status"] == "finished"
    recognizer = Recognizer.from_pretrained(folder)
    alone = train(
        check_recipe({**tables, "training": {**tables["training"], "batch_size": 8}}), tmp_path / "alone"
    )
    # The backbone's own dropout draws differently, so the scores are alike and no more.
    assert document["test"]["overall"]["f1"] == pytest.approx(1.0, abs=0.1)
    assert alone.test is not None
    assert alone.test.overall.f1 == pytest.approx(1.0, abs=0.1)
    posts = small_dataset.split("test")
    gold = sum(tag.startswith("B-") for post in posts for tag in post.tags or ())
    assert document["test"]["overall"]["gold"] == gold
    assert any(recognizer.predict(posts))


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("count", [3, 8, 13, 31, 32, 33, 34, 64])
def test_the_shares_of_all_processes_are_the_batches_of_one(count, processes):
    lengths = [1 + (7 * number) % 19 for number in range(count)]
    shares = [
        list(LengthGroupedBatches(lengths, 4, 5, group=2, processes=processes, process=number))
        for number in range(processes)
    ]
    alone = [set(batch) for batch in LengthGroupedBatches(lengths, 4 * processes, 5, group=2)]
    together = [set().union(*batch) for batch in zip(*shares, strict=True)]
    assert all(batch for share in shares for batch in share)
    assert sorted(index for share in shares for batch in share for index in batch) == list(range(count))
    assert len(shares[0]) == len(LengthGroupedBatches(lengths, 4, 5, processes=processes))
    if count % (4 * processes) == 0 or count % (4 * processes) >= processes:
        assert together == alone


def test_fewer_posts_than_processes_are_refused():
    with pytest.raises(UsageError, match="too few"):
        LengthGroupedBatches([3, 4], 4, 1, processes=3)
