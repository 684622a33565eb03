"""The small backbones: ordinary folders, the same for the same seed, that know every word of the probe."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mner.data import read_folder
from mner.errors import UsageError
from mner.evaluation import probe_texts
from mner.evaluation.probe import write_probe
from mner.evaluation.probe_backbones import BACKBONES, write_backbones
from mner.knowledge.attaching import attach
from mner.nn import backbones, vision


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_backbones(tmp_path_factory.mktemp("backbones"))


def test_they_load_under_their_folders_names(folders):
    config = backbones.load_config(str(folders["bert"]))
    encoder = backbones.build_encoder(config)
    backbones.load_weights(encoder, str(folders["bert"]))
    assert config.vocab_size == len(backbones.load_tokenizer(str(folders["bert"])))
    for name in ("clip", "siglip"):
        tower_config = vision.load_tower_config(str(folders[name]))
        tower = vision.build_tower(tower_config)
        vision.load_tower_weights(tower, str(folders[name]))
        assert vision.load_normalisation(str(folders[name]), tower_config) == ((0.5,) * 3, (0.5,) * 3)
        vectors = vision.pooled(tower, torch.zeros(2, 3, 24, 24))
        assert vectors.shape == (2, vision.width_of(tower_config))


def test_the_same_seed_gives_the_same_bytes(folders, tmp_path):
    state = torch.get_rng_state()
    again, other = write_backbones(tmp_path / "again"), write_backbones(tmp_path / "other", seed=2)
    assert torch.equal(state, torch.get_rng_state())
    for name in BACKBONES:
        files = [path.name for path in folders[name].iterdir()]
        assert all((folders[name] / file).read_bytes() == (again[name] / file).read_bytes() for file in files)
        weights = "model.safetensors"
        assert (folders[name] / weights).read_bytes() != (other[name] / weights).read_bytes()


def test_they_are_not_replaced_unasked(folders):
    with pytest.raises(UsageError, match="there already"):
        write_backbones(folders["bert"].parent)


def test_no_word_of_the_probe_is_unknown(folders, tmp_path):
    tokenizer = backbones.load_tokenizer(str(folders["bert"]))
    assert not backbones.is_uncased(tokenizer)
    folder = write_probe(tmp_path / "data", seed=11, sizes={"train": 240})
    posts = list(attach(read_folder(folder).split("train"), folder / "knowledge.sqlite"))
    texts = [post.text for post in posts]
    texts += [known.text for post in posts for known in post.knowledge if known.text]
    names = {entity.text for post in posts for entity in post.gold()}
    for text in texts:
        words = tokenizer.tokenize(text)
        assert tokenizer.unk_token not in words
        # Only names are put together from pieces.
        assert sum(word.startswith("##") for word in words) == sum(word in names for word in text.split())


def test_every_name_is_two_pieces(folders):
    tokenizer = backbones.load_tokenizer(str(folders["bert"]))
    names = list(probe_texts.each_name(np.random.default_rng(0)))
    assert len(set(names)) == len(names) == 23_040
    assert all(len(tokenizer.tokenize(name)) == 2 for name in names[:500])
