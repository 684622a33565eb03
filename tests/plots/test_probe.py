"""The plot of `mner probe` is written in the format that its name says."""

from __future__ import annotations

import pytest

from mner.errors import UsageError
from mner.evaluation.probe_swapping import probe_posts
from mner.plots.probe import plot_swaps
from tests.evaluation.test_probe_swapping import Looker, post


@pytest.fixture(scope="module")
def result():
    return probe_posts(Looker(), [post(number, number) for number in range(20)], samples=100)


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_it_is_drawn(result, tmp_path, suffix, start):
    path = tmp_path / f"probe.{suffix}"
    plot_swaps(result, path, "a title")
    assert path.read_bytes().startswith(start)


def test_what_cannot_be_written_is_explained(result, tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        plot_swaps(result, tmp_path / "probe.something")
