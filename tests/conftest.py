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
