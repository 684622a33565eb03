"""Vectors keep their neighbours, and the page holds all it needs."""

from __future__ import annotations

import json
import re
import shutil
import sys

import numpy as np
import pytest

from mner.errors import DataError, MissingExtraError
from mner.plots.figures import COLOURS
from mner.plots.vectors import LEAST_VECTORS, laid_out, vectors_page
from tests.machine import PATIENCE
from tests.plots.test_figures import Elements

WAIT = PATIENCE * 1000


@pytest.fixture(scope="module")
def groups():
    """Two groups of vectors, far from each other."""
    random = np.random.default_rng(0)
    return np.concatenate([random.normal(0, 0.1, (20, 16)), random.normal(5, 0.1, (20, 16))])


def test_neighbours_stay_neighbours_and_the_seed_decides(groups):
    points = laid_out(groups, seed=1)
    assert points.shape == (40, 3)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert ((distances.argmin(1) < 20) == (np.arange(40) < 20)).all()
    assert np.array_equal(points, laid_out(groups, seed=1))


@pytest.mark.parametrize("count", [LEAST_VECTORS, LEAST_VECTORS + 1])
def test_few_vectors_can_be_laid_out(count):
    vectors = np.random.default_rng(1).normal(size=(count, 2))
    assert laid_out(vectors, dimensions=2).shape == (count, 2)


def test_too_few_vectors_are_explained():
    with pytest.raises(DataError, match="too few"):
        laid_out(np.zeros((LEAST_VECTORS - 1, 4)))


@pytest.mark.parametrize("missing", ["sklearn.manifold", "plotly"])
def test_what_is_missing_is_named(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"mner\[plots\]"):
        vectors_page(laid_out(np.eye(6)), ["a"] * 6, ["b"] * 6, ["c"] * 6, "title")


@pytest.fixture(scope="module")
def page():
    points = np.arange(12.0).reshape(4, 3)
    mentions = ["Ada", "<script>alert(1)</script>", "Lund", "A&B"]
    return vectors_page(
        points, ["PER", "PER", "LOC", "ORG"], mentions, ["a post", "more", "x " * 60, "</script>"], "On <it>"
    )


def test_points_have_their_places_types_and_texts(page):
    drawn = re.search(r'Plotly\.newPlot\(\s*"vectors",\s*(\[.*?\]),\s*\{"template"', page, re.DOTALL)
    traces = json.loads(drawn.group(1))
    assert [trace["name"] for trace in traces] == ["LOC (1)", "ORG (1)", "PER (2)"]
    persons = traces[2]
    assert (persons["x"], persons["y"], persons["z"]) == ([0.0, 3.0], [1.0, 4.0], [2.0, 5.0])
    assert persons["hovertext"][0] == "<b>Ada</b> (PER)<br>a post"
    assert [trace["marker"]["color"] for trace in traces] == list(COLOURS[:3])
    assert len({trace["marker"]["symbol"] for trace in traces}) == 3
    # Long posts are folded into lines.
    assert max(map(len, traces[0]["hovertext"][0].split("<br>"))) < 70


def test_nothing_is_loaded_and_no_text_becomes_markup(page):
    parsed = Elements(page)
    for tag, attributes in parsed.found:
        assert tag not in ("link", "iframe", "img")
        assert attributes.get("src") is None
    # The names and texts of posts are escaped: the scripts are those of the page alone.
    assert page.count("<script>alert") == 0
    assert "<title>On &lt;it&gt;</title>" in page


def test_it_opens_in_a_browser_without_a_network(page, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    asked, failed = [], []
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=browser, args=["--no-sandbox"], timeout=WAIT)
        context = opened.new_context(offline=True)
        shown = context.new_page()
        shown.set_default_timeout(WAIT)
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("pageerror", lambda error: failed.append(str(error)))
        shown.goto(path.as_uri())
        shown.wait_for_selector("#vectors .legendtext")
        names = shown.eval_on_selector_all(
            "#vectors .legendtext", "found => found.map(one => one.textContent)"
        )
        opened.close()
    assert names == ["LOC (1)", "ORG (1)", "PER (2)"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert failed == []
