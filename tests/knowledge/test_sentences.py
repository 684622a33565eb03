from __future__ import annotations

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from mner.knowledge.sentences import SentenceEmbedder
from mner.pretrained import DEFAULT, locate

TEXTS = [
    "Kawhi Leonard wins in Toronto",
    "a",
    "",
    "A basketball player celebrates a victory in Canada 🏀 " * 3,
    "Stock prices fell on Monday",
]


def test_rows_are_the_scaled_means_of_the_states() -> None:
    vectors = SentenceEmbedder(batch_size=2, device="cpu")(TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(locate(DEFAULT))
    model = AutoModel.from_pretrained(locate(DEFAULT), dtype=torch.float32).eval()
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_like_meanings_are_near() -> None:
    embed = SentenceEmbedder(device="cpu")
    vectors = embed(["The cat sleeps on the sofa", "A kitten naps on a couch", "Interest rates rise again"])
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.5 > similarity[0, 2]


def test_no_texts_give_no_rows() -> None:
    assert SentenceEmbedder(device="cpu")([]).shape == (0, 384)
