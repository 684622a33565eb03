"""Vision towers against the whole models they are taken from."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    BertConfig,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Siglip2VisionConfig,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
)

from mner.errors import BackboneError, UsageError
from mner.nn import vision
from mner.pretrained import quiet_loading

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
WHOLE = {
    "clip": (CLIPModel, CLIPConfig),
    "siglip": (SiglipModel, SiglipConfig),
    "chinese-clip": (ChineseCLIPModel, ChineseCLIPConfig),
}


@pytest.fixture(params=sorted(WHOLE))
def whole(request):
    model_class, config_class = WHOLE[request.param]
    torch.manual_seed(1)
    return model_class(config_class(text_config=TEXT, vision_config=VISION)).eval()


def test_a_whole_checkpoint_and_its_vision_half_fill_a_tower_bit_by_bit(whole, tmp_path):
    with quiet_loading():
        whole.save_pretrained(tmp_path / "whole")
    names = [name for name in whole.state_dict() if name.startswith("vision_model.")]
    for folder in ("whole", "half"):
        config = vision.load_tower_config(str(tmp_path / folder))
        torch.manual_seed(2)
        tower = vision.build_tower(config)
        vision.load_tower_weights(tower, str(tmp_path / folder))
        own = tower.state_dict()
        assert sorted(f"vision_model.{name}" for name in own) == sorted(names)
        for name in names:
            assert torch.equal(own[name.removeprefix("vision_model.")], whole.state_dict()[name]), name
        if folder == "whole":
            with quiet_loading():
                tower.save_pretrained(tmp_path / "half")


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (48, 48), (16, 32)])
def test_tokens_and_pooled_vectors_are_those_of_the_model(whole, size):
    config = whole.config.vision_config
    tower = vision.build_tower(config).eval()
    tower.load_state_dict(whole.vision_model.state_dict())
    pixels = torch.randn(3, 3, *size)
    with torch.no_grad():
        theirs = whole.vision_model(pixel_values=pixels, interpolate_pos_encoding=size != (32, 32))
        torch.testing.assert_close(vision.tokens(tower, pixels), theirs.last_hidden_state)
        torch.testing.assert_close(vision.pooled(tower, pixels), theirs.pooler_output)
    if size[0] == size[1]:
        assert theirs.last_hidden_state.shape[1] == vision.token_count(config, size[0])
    assert vision.width_of(config) == theirs.last_hidden_state.shape[2]
    assert (vision.image_size_of(config), vision.patch_of(config)) == (32, 8)


def test_layers_called_one_by_one_are_the_tower(whole):
    tower = whole.vision_model
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        states = vision.embedded(tower, pixels)
        for layer in vision.layers_of(tower):
            states = layer(states, None)
        torch.testing.assert_close(vision.normalised(tower, states), vision.tokens(tower, pixels))


def test_a_tower_for_any_number_of_patches_sees_the_picture_in_its_order():
    config = Siglip2VisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_patches=16,
        patch_size=8,
    )
    tower = vision.build_tower(config).eval()
    pixels = torch.randn(2, 3, 32, 32)
    # As its own image processor cuts patches: rows of patches; in each rows, columns, channels.
    patches = torch.stack(
        [
            pixels[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].permute(0, 2, 3, 1).flatten(1)
            for row in range(4)
            for column in range(4)
        ],
        dim=1,
    )
    with torch.no_grad():
        theirs = tower(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(2, 16, dtype=torch.long),
            spatial_shapes=torch.tensor([[4, 4], [4, 4]]),
        )
        torch.testing.assert_close(
            vision.tokens(tower, pixels), theirs.last_hidden_state, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(vision.pooled(tower, pixels), theirs.pooler_output, atol=1e-5, rtol=1e-4)
    assert vision.image_size_of(config) == 32


def test_a_tower_without_a_pooling_head_pools_by_the_mean():
    tower = vision.build_tower(SiglipVisionConfig(**VISION, vision_use_head=False)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(vision.pooled(tower, pixels), vision.tokens(tower, pixels).mean(1))


def test_parts_that_are_not_there_cost_nothing_and_are_zero(whole):
    tower = whole.vision_model
    pixels = torch.randn(2, 3, 3, 32, 32)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    vectors = vision.pooled_parts(tower, pixels, mask)
    for row, column in ((0, 0), (0, 2)):
        alone = vision.pooled(tower, pixels[row, column : column + 1])[0]
        torch.testing.assert_close(vectors[row, column], alone, atol=1e-5, rtol=1e-4)
    assert (vectors[~mask] == 0).all()
    assert vision.pooled_parts(tower, pixels, torch.zeros_like(mask)).shape == (2, 3, 32)
    vectors.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in tower.parameters())


def test_what_is_no_vision_tower_is_refused(tmp_path):
    with pytest.raises(BackboneError, match="no vision tower"):
        vision.build_tower(BertConfig())
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="CLIP"):
        vision.load_tower_config(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackboneError, match="cannot be loaded"):
        vision.load_tower_config(str(tmp_path / "empty"))
    tower = vision.build_tower(vision.scratch_config())
    with pytest.raises(UsageError, match="multiples of 16"):
        vision.pooled(tower, torch.randn(1, 3, 40, 40))


def test_weights_that_do_not_fill_the_tower_are_refused(whole, tmp_path):
    with quiet_loading():
        whole.save_pretrained(tmp_path)
    deeper = whole.config.vision_config.to_dict() | {"num_hidden_layers": 4}
    tower = vision.build_tower(type(whole.config.vision_config)(**deeper))
    with pytest.raises(BackboneError, match="do not fill"):
        vision.load_tower_weights(tower, str(tmp_path))


def test_normalisation_is_the_checkpoints_own_or_that_of_its_kind(tmp_path):
    clip = vision.scratch_config()
    assert vision.usual_normalisation(clip)[0] == tuple(CLIPImageProcessor().image_mean)
    assert vision.usual_normalisation(SiglipVisionConfig()) == ((0.5,) * 3, (0.5,) * 3)
    assert vision.load_normalisation(str(tmp_path), clip) == vision.usual_normalisation(clip)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]})
    )
    assert vision.load_normalisation(str(tmp_path), clip) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


@pytest.mark.parametrize("fused", [False, True])
def test_a_kept_tower_knows_when_its_weights_changed(fused, monkeypatch):
    computed = []
    digest = vision.hashlib.sha256
    monkeypatch.setattr(vision.hashlib, "sha256", lambda: computed.append(1) or digest())
    tower = vision.build_tower(vision.scratch_config())
    kept = vision.KeptTower(tower)
    before = kept.revision()
    assert kept.revision() == before
    optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-3, fused=fused)
    vision.pooled(tower, torch.randn(2, 3, 64, 64)).sum().backward()
    assert kept.revision() == before
    optimizer.step()
    after = kept.revision()
    assert after != before
    assert kept.revision() == after
    assert len(computed) == 2, "digested anew only where a weight changed"
    copy = vision.build_tower(vision.scratch_config())
    copy.load_state_dict(tower.state_dict())
    assert vision.KeptTower(copy).revision() == after
    tower.to(torch.bfloat16)
    assert kept.revision() != after


def test_pixels_are_wanted_only_where_a_gradient_is():
    tower = vision.build_tower(vision.scratch_config())
    kept = vision.KeptTower(tower)
    assert kept.wants_pixels
    with torch.inference_mode():
        assert not kept.wants_pixels
    for parameter in tower.parameters():
        parameter.requires_grad_(False)
    assert not kept.wants_pixels


def test_a_kept_towers_vectors_do_not_depend_on_who_asks():
    tower = vision.build_tower(vision.scratch_config()).train()
    kept = vision.KeptTower(tower)
    pixels = torch.randn(40, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = kept(pixels)
    assert tower.training
    assert torch.equal(under_autocast, kept(pixels))
    with torch.no_grad():
        torch.testing.assert_close(under_autocast, vision.pooled(tower.eval(), pixels), atol=1e-5, rtol=1e-4)
