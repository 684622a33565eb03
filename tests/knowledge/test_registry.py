"""Providers by name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from mner.errors import UsageError
from mner.knowledge.provider import Provider
from mner.knowledge.registry import provider_entries, provider_factory, provider_named, provider_options


def test_every_entry_leads_to_a_class() -> None:
    names = [entry.name for entry in provider_entries()]
    assert len(set(names)) == len(names) >= 15
    for name in names:
        factory = provider_factory(name)
        assert callable(factory)
        for attribute in ("answer", "settings"):
            assert callable(getattr(factory, attribute))


def test_strings_become_what_the_option_is(tmp_path: Path) -> None:
    options = {
        "endpoint": "http://127.0.0.1:1/v1",
        "model": "m",
        "concurrency": "3",
        "timeout": "2.5",
        "seed": "7",
    }
    provider = provider_named("endpoint-reasoning", steps="2", **options)
    assert isinstance(provider, Provider)
    assert (provider.concurrency, provider.steps, provider.generation["seed"]) == (3, 2, 7)
    (tmp_path / "c.txt").write_text("1.jpg :a\n")
    assert (
        provider_named("file", path=str(tmp_path / "c.txt"), drop_placeholders="true").drop_placeholders
        is True
    )


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(UsageError, match="'endpoint-caption'"):
        provider_named("endpoint-captoin")
    with pytest.raises(UsageError, match="Did you mean 'concurrency'"):
        provider_named("endpoint-reasoning", endpoint="http://127.0.0.1:1", model="m", concurency="1")
    with pytest.raises(UsageError, match="needs endpoint and model"):
        provider_named("endpoint-reasoning")
    with pytest.raises(UsageError, match=r"'concurrency'.*'many'"):
        provider_named("endpoint-caption", endpoint="http://127.0.0.1:1", model="m", concurrency="many")
    assert list(provider_options("alt")) == []


def test_another_package_adds_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real package on the path, with real metadata, found as an installed one would be."""
    (tmp_path / "elsewhere.py").write_text(
        "from mner.knowledge.providers.files import AltTextProvider\n"
        "class Loud(AltTextProvider):\n    name = 'loud'\n    def __init__(self, volume: int = 1):\n"
        "        self.volume = volume\n"
    )
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mner.providers]\nloud = elsewhere:Loud\nocr = elsewhere:Loud\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    assert provider_named("loud", volume="3").volume == 3
    summaries = {entry.name: entry.summary for entry in provider_entries()}
    assert summaries["loud"] == "From elsewhere."
    assert "RapidOCR" in summaries["ocr"]
