"""Mutual attention against the encoders' own layers, run row by row with keys put together by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AttentionInterface,
    BertConfig,
    CLIPVisionConfig,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
    Siglip2VisionConfig,
    SiglipVisionConfig,
    XLMRobertaConfig,
)

from mner.errors import BackboneError
from mner.nn import backbones, vision
from mner.nn.anatomy import anatomy_of
from mner.nn.mutual_attention import MutualAttention, Pairing

SMALL = {"vocab_size": 50, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 40}
TEXTS = {
    "bert": (BertConfig, {}),
    "roberta": (RobertaConfig, {"pad_token_id": 1}),
    "xlm-roberta": (XLMRobertaConfig, {"pad_token_id": 1}),
    "electra": (ElectraConfig, {"embedding_size": 16}),
    "modernbert": (
        ModernBertConfig,
        {"local_attention": 4, "global_attn_every_n_layers": 2, "pad_token_id": 0}
        | dict.fromkeys(("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"), 2),
    ),
}
TOWERS = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig}


def text_encoder(kind, layers=3, **changes):
    config_class, own = TEXTS[kind]
    torch.manual_seed(1)
    config = config_class(**{**SMALL, **own, "num_hidden_layers": layers, **changes})
    return backbones.build_encoder(config).eval()


def tower(kind, layers=2, width=24, heads=3):
    torch.manual_seed(2)
    config = TOWERS[kind](
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=36,
        image_size=32,
        patch_size=16,
    )
    return vision.build_tower(config, head=False).eval()


class Spy:
    """An attention that notes what it is given, and attends to further keys and values where told to."""

    def __init__(self):
        self.further = None
        self.seen = None

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **options):
        del module, options
        self.seen = (key, value)
        if self.further is not None:
            key, value = torch.cat((self.further[0], key), 2), torch.cat((self.further[1], value), 2)
        logits = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
        if attention_mask is not None:
            hidden = torch.zeros(logits.shape[2], logits.shape[3] - attention_mask.shape[3])
            logits = logits + torch.cat((hidden.expand(1, 1, -1, -1), attention_mask), 3)
        return (logits.softmax(-1) @ value).transpose(1, 2), None


SPY = Spy()
AttentionInterface.register("mner-test-spy", SPY)


def fitted(maps, pair, given):
    """Keys and values with the linear map of a pair of layers, head by head concatenated."""
    if maps is None:
        return given
    heads = maps[pair].heads
    return tuple(
        part(torch.cat(tuple(vectors[0]), -1))[None].unflatten(-1, (heads, -1)).transpose(1, 2)
        for part, vectors in zip((maps[pair].key, maps[pair].value), given, strict=True)
    )


def split(states, heads):
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def slow(mutual, text_model, picture_model, ids, picture):
    """One row without padding, (n,) sub-words and (m, d_v) tokens or None, by the layers' own forward."""
    parts = anatomy_of(text_model)
    modern = text_model.config.model_type == "modernbert"
    for model in (text_model, picture_model):
        model.set_attn_implementation("mner-test-spy")
    layers, tower_layers = list(parts.layers), list(vision.layers_of(picture_model))
    text = parts.embed(ids[None])
    picture = None if picture is None else picture[None]
    shift = len(tower_layers) - len(layers)
    before = {"text": (split(text, mutual.text_heads),) * 2}
    if picture is not None:
        before["picture"] = (split(picture, mutual.picture_heads),) * 2

    def run_text(layer, further):
        SPY.further = further
        positions = torch.arange(text.shape[1])[None]
        mask = None
        if parts.window(layer) is not None:
            far = (positions[0][:, None] - positions[0]).abs() > parts.window(layer)
            mask = torch.zeros(far.shape).masked_fill(far, -torch.inf)[None, None]
        unturned = []
        handle = None
        if modern:
            handle = layer.attn.Wqkv.register_forward_hook(lambda *a: unturned.append(a[2]))
        output = parts.run(layer, text, mask, parts.rotary(layer, text, positions))
        key, value = SPY.seen
        if handle is not None:
            handle.remove()
            key = split(unturned[0].chunk(3, -1)[1], mutual.text_heads)
        return output, (key, value)

    def run_picture(layer, further):
        SPY.further = further
        return layer(picture, None), SPY.seen

    for step in range(max(len(layers), len(tower_layers))):
        number = step - max(shift, 0)
        tower_number = step - max(-shift, 0)
        now = dict(before)
        # First pass: what each side's layer projects. Second pass: the same layer, with the other's keys.
        if number >= 0:
            now["text"] = run_text(layers[number], None)[1]
        if picture is not None and tower_number >= 0:
            now["picture"] = run_picture(tower_layers[tower_number], None)[1]
        given = before if mutual.lag else now
        paired = picture is not None and number >= 0 and tower_number >= 0
        pair = min(number, tower_number)
        new_text, new_picture = text, picture
        if number >= 0:
            further = fitted(mutual.to_text, pair, given["picture"]) if paired else None
            new_text = run_text(layers[number], further)[0]
        if picture is not None and tower_number >= 0:
            further = fitted(mutual.to_picture, pair, given["text"]) if paired else None
            new_picture = run_picture(tower_layers[tower_number], further)[0]
        text, picture, before = new_text, new_picture, now
    return parts.finish(text)[0], None if picture is None else picture[0]


def check(text_model, picture_model, lag):
    torch.manual_seed(3)
    mutual = MutualAttention(text_model.config, picture_model.config, lag).eval()
    lengths, seen = [7, 5, 6], [5, 3]
    width = picture_model.config.hidden_size
    ids = torch.randint(3, 50, (3, 7))
    text_mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    ids[~text_mask] = text_model.config.pad_token_id
    picture = torch.randn(2, 5, width)
    picture_mask = torch.arange(5) < torch.tensor(seen)[:, None]
    rows = torch.tensor([0, 2])
    with torch.no_grad():
        text, states = mutual(text_model, picture_model, ids, text_mask, picture, picture_mask, rows)
        for row, length in enumerate(lengths):
            place = {0: 0, 2: 1}.get(row)
            own = None if place is None else picture[place, : seen[place]]
            expected, expected_picture = slow(mutual, text_model, picture_model, ids[row, :length], own)
            torch.testing.assert_close(text[row, :length], expected, atol=2e-5, rtol=1e-4)
            if place is not None:
                torch.testing.assert_close(
                    states[place, : seen[place]], expected_picture, atol=2e-5, rtol=1e-4
                )


@pytest.mark.parametrize("lag", [False, True])
@pytest.mark.parametrize("tower_kind", sorted(TOWERS))
@pytest.mark.parametrize("text_kind", sorted(TEXTS))
def test_eq_2_to_4_equal_layers_run_with_concatenated_keys(text_kind, tower_kind, lag):
    check(text_encoder(text_kind), tower(tower_kind), lag)


@pytest.mark.parametrize("lag", [False, True])
def test_a_deeper_tower(lag):
    check(text_encoder("bert", layers=2), tower("clip", layers=4), lag)


@pytest.mark.parametrize("lag", [False, True])
def test_equal_encoders_add_no_parameters(lag):
    text_model, picture_model = text_encoder("bert", layers=2), tower("clip", width=32, heads=4)
    assert not list(MutualAttention(text_model.config, picture_model.config, lag).parameters())
    check(text_model, picture_model, lag)


def test_equal_widths_in_other_heads_are_mapped_too():
    text_model, picture_model = text_encoder("bert", layers=2), tower("clip", width=32, heads=2)
    mutual = MutualAttention(text_model.config, picture_model.config, False)
    assert len(mutual.to_text) == len(mutual.to_picture) == 2
    check(text_model, picture_model, False)


def test_last_layers_are_aligned():
    assert [Pairing(2, 4).text_layer(step) for step in range(4)] == [None, None, 0, 1]
    assert [Pairing(2, 4).picture_layer(step) for step in range(4)] == [0, 1, 2, 3]
    assert [Pairing(3, 1).picture_layer(step) for step in range(3)] == [None, None, 0]


@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_rows_without_pictures_are_read_by_the_text_encoder_alone(kind):
    text_model, picture_model = text_encoder(kind), tower("clip")
    mutual = MutualAttention(text_model.config, picture_model.config, False).eval()
    ids = torch.randint(3, 50, (2, 6))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    ids[~mask] = text_model.config.pad_token_id
    with torch.no_grad():
        expected = text_model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        nobody = torch.zeros(0, dtype=torch.int64)
        text, picture = mutual(
            text_model, picture_model, ids, mask, torch.zeros(0, 5, 24), torch.zeros(0, 5).bool(), nobody
        )
    assert picture.shape == (0, 5, 24)
    torch.testing.assert_close(text[mask], expected[mask], atol=1e-5, rtol=1e-4)


def test_nothing_is_projected_twice():
    text_model, picture_model = text_encoder("bert", layers=2), tower("clip")
    mutual = MutualAttention(text_model.config, picture_model.config, False).eval()
    calls = []
    for model in (text_model, picture_model):
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(lambda *_, name=name: calls.append(name))
    mask = torch.ones(1, 4).bool()
    mutual(
        text_model,
        picture_model,
        torch.ones(1, 4).long(),
        mask,
        torch.randn(1, 4, 24),
        mask,
        torch.tensor([0]),
    )
    assert len(calls) == 2 * 6 + 2 * 6
    assert len(set(calls)) == len(calls)


def test_recomputed_activations_give_the_same_gradients():
    text_model, picture_model = text_encoder("bert", layers=2), tower("clip")
    mutual = MutualAttention(text_model.config, picture_model.config, True)
    mask = torch.ones(2, 4).bool()
    ids, picture = torch.randint(3, 50, (2, 4)), torch.randn(1, 4, 24)

    def gradients():
        for model in (text_model, picture_model, mutual):
            model.zero_grad()
        torch.manual_seed(7)
        for model in (text_model, picture_model):
            model.train()
        states = mutual(text_model, picture_model, ids, mask, picture, mask[:1], torch.tensor([1]))
        (states[0].square().sum() + states[1].square().sum()).backward()
        return [
            p.grad.clone()
            for model in (text_model, picture_model, mutual)
            for p in model.parameters()
            if p.grad is not None
        ]

    plain = gradients()
    for model in (text_model, picture_model):
        model.activation_checkpointing_enable()
    runs = []
    layer = vision.layers_of(picture_model)[0]
    handle = layer.self_attn.q_proj.register_forward_hook(lambda *_: runs.append(1))
    again = gradients()
    handle.remove()
    assert len(runs) == 2
    assert len(plain) == len(again) > 20
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_the_two_halves_of_a_towers_layer_make_the_layer(kind):
    if kind == "siglip2":
        model = vision.build_tower(
            Siglip2VisionConfig(
                hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=30,
                num_patches=4, patch_size=16,
            ),
            head=False,
        ).eval()  # fmt: skip
    else:
        model = tower(kind)
    assert not hasattr(model, "head") or model.head is None
    states = torch.randn(2, 5, 24)
    for layer in vision.layers_of(model):
        query, key, value = vision.project(layer, states)
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        torch.testing.assert_close(vision.complete(layer, states, attended), layer(states, None))


def test_an_encoder_with_an_attention_of_its_own_is_refused():
    config = DebertaV2Config(**SMALL, num_hidden_layers=1)
    encoder = backbones.build_encoder(config)
    with pytest.raises(BackboneError, match="Its attention is its own"):
        anatomy_of(encoder)
