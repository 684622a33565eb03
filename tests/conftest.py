"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# How long an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("mner", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mner")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data sets, named by MNER_DATA; the test is skipped without."""
    folder = os.environ.get("MNER_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set MNER_DATA to the folder with the real data sets to run this")
    return Path(folder)
