"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data sets, named by MNER_DATA; the test is skipped without."""
    folder = os.environ.get("MNER_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set MNER_DATA to the folder with the real data sets to run this")
    return Path(folder)


# Tests that failed when they were last run, by name; each is a task, and goes from the list when it is done.
UNFINISHED = Path(__file__).with_name("unfinished.txt")


def pytest_collection_modifyitems(items):
    """Report what is known not to work as that, aloud, in every run."""
    names = {
        line for line in UNFINISHED.read_text(encoding="utf-8").splitlines() if line[:1] not in {"", "#"}
    }
    for item in items:
        if item.nodeid in names:
            item.add_marker(pytest.mark.xfail(run=False, reason="unfinished: see tests/unfinished.txt"))
