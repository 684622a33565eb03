"""Where a recogniser looked, as its system exposes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mner import Knowledge, Post, Region
from mner.serving.explaining import explain
from tests.contract.tiny import tiny, tiny_picture

POST = Post.from_text("Ada Lindqvist reads in Port Ellery", image=tiny_picture(1))


def test_cells_are_the_attention_of_the_entity_s_words():
    recognizer = tiny("cat-mner")
    recognizer.model.eval()
    entities = recognizer.predict([POST])[0]
    explanation = explain(recognizer, POST, entities)
    assert explanation is not None
    assert len(explanation.looks) == len(entities)
    with torch.inference_mode():
        exposed = recognizer.model(recognizer.encode([POST]), expose=True).exposed["image_attention"][0]
    layers, _, cells = exposed.shape
    for entity, look in zip(entities, explanation.looks, strict=True):
        words = [n for n, (a, b) in enumerate(POST.offsets) if entity.start <= a and b <= entity.end]
        total = [
            sum(float(exposed[layer, word, cell]) for layer in range(layers) for word in words)
            for cell in range(cells)
        ]
        least, most = min(total), max(total)
        wanted = np.array([(value - least) / (most - least) for value in total]).reshape(2, 2)
        np.testing.assert_allclose(look.cells, wanted, atol=1e-4)


def lines(*texts):
    regions = tuple(Region(0.1, 0.2 * n, 0.9, 0.2 * n + 0.1, text) for n, text in enumerate(texts))
    return Knowledge("ocr", "\n".join(texts), regions=regions, origin="test")


def test_words_and_places_of_what_was_read_in_the_picture():
    recognizer = tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"], knowledge_length=64)
    post = POST.with_fields(knowledge=(lines("Ivo reads", "Port"),))
    entities = recognizer.predict([post])[0]
    explanation = explain(recognizer, post, entities)
    assert explanation is not None
    for look in explanation.looks:
        assert [word for word, _ in look.words] == ["ivo", "reads", "port"]
        strengths = [strength for _, strength in look.words]
        assert max(strengths) == pytest.approx(1.0)
        (first, of_first), (second, of_second) = look.regions
        assert (first.label, second.label) == ("Ivo reads", "Port")
        assert of_first == pytest.approx(max(strengths[:2]))
        assert of_second == pytest.approx(strengths[2])


def test_a_better_text_is_explained_without_places():
    recognizer = tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"], knowledge_length=24)
    post = POST.with_fields(alt="Ada reads", knowledge=(lines("Port"),))
    explanation = explain(recognizer, post, recognizer.predict([post])[0])
    assert explanation is not None
    assert [word for word, _ in explanation.looks[0].words] == ["ada", "reads"]
    assert explanation.looks[0].regions == ()


@pytest.mark.parametrize("name", ["bert-crf", "bilstm-crf", "dghc", "mgips-cl", "cdner"])
def test_systems_that_show_nothing_of_the_kind_explain_nothing(name):
    recognizer = tiny(name)
    assert explain(recognizer, POST, recognizer.predict([POST])[0]) is None
