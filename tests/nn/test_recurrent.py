"""Recurrent and convolutional readers against loops over single sequences."""

from __future__ import annotations

import torch

from mner.nn.recurrent import BidirectionalLSTM, CharacterCNN, CharacterLSTM
from mner.nn.words import gather_words


def prefix_mask(lengths, widest):
    return torch.arange(widest) < torch.tensor(lengths)[:, None]


def test_lstm_reads_each_sequence_as_if_alone():
    torch.manual_seed(0)
    lstm = BidirectionalLSTM(5, 6, layers=2)
    lengths = [4, 0, 7, 1]
    inputs = torch.randn(4, 7, 5)
    mask = prefix_mask(lengths, 7)
    states, last = lstm(inputs.masked_fill(~mask.unsqueeze(-1), 99.0), mask)
    for row, length in enumerate(lengths):
        assert (states[row, length:] == 0).all()
        if length == 0:
            assert (last[row] == 0).all()
            continue
        alone, (hidden, _) = lstm.lstm(inputs[row : row + 1, :length])
        torch.testing.assert_close(states[row, :length], alone[0])
        torch.testing.assert_close(last[row], torch.cat((hidden[-2, 0], hidden[-1, 0])))


def test_character_cnn_equals_a_loop_over_windows():
    torch.manual_seed(0)
    cnn = CharacterCNN(20, 4, 6, window=3)
    characters = torch.tensor([[[3, 4, 5, 0], [7, 0, 0, 0]], [[2, 9, 0, 0], [0, 0, 0, 0]]])
    vectors = cnn(characters)
    weight, bias = cnn.convolution.weight, cnn.convolution.bias
    for post in range(2):
        for word in range(2):
            spelling = [c for c in characters[post, word].tolist() if c]
            if not spelling:
                assert (vectors[post, word] == 0).all()
                continue
            embedded = [torch.zeros(4), *(cnn.embedding.weight[c] for c in spelling), torch.zeros(4)]
            values = []
            for position in range(1, len(spelling) + 1):
                window = torch.stack(embedded[position - 1 : position + 2], dim=1)
                values.append((weight * window).sum((1, 2)) + bias)
            torch.testing.assert_close(vectors[post, word], torch.stack(values).max(0).values)


def test_character_lstm_reads_each_word_as_if_alone():
    torch.manual_seed(0)
    reader = CharacterLSTM(20, 4, 6)
    characters = torch.tensor([[[3, 4, 5, 6], [7, 0, 0, 0]], [[2, 9, 0, 0], [0, 0, 0, 0]]])
    vectors = reader(characters)
    for post in range(2):
        for word in range(2):
            spelling = characters[post, word][characters[post, word] > 0]
            if len(spelling) == 0:
                assert (vectors[post, word] == 0).all()
                continue
            _, (hidden, _) = reader.lstm.lstm(reader.embedding(spelling)[None])
            torch.testing.assert_close(vectors[post, word], torch.cat((hidden[0, 0], hidden[1, 0])))


def test_words_are_gathered_from_their_windows():
    states = torch.randn(3, 5, 4)
    rows = torch.tensor([[0, 1, 1], [2, 0, 0]])
    columns = torch.tensor([[1, 2, 4], [3, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    words = gather_words(states, rows, columns, mask)
    for post in range(2):
        for word in range(3):
            expected = states[rows[post, word], columns[post, word]] if mask[post, word] else torch.zeros(4)
            assert torch.equal(words[post, word], expected)
