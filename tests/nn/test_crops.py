"""Crops of a picture as one sequence of tokens, against the tower's own parts."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPVisionConfig, SiglipVisionConfig

from mner.errors import UsageError
from mner.nn import vision
from mner.nn.crops import CropEmbedding, crop_size

NARROW = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def test_three_crops_are_forty_eight_patches_and_one_class_token():
    config = CLIPVisionConfig(**NARROW, patch_size=32)
    torch.manual_seed(0)
    tower = vision.build_tower(config).eval()
    embedding = CropEmbedding(16, 3)
    mask = torch.tensor([[True] * 3, [True, False, False]])
    pixels = torch.randn(2, 3, 3, 128, 128)
    with torch.no_grad():
        tokens, token_mask = embedding(tower, pixels, mask)
        assert tokens.shape == (2, 49, 16)
        assert token_mask.sum(1).tolist() == [49, 17]
        # The tower's 7 x 7 grid of positions, made 4 x 4 as the tower's own model does it.
        table = tower.embeddings.position_embedding.weight
        grid = table[1:].T.reshape(1, 16, 7, 7)
        grid = torch.nn.functional.interpolate(grid, size=(4, 4), mode="bicubic", align_corners=False)
        places = grid[0].flatten(1).T
        for crop in range(3):
            patches = tower.embeddings.patch_embedding(pixels[0, crop][None])[0].flatten(1).T
            expected = tower.pre_layrnorm(patches + places + embedding.number.weight[crop])
            torch.testing.assert_close(tokens[0, 1 + 16 * crop : 17 + 16 * crop], expected)
        first = tower.pre_layrnorm(tower.embeddings.class_embedding + table[0])
        torch.testing.assert_close(tokens[:, 0], first.expand(2, -1))


def test_a_tower_without_a_class_token_sees_patches_alone():
    torch.manual_seed(0)
    tower = vision.build_tower(SiglipVisionConfig(**NARROW, image_size=32, patch_size=16), head=False).eval()
    pixels = torch.randn(1, 2, 3, 32, 32)
    mask = torch.tensor([[True, False]])
    with torch.no_grad():
        embedding = CropEmbedding(16, 2)
        tokens, token_mask = embedding(tower, pixels, mask)
        for crop in range(2):
            expected = tower.embeddings(pixels[:, crop]) + embedding.number.weight[crop]
            torch.testing.assert_close(tokens[:, 4 * crop : 4 * crop + 4], expected)
    assert token_mask.tolist() == [[True] * 4 + [False] * 4]


@pytest.mark.parametrize(
    ("image_size", "patch_size", "expected"), [(224, 32, 128), (224, 14, 126), (64, 16, 64), (224, 224, 224)]
)
def test_crops_have_the_usual_size_unless_the_towers_own_pictures_are_smaller(
    image_size, patch_size, expected
):
    config = CLIPVisionConfig(**NARROW, image_size=image_size, patch_size=patch_size)
    assert crop_size(config, 128, None) == expected


@pytest.mark.parametrize(("asked", "nearest"), [(130, 128), (90, 96), (1, 32)])
def test_crops_that_do_not_fit_the_patches_are_refused_with_the_nearest_that_do(asked, nearest):
    config = CLIPVisionConfig(**NARROW, patch_size=32)
    assert crop_size(config, 128, 64) == 64
    with pytest.raises(UsageError, match=f"The nearest is {nearest}"):
        crop_size(config, 128, asked)
