"""From windows back to words and posts."""

from __future__ import annotations

import torch

from mner.nn.words import gather_words, mean_over_windows


def test_each_word_has_the_state_of_its_place_and_padding_none():
    states = torch.arange(24.0).reshape(2, 4, 3)
    rows, columns = torch.tensor([[1, 0], [0, 0]]), torch.tensor([[2, 3], [1, 0]])
    mask = torch.tensor([[True, True], [True, False]])
    words = gather_words(states, rows, columns, mask)
    assert words.tolist() == [[[18, 19, 20], [9, 10, 11]], [[3, 4, 5], [0, 0, 0]]]


def test_the_mean_over_a_posts_windows():
    vectors = torch.tensor([[1.0, 2.0], [10.0, 20.0], [3.0, 6.0]])
    means = mean_over_windows(vectors, torch.tensor([0, 2, 0]), 3)
    assert means.tolist() == [[2.0, 4.0], [0.0, 0.0], [10.0, 20.0]]
