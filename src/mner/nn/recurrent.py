"""Recurrent and convolutional encoders of words and of the characters within them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM over padded sequences; what stands in the padding changes nothing.

    Args:
        input_width: Width of the inputs.
        width: Width of the outputs, both directions together; even.
        layers: Number of layers.
        dropout: Dropout between layers.
    """

    def __init__(self, input_width: int, width: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"the width of both directions together must be even, got {width}")
        self.lstm = nn.LSTM(
            input_width,
            width // 2,
            num_layers=layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Read sequences.

        Args:
            inputs: (B, n, input_width).
            mask: (B, n) true at a prefix of each row.

        Returns:
            States (B, n, width), zero at padding, and the last states of both directions (B, width).
        """
        if torch.onnx.is_in_onnx_export():
            return self._as_graph(inputs, mask)
        # An empty sequence is read as one step of padding and masked away after.
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        output, (last, _) = self.lstm(packed)
        states, _ = pad_packed_sequence(output, batch_first=True, total_length=inputs.shape[1])
        present = mask.any(1, keepdim=True).to(states.dtype)
        both = torch.cat((last[-2], last[-1]), dim=-1) * present
        return states * mask.unsqueeze(-1).to(states.dtype), both

    def _as_graph(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The same as ONNX says it, whose LSTM takes the lengths of sequences."""
        from torch.onnx import ops

        lstm = self.lstm
        lengths = mask.sum(1).clamp(min=1).to(torch.int32)
        words, posts, width = inputs.shape[1], inputs.shape[0], lstm.hidden_size
        states = inputs.transpose(0, 1)
        for layer in range(lstm.num_layers):
            names = [f"l{layer}", f"l{layer}_reverse"]
            into, within, from_input, from_state = (
                [_gates_as_in_onnx(getattr(lstm, f"{part}_{name}"), width) for name in names]
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            biases = [torch.cat(both) for both in zip(from_input, from_state, strict=True)]
            output, last, _ = ops.symbolic_multi_out(
                "LSTM",
                [states, torch.stack(into), torch.stack(within), torch.stack(biases), lengths],
                {"direction": "bidirectional", "hidden_size": width},
                dtypes=[inputs.dtype] * 3,
                shapes=[(words, 2, posts, width), (2, posts, width), (2, posts, width)],
            )
            states = output.transpose(1, 2).reshape(words, posts, 2 * width)
        present = mask.any(1, keepdim=True).to(inputs.dtype)
        both = torch.cat((last[0], last[1]), dim=-1) * present
        return states.transpose(0, 1) * mask.unsqueeze(-1).to(inputs.dtype), both


def _gates_as_in_onnx(weight: Tensor, width: int) -> Tensor:
    # torch writes the gates as input, forget, cell, output; ONNX as input, output, forget, cell.
    entry, forget, cell, output = weight.split(width)
    return torch.cat((entry, output, forget, cell))


class CharacterLSTM(nn.Module):
    """Word vectors from the last states of a bidirectional LSTM over characters.

    Source: Lample et al. (2016), Neural Architectures for Named Entity Recognition, section 4.1.

    Args:
        characters: Number of characters, padding (0) and unknown (1) included.
        embedding_width: Width of a character's embedding.
        width: Width of a word's vector; even.
    """

    def __init__(self, characters: int, embedding_width: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, embedding_width, padding_idx=0)
        self.lstm = BidirectionalLSTM(embedding_width, width)

    def forward(self, characters: Tensor) -> Tensor:
        """Character indices (B, W, C), 0 at padding, to word vectors (B, W, width)."""
        flat = characters.flatten(0, 1)
        _, last = self.lstm(self.embedding(flat), flat > 0)
        return last.view(*characters.shape[:2], -1)


class CharacterCNN(nn.Module):
    """Word vectors from a convolution over characters and the maximum over positions.

    Source: Ma and Hovy (2016), End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF, section 2.1.

    Args:
        characters: Number of characters, padding (0) and unknown (1) included.
        embedding_width: Width of a character's embedding.
        width: Number of filters, which is the width of a word's vector.
        window: Characters a filter sees; odd.
    """

    def __init__(self, characters: int, embedding_width: int, width: int, window: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, embedding_width, padding_idx=0)
        self.convolution = nn.Conv1d(embedding_width, width, window, padding=window // 2)

    def forward(self, characters: Tensor) -> Tensor:
        """Character indices (B, W, C), 0 at padding, to word vectors (B, W, width)."""
        flat = characters.flatten(0, 1)
        mask = flat > 0
        features = self.convolution(self.embedding(flat).transpose(1, 2))
        features = features.masked_fill(~mask.unsqueeze(1), float("-inf"))
        best = features.max(-1).values
        best = torch.where(mask.any(1, keepdim=True), best, torch.zeros_like(best))
        return best.view(*characters.shape[:2], -1)
