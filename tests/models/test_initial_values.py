"""Special initial values hold for parts that are made of layers, and never overwrite loaded weights."""

from __future__ import annotations

import torch

from mner.models.base import MnerModel
from mner.nn.word_shape import WordShapeEmbedding
from mner.recognizer import Recognizer
from tests.contract.tiny import tiny


def shape_tables(model: MnerModel) -> list[torch.Tensor]:
    return [
        parameter.detach()
        for module in model.modules()
        if isinstance(module, WordShapeEmbedding)
        for parameter in module.parameters()
    ]


def test_word_shapes_start_as_nothing():
    tables = shape_tables(tiny("bert-crf").model)
    assert tables
    assert not any(bool(table.any()) for table in tables)


def test_a_tagger_without_crf_has_no_scores_of_transitions():
    decoder = tiny("bert").model.decoder
    assert not any(bool(scores.detach().any()) for scores in decoder.crf.parameters())
    assert all(bool(scores.detach().any()) for scores in tiny("bert-crf").model.decoder.crf.parameters())


def test_what_was_trained_is_loaded_as_it_was(tmp_path):
    recognizer = tiny("bert")
    with torch.no_grad():
        for parameter in recognizer.model.parameters():
            parameter.uniform_(0.5, 1.0)
    recognizer.save_pretrained(tmp_path)
    loaded = Recognizer.from_pretrained(tmp_path).model.state_dict()
    for key, value in recognizer.model.state_dict().items():
        assert torch.equal(loaded[key], value), key
