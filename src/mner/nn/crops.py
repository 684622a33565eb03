"""Several crops of a picture as one sequence of a vision tower's tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from mner.errors import UsageError
from mner.nn import vision


def crop_size(config: PreTrainedConfig, usual: int, asked: int | None) -> int:
    """The side of a crop in pixels, in whole patches.

    Args:
        config: The tower's configuration.
        usual: The side where none is asked for; less where the tower's own pictures are smaller.
        asked: The side that is asked for.

    Raises:
        UsageError: What was asked for does not consist of whole patches.
    """
    patch = vision.patch_of(config)
    if asked is None:
        return max(min(usual, vision.image_size_of(config)) // patch, 1) * patch
    if asked < patch or asked % patch:
        raise UsageError(
            "Crops of that size cannot be cut into the tower's patches.",
            expected=f"crop_size: a multiple of {patch}",
            got=str(asked),
            hint=f"The nearest is {max(round(asked / patch), 1) * patch}.",
        )
    return asked


class CropEmbedding(nn.Module):
    """What a tower's first layer sees of several crops of a picture: one sequence, one class token.

    The tower's positions are interpolated to a crop and shared by all. A learned embedding of its number
    tells a crop from the others; it is added to the patches, before any norm of the tower's.

    Args:
        width: The tower's width d_v.
        crops: Number of crops.
    """

    def __init__(self, width: int, crops: int) -> None:
        super().__init__()
        self.number = nn.Embedding(crops, width)

    def forward(self, tower: PreTrainedModel, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Crops to tokens.

        Args:
            tower: The tower.
            pixels: (Q, c, 3, s, s).
            mask: (Q, c) true at crops that are there; the first is.

        Returns:
            (Q, m, d_v) and their mask (Q, m): one class token, if the tower has any, then each
            crop's patches row by row.
        """
        crops, classes = pixels.shape[1], int(vision.has_class_token(tower.config))
        patches = vision.token_count(tower.config, pixels.shape[-1]) - classes
        numbers = self.number.weight[:, None].expand(-1, patches, -1)
        addition = F.pad(numbers, (0, 0, classes, 0)).repeat(len(pixels), 1, 1)
        tokens = vision.embedded(tower, pixels.flatten(0, 1), addition).unflatten(0, (-1, crops))
        joined = torch.cat((tokens[:, 0, :classes], tokens[:, :, classes:].flatten(1, 2)), 1)
        return joined, torch.cat((mask[:, :classes], mask.repeat_interleave(patches, 1)), 1)
