"""DGHC's equations against slow loops, and its switches."""

from __future__ import annotations

import math

import pytest
import torch

from mner.errors import UsageError
from mner.models import Sources
from mner.models.dghc import Correlation, Dghc, DynamicGates
from mner.nn import vision
from mner.nn.anatomy import anatomy_of
from mner.posts import Post
from mner.recognizer import Recognizer
from tests.contract.tiny import (
    ENCODERS,
    LABELS,
    LONG_POST,
    POSTS,
    tiny,
    tiny_encoder_config,
    tiny_text_config,
    tiny_vision_config,
)

BARE = Post.from_words(["no", "picture", "here"], tags=("O", "O", "O"))


def built(**options) -> Recognizer:
    recognizer = tiny("dghc", **options)
    recognizer.model.eval()
    return recognizer


def test_equations_2_to_5_for_one_post_after_another():
    torch.manual_seed(3)
    module = Correlation(4, 3)
    text, picture = torch.randn(5, 4), torch.randn(5, 3)
    with torch.no_grad():
        relation, coefficient, weight = module(text, picture)
    w_ti, w_t, w_i = (each.weight.detach() for each in (module.text_image, module.text, module.image))
    for b in range(5):
        m = math.tanh(sum(float(text[b, i] * w_ti[i, j] * picture[b, j]) for i in range(4) for j in range(3)))
        assert float(relation[b, 0]) == pytest.approx(m, abs=1e-5)
        c = [
            math.tanh(
                sum(float(w_t[k, i] * text[b, i]) for i in range(4))
                + m * sum(float(w_i[k, j] * picture[b, j]) for j in range(3))
            )
            for k in range(3)
        ]
        assert coefficient[b].tolist() == pytest.approx(c, abs=1e-5)
        for k in range(3):
            linear = sum(
                float(module.linear.weight.detach()[k, j]) * c[j] * float(picture[b, j]) for j in range(3)
            )
            assert float(weight[b, k]) == pytest.approx(
                linear + float(module.linear.bias.detach()[k]), abs=1e-5
            )


def test_equations_6_to_8_for_one_layer_after_another():
    torch.manual_seed(4)
    module = DynamicGates(3, 4, 2)
    blocks = torch.randn(3, 4, 3)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    with torch.no_grad():
        gates = module(blocks, mask)
    weight = module.linear.weight.detach().reshape(2, 4, 3)
    bias = module.linear.bias.detach().reshape(2, 4)
    for b in range(2):
        there = [i for i in range(4) if mask[b, i]]
        mean = [sum(float(blocks[b, i, k]) for i in there) / len(there) for k in range(3)]
        for layer in range(2):
            signal = {
                i: sum(float(weight[layer, i, k]) * mean[k] for k in range(3)) + float(bias[layer, i])
                for i in there
            }
            leaky = {i: value if value > 0 else 0.01 * value for i, value in signal.items()}
            total = sum(math.exp(value) for value in leaky.values())
            expected = [math.exp(leaky[i]) / total if i in leaky else 0.0 for i in range(4)]
            assert gates[b, layer].tolist() == pytest.approx(expected, abs=1e-5)
    assert (gates[2] == 0).all()


def test_the_parts_are_joined_as_the_paper_joins_them():
    model = built().model
    batch = built().encode(POSTS[:2])
    output = model(batch, expose=True)
    shown = output.exposed
    blocks = model.blocks_of(batch)
    # Eq. 5, then 6, then 13 and 14, each by the parts that the tests above hold to the formulas.
    with torch.no_grad():
        text = model.text_encoder(batch.input_ids, batch.attention_mask).last_hidden_state[:, 0]
        relation, coefficient, weight = model.correlation(text, blocks[:, 0])
        correlated = torch.stack([blocks[:, i] * weight for i in range(4)], dim=1)
        gates = model.gates(correlated, batch.visual.mask)
    torch.testing.assert_close(shown["relation"], relation[:, 0])
    torch.testing.assert_close(shown["coefficient"], coefficient)
    torch.testing.assert_close(shown["picture_weight"], weight)
    torch.testing.assert_close(shown["gates"], gates)
    assert torch.equal(shown["blocks"], batch.visual.mask)
    assert model(batch).exposed == {}


@pytest.mark.parametrize("posts", [POSTS, [*POSTS, LONG_POST]])
def test_at_zero_length_it_is_its_text_encoder(posts):
    recognizer = built(prompt_length=0)
    model = recognizer.model
    batch = recognizer.encode(posts)
    assert batch.visual is None
    with torch.no_grad():
        encoder = type(model.text_encoder)(tiny_text_config(), add_pooling_layer=False).eval()
        encoder.load_state_dict(model.text_encoder.state_dict())
        states = encoder(batch.input_ids, batch.attention_mask).last_hidden_state
        expected = model.decoder(model.reader(states, batch), batch).emissions
        torch.testing.assert_close(model(batch).emissions, expected, atol=2e-6, rtol=1e-5)


def test_without_a_picture_it_is_its_text_encoder():
    full, text = built(), built(prompt_length=0)
    own = {k: v for k, v in full.model.state_dict().items() if k in text.model.state_dict()}
    text.model.load_state_dict(own)
    posts = [BARE, POSTS[0]]
    with torch.no_grad():
        full_scores = full.model(full.encode(posts)).emissions
        text_scores = text.model(text.encode(posts)).emissions
    torch.testing.assert_close(full_scores[0, :3], text_scores[0, :3], atol=2e-6, rtol=1e-5)
    assert not torch.allclose(full_scores[1], text_scores[1], atol=1e-4)


def test_the_correlation_starts_as_a_no_op_at_full_width():
    torch.manual_seed(0)
    config = Dghc.config_class(
        labels=list(LABELS),
        text_config=tiny_text_config(hidden_size=768, num_attention_heads=12, num_hidden_layers=1),
        vision_config=tiny_vision_config(hidden_size=768, num_attention_heads=12, num_hidden_layers=1),
    )
    correlation = Dghc(config).correlation
    relation, _, weight = correlation(torch.randn(50, 768), torch.randn(50, 768))
    assert relation.abs().max() < 0.5, "tanh does not saturate"
    assert (weight - 1).abs().max() < 0.1
    relation.sum().backward()
    assert (correlation.text_image.weight.grad != 0).any()


@pytest.mark.parametrize(
    ("switch", "parameters_change"),
    [
        ({"correlation": False}, True),
        ({"gating": False}, True),
        ({"regions": 0}, True),
        ({"regions": 1}, True),
        ({"text": "embeddings"}, False),
        ({"prompt_length": 2}, True),
        ({"prompt_width": 12}, True),
        ({"picture_size": 16}, False),
        ({"scheme": "BIO"}, True),
    ],
)
def test_every_switch_has_an_effect(switch, parameters_change):
    recognizers = [built(), built(**switch)]
    shapes = [{name: p.shape for name, p in r.model.named_parameters()} for r in recognizers]
    assert (shapes[0] != shapes[1]) == parameters_change
    with torch.no_grad():
        for recognizer in recognizers:
            # Away from the special start, at which the correlation does nothing.
            torch.manual_seed(1)
            for _, parameter in sorted(recognizer.model.named_parameters()):
                parameter.add_(0.2 * torch.randn(parameter.shape))
        scores = [r.model(r.encode(POSTS[:1])).emissions for r in recognizers]
    assert scores[0].shape != scores[1].shape or not torch.allclose(*scores, atol=1e-4)


def test_without_gating_all_blocks_weigh_alike():
    recognizer = built(gating=False)
    gates = recognizer.model(recognizer.encode(POSTS), expose=True).exposed["gates"]
    for post, row in zip(POSTS, gates, strict=True):
        known = post.known("regions")
        blocks = 0 if post.image is None else 1 + min(len(known.regions) if known else 0, 3)
        expected = [1 / blocks] * blocks + [0.0] * (4 - blocks) if blocks else [0.0] * 4
        assert row.tolist() == [pytest.approx(expected)] * 2


def test_a_long_post_has_one_correlation_from_all_its_windows():
    recognizer = built()
    batch = recognizer.encode([LONG_POST, POSTS[0]])
    windows = int((batch.post_of_row == 0).sum())
    assert windows > 1
    with torch.no_grad():
        rows = recognizer.model.text_encoder(batch.input_ids, batch.attention_mask).last_hidden_state[:, 0]
        text = recognizer.model.whole_text(batch, None)
    torch.testing.assert_close(text[0], rows[:windows].mean(0))
    torch.testing.assert_close(text[1], rows[windows])


def test_the_text_from_embeddings_differs_between_texts():
    recognizer = built(text="embeddings")
    batch = recognizer.encode(POSTS)
    with torch.no_grad():
        text = recognizer.model.whole_text(batch, recognizer.model.looked_up(batch))
        embedded = recognizer.model.text_encoder.embeddings(batch.input_ids)
    for row, present in enumerate(batch.attention_mask):
        torch.testing.assert_close(text[row], embedded[row, present].mean(0))
    assert torch.pdist(text).min() > 1e-3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_sub_words_that_were_looked_up_already_are_embedded_the_same(encoder):
    recognizer = built(text="embeddings", text_config=tiny_encoder_config(encoder))
    batch = recognizer.encode([*POSTS, LONG_POST])
    parts = anatomy_of(recognizer.model.text_encoder)
    with torch.no_grad():
        looked_up = parts.embed_words(recognizer.model.looked_up(batch))
        embedded = parts.embed(batch.input_ids)
    assert torch.equal(looked_up[batch.attention_mask], embedded[batch.attention_mask])


def test_backbones_come_in_bit_by_bit_beside_a_special_start(tmp_path):
    recognizer = built()
    recognizer.encoder.tokenizer.save_pretrained(tmp_path / "text")
    recognizer.model.text_encoder.save_pretrained(tmp_path / "text")
    recognizer.model.vision_encoder.save_pretrained(tmp_path / "vision")
    torch.manual_seed(99)
    sources = Sources(backbone=str(tmp_path / "text"), vision_backbone=str(tmp_path / "vision"))
    model = Dghc.from_sources({"labels": list(LABELS), "prompt_width": 20}, sources)
    for name, tensor in model.state_dict().items():
        if name.startswith(("text_encoder.", "vision_encoder.")):
            assert torch.equal(tensor, recognizer.model.state_dict()[name]), name
    assert (model.correlation.linear.bias == 1).all()
    with pytest.raises(UsageError, match="needs a vision tower"):
        Dghc.from_sources({"labels": list(LABELS)}, Sources(backbone=str(tmp_path / "text")))


def test_a_tower_from_scratch_is_small():
    tower = vision.build_tower(vision.load_tower_config(vision.SCRATCH))
    assert sum(parameter.numel() for parameter in tower.parameters()) < 1e6
