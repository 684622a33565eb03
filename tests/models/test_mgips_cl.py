"""MGIPS-CL against slow loops that follow its equations, its switches, and posts without pictures."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import (
    SiglipVisionConfig,
)

from mner.errors import UsageError
from mner.models import Sources, model_named
from mner.models.mgips_cl import MgipsClConfig, MultiGranularityExcavator
from mner.nn import backbones, vision
from mner.posts import Post
from tests.contract.tiny import (
    LABELS,
    LONG_POST,
    POSTS,
    tiny,
    tiny_picture,
    tiny_text_config,
    tiny_vision_config,
)
from tests.models.slow_mgips_cl import slow_model

WITH, WITHOUT = POSTS[0], POSTS[1]
TWO_WINDOWS = Post.from_words(LONG_POST.words[:24], tags=LONG_POST.tags[:24])


def repr_sorted(value):
    """A test's name that is the same in every process, which that of a set is not."""
    return str(sorted(value) if isinstance(value, set) else value)


def built(**options):
    """A tiny recogniser in evaluation mode, whose special starts were left behind."""
    recognizer = tiny("mgips-cl", **options)
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in recognizer.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    recognizer.model.eval()
    return recognizer


def pictured(count, same=()):
    """Posts with pictures of their own, those in `same` with that of the first."""
    names = ["Ada", "Tove", "Ivo", "Brel", "Nora"]
    return [
        Post.from_words(
            [names[index], "reads", "in", "Port", *["Ellery"] * index],
            id=str(index),
            image=tiny_picture(0 if index in same else index),
            tags=("B-PER", "O", "O", "B-LOC", *["I-LOC"] * index),
        )
        for index in range(count)
    ]


CASES = {
    "default": ({}, lambda: POSTS),
    "five pictures": ({}, lambda: pictured(5)),
    "equal pictures": ({"positives": 1}, lambda: pictured(5, same=(2, 3))),
    "one post": ({}, lambda: pictured(1)),
    "as many posts as positives": ({}, lambda: pictured(3)),
    "two interweave encoders": ({"interweave_encoders": 2, "positives": 2}, lambda: pictured(4)),
    "literal": ({"literal": True, "positives": 1}, lambda: pictured(2)),
    "only rows": ({"column_grained": False, "positives": 1}, lambda: pictured(2)),
    "only columns": ({"row_grained": False, "positives": 1}, lambda: pictured(2)),
    "encoders' features": ({"similarity": "encoders", "positives": 1}, lambda: pictured(3)),
    "without the own picture": ({"own_picture": False, "positives": 1}, lambda: pictured(4, same=(2,))),
    "without interweaving": ({"interweave": False, "positives": 1}, lambda: [*pictured(3), WITHOUT]),
    "equal widths": (
        {
            "vision_config": tiny_vision_config(hidden_size=32, num_attention_heads=4),
            "positives": 1,
            "temperature": 0.5,
        },
        lambda: [WITHOUT, *pictured(2)],
    ),
    "windows": ({"positives": 1}, lambda: [WITH, dataclasses.replace(TWO_WINDOWS, image=tiny_picture(7))]),
}


@pytest.mark.parametrize("case", CASES)
def test_eq_5_to_17_equal_slow_loops(case):
    options, posts = CASES[case]
    narrow = tiny_text_config(hidden_size=16, num_attention_heads=2, intermediate_size=24)
    wide = {} if "vision_config" in options else {"text_config": narrow}
    recognizer = built(**{**wide, **options})
    posts = posts()
    states, losses, output, batch = slow_model(recognizer, posts)
    assert (len(batch.post_of_row) > len(posts)) == (case == "windows")
    model = recognizer.model
    read = []
    handle = model.reader.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.no_grad():
        model(batch)
    handle.remove()
    for row, expected in states.items():
        actual = read[0][row][batch.attention_mask[row].bool()]
        torch.testing.assert_close(actual, torch.tensor(expected), atol=2e-4, rtol=1e-3)
    implicit, contrast, choosers = losses
    assert float(output.losses["implicit_contrast"]) == pytest.approx(implicit, abs=2e-3, rel=1e-3)
    assert float(output.losses["contrast"]) == pytest.approx(contrast, abs=2e-3, rel=1e-3)
    assert int(output.losses["texts_with_choice"]) == choosers
    # Eq. 19
    total = sum(float(output.losses[name]) for name in ("crf", "implicit_contrast", "contrast"))
    assert float(output.loss) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_with_no_more_pictures_than_positives_the_implicit_loss_is_zero_and_said(count):
    recognizer = built()
    output = recognizer.model(recognizer.encode(pictured(count), labelled=True))
    assert output.losses["implicit_contrast"] == 0
    assert output.losses["texts_with_choice"] == 0
    output.losses["implicit_contrast"].backward()
    gradients = [p.grad for p in recognizer.model.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(each).all()) for each in gradients)
    four = recognizer.model(recognizer.encode(pictured(4), labelled=True))
    assert four.losses["implicit_contrast"] > 0
    assert four.losses["texts_with_choice"] == 4


def test_eq_6_column_weights_differ_between_features_and_sum_to_their_count():
    torch.manual_seed(0)
    module = MultiGranularityExcavator(8, 2, 8, True, True, False)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    rows, columns = module.weights(torch.randn(2, 5, 8), mask)
    assert columns.std(-1).min() > 0.1
    torch.testing.assert_close(columns.sum(-1), torch.full((2, 5), 8.0))
    assert rows.std(-2).min() > 0.1
    torch.testing.assert_close(rows.sum((-2, -1)), torch.tensor([5.0, 3.0]))
    assert rows[1, 3:].abs().max() == 0
    literal = MultiGranularityExcavator(8, 2, 8, True, True, True)
    rows, columns = literal.weights(torch.randn(2, 5, 8), mask)
    torch.testing.assert_close(columns.sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(rows.sum((-2, -1)), torch.ones(2))


def test_padding_of_both_sides_changes_nothing():
    torch.manual_seed(0)
    module = MultiGranularityExcavator(8, 2, 8, True, True, False)
    guided, source = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    alone = module(guided, torch.ones(1, 3).bool(), source, torch.ones(1, 4).bool())
    padded = module(
        torch.cat((guided, torch.randn(1, 2, 8)), 1),
        torch.tensor([[True] * 3 + [False] * 2]),
        torch.cat((source, torch.randn(1, 3, 8)), 1),
        torch.tensor([[True] * 4 + [False] * 3]),
    )
    torch.testing.assert_close(padded[:, :3], alone, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- crops


def test_a_crop_that_is_not_there_is_not_seen():
    recognizer = built()
    batch = recognizer.encode([WITH])
    batch.visual.mask[:, 2] = False
    with torch.no_grad():
        before = recognizer.model(batch).emissions
        batch.visual.pixels[:, 2] += 1
        torch.testing.assert_close(recognizer.model(batch).emissions, before)
        batch.visual.pixels[:, 1] += 1
        assert (recognizer.model(batch).emissions - before).abs().max() > 1e-5


def test_crops_are_128_pixels_unless_the_towers_own_pictures_are_smaller():
    for size, expected in ((224, 128), (32, 32)):
        config = tiny_vision_config(image_size=size)
        assert tiny("mgips-cl", vision_config=config, crop_size=None).model.inputs.picture.size == expected
    with pytest.raises(UsageError, match="The nearest is 128"):
        tiny("mgips-cl", crop_size=130)


def test_contradictions_and_impossible_numbers_are_refused():
    with pytest.raises(UsageError, match="carries nothing over"):
        MgipsClConfig(row_grained=False, column_grained=False)
    MgipsClConfig(row_grained=False, column_grained=False, interweave=False)
    for options in ({"positives": 0}, {"interweave_encoders": 0}, {"crops": 0}, {"temperature": 0.0}):
        with pytest.raises(UsageError):
            MgipsClConfig(**options)


# ---------------------------------------------------------------- posts with and without pictures


def test_a_post_without_a_picture_is_read_by_the_text_encoder_alone():
    recognizer = built()
    model = recognizer.model
    batch = recognizer.encode([WITHOUT, WITH])
    with torch.no_grad():
        encoded = model.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        expected = model.decoder.linear(model.reader(encoded.last_hidden_state, batch))
        emissions = model(batch).emissions
        alone = model(recognizer.encode([WITHOUT])).emissions
    words = len(WITHOUT.words)
    torch.testing.assert_close(emissions[0, :words], expected[0, :words], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(emissions[0, :words], alone[0, :words], atol=1e-5, rtol=1e-4)
    assert (emissions[1] - expected[1]).abs().max() > 1e-3


@pytest.mark.parametrize("posts", [[WITHOUT, POSTS[2]], [WITHOUT, WITH]], ids=["none", "one of two"])
def test_missing_pictures_give_finite_losses_and_gradients(posts):
    recognizer = tiny("mgips-cl")
    model = recognizer.model.train()
    output = model(recognizer.encode(posts, labelled=True))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    for name, parameter in model.named_parameters():
        # Every parameter takes part in every step, so that processes that train together agree.
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    if WITH not in posts:
        assert output.losses["contrast"] == 0
        assert output.losses["implicit_contrast"] == 0
        assert model.vision_encoder.embeddings.patch_embedding.weight.grad.abs().max() == 0


def test_one_by_one_equals_the_batch_with_pictures_missing_equal_and_in_windows():
    recognizer = built()
    posts = [*pictured(3, same=(2,)), WITHOUT, LONG_POST, POSTS[3]]
    with torch.no_grad():
        together = recognizer.model(recognizer.encode(posts)).emissions
        for index, post in enumerate(posts):
            alone = recognizer.model(recognizer.encode([post])).emissions
            words = len(post.words)
            torch.testing.assert_close(together[index, :words], alone[0, :words], atol=2e-5, rtol=1e-4)


def test_every_window_of_a_post_sees_its_picture():
    recognizer = built()
    batch = recognizer.encode([LONG_POST, WITH])
    assert len(batch.post_of_row) > 4
    with torch.no_grad():
        before = recognizer.model(batch).emissions
        batch.visual.pixels[0] += 0.5
        moved = (recognizer.model(batch).emissions - before).abs().amax(-1)
    assert moved[0, : len(LONG_POST.words)].min() > 0
    assert moved[1].max() == 0


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_the_tower_unless_it_is_frozen(frozen):
    recognizer = tiny("mgips-cl", implicit_contrast=False, contrast=False)
    model = recognizer.model.train()
    backbones.freeze(model.vision_encoder, frozen)
    model(recognizer.encode(POSTS, labelled=True)).loss.backward()
    for name, parameter in model.vision_encoder.named_parameters():
        assert (parameter.grad is None) == frozen, name
        assert frozen or parameter.grad.abs().max() > 0 or "k_proj.bias" in name, name


# ---------------------------------------------------------------- switches


def names_of(model):
    return {name.split(".")[0] for name, _ in model.named_parameters()}


def test_switches_change_the_parameters():
    whole = names_of(tiny("mgips-cl").model)
    assert whole - names_of(tiny("mgips-cl", interweave=False).model) == {
        "image_guided", "text_guided", "gate"
    }  # fmt: skip
    assert whole == names_of(tiny("mgips-cl", contrast=False).model)
    assert whole - names_of(tiny("mgips-cl", contrast=False, implicit_contrast=False).model) == {"similarity"}
    assert whole == names_of(tiny("mgips-cl", implicit_contrast=False).model)
    sizes = {}
    for option in ({}, {"row_grained": False}, {"column_grained": False}, {"excavator_width": 8}):
        model = tiny("mgips-cl", **option).model
        sizes[str(option)] = sum(parameter.numel() for parameter in model.image_guided.parameters())
    assert sizes["{}"] - sizes["{'row_grained': False}"] == 32
    assert sizes["{}"] - sizes["{'column_grained': False}"] == 32 * 32
    assert len(set(sizes.values())) == 4


def same_weights(**options):
    """The default model's weights under other switches."""
    recognizer = built()
    other = tiny("mgips-cl", **options)
    known = other.model.state_dict()
    other.model.load_state_dict({k: v for k, v in recognizer.model.state_dict().items() if k in known})
    other.model.eval()
    return other


@pytest.mark.parametrize(
    "options",
    [
        {"lag": True},
        {"interweave": False},
        {"interweave_encoders": 2},
        {"row_grained": False},
        {"column_grained": False},
        {"literal": True},
        {"crop_size": 64},
    ],
    ids=str,
)
def test_switches_change_what_is_predicted(options):
    posts = pictured(2)
    with torch.no_grad():
        before, after = (
            recognizer.model(recognizer.encode(posts)).emissions
            for recognizer in (same_weights(), same_weights(**options))
        )
    assert (before - after).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"implicit_contrast": False}, {"implicit_contrast", "texts_with_choice"}),
        ({"contrast": False}, {"contrast"}),
        ({"positives": 2}, {"implicit_contrast"}),
        ({"own_picture": False}, {"implicit_contrast", "texts_with_choice"}),
        ({"similarity": "encoders"}, {"implicit_contrast", "contrast"}),
        ({"temperature": 0.5}, {"implicit_contrast", "contrast"}),
    ],
    ids=repr_sorted,
)
def test_switches_of_the_contrast_change_the_losses_and_no_prediction(options, changed):
    posts = pictured(4)
    with torch.no_grad():
        before, after = (
            recognizer.model(recognizer.encode(posts, labelled=True))
            for recognizer in (same_weights(), same_weights(**options))
        )
    torch.testing.assert_close(before.emissions, after.emissions)
    assert {
        name
        for name, value in before.losses.items()
        if not torch.equal(value, after.losses.get(name, value - 1))
    } == changed


def test_the_contrast_costs_nothing_in_prediction():
    recognizer = built()
    calls = []
    for part in ("image_guided", "text_guided", "similarity"):
        getattr(recognizer.model, part).register_forward_hook(lambda *_, part=part: calls.append(part))
    recognizer.predict(pictured(2))
    assert calls == ["image_guided", "text_guided"]
    recognizer.model(recognizer.encode(pictured(2), labelled=True))
    assert calls[2:] == ["image_guided", "text_guided", "image_guided", "similarity"]


# ---------------------------------------------------------------- what it shows


def test_gate_and_implicit_positives_are_exposed():
    recognizer = built(positives=2)
    posts = [*pictured(4, same=(3,)), WITHOUT]
    with torch.no_grad():
        exposed = recognizer.model(recognizer.encode(posts), expose=True).exposed
    gate, similarity, chosen = (
        exposed[name] for name in ("pre_post_gate", "similarity", "implicit_positives")
    )
    words = len(posts[0].words)
    assert gate[0, :words].min() > 0
    assert gate[0, :words].max() < 1
    assert gate[0, words:].abs().max() == 0
    assert gate[4, : len(WITHOUT.words)].tolist() == [1.0] * len(WITHOUT.words)
    assert similarity.shape == (5, 5)
    assert similarity[:, 4].abs().max() == 0
    for text in range(5):
        candidates = {3, 1, 2} if text == 3 else {0, 1, 2}
        expected = sorted(candidates, key=lambda place: -float(similarity[text, place]))[:2]
        assert chosen[text].tolist() == expected
    alone = built(positives=2)
    with torch.no_grad():
        shown = alone.model(alone.encode(posts[:1]), expose=True).exposed
        nothing = alone.model(alone.encode([WITHOUT]), expose=True).exposed
    assert shown["implicit_positives"].tolist() == [[0, -1]]
    assert set(nothing) == {"pre_post_gate"}


def test_pretrained_encoders_are_taken_over_bit_by_bit(tmp_path):
    torch.manual_seed(3)
    text = backbones.build_encoder(tiny_text_config())
    tower = vision.build_tower(
        SiglipVisionConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=30,
            image_size=32, patch_size=16,
        )
    )  # fmt: skip
    text.save_pretrained(tmp_path / "text")
    tower.save_pretrained(tmp_path / "tower")
    model = model_named("mgips-cl").model.from_sources(
        {"labels": list(LABELS), "crop_size": 32},
        Sources(backbone=str(tmp_path / "text"), vision_backbone=str(tmp_path / "tower")),
    )
    for part, given in ((model.text_encoder, text), (model.vision_encoder, tower)):
        tensors = given.state_dict()
        assert part.state_dict()
        assert all(torch.equal(value, tensors[name]) for name, value in part.state_dict().items())
    assert model.crop_embedding.number.weight.abs().max() == 0
    groups = {model.group_of(name) for name, _ in model.named_parameters()}
    assert groups == {"text", "vision", "crf", "new"}


def test_kept_vectors_are_no_substitute_for_pixels():
    recognizer = built()
    batch = recognizer.encode([WITH])
    batch.visual = dataclasses.replace(batch.visual, pixels=None, features=torch.zeros(1, 3, 24))
    with pytest.raises(UsageError, match="needs pixels"):
        recognizer.model(batch)
