"""Every registered model in turn."""

from __future__ import annotations

import pytest

from mner.models import registered

from .tiny import tiny


@pytest.fixture(params=sorted(registered()))
def name(request):
    """The name of each registered model."""
    return request.param


@pytest.fixture
def recognizer(name):
    """Each registered model's tiny recogniser, not trained."""
    built = tiny(name)
    built.model.eval()
    return built
