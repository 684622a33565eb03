"""CAT-MNER against a slow loop that follows its equations, its switches, its backbones, what it shows."""

from __future__ import annotations

import math

import pytest
import torch

from mner.errors import UsageError
from mner.knowledge.label_words import label_words_for
from mner.models import Sources
from mner.models.cat_mner import CatMner, CatMnerConfig
from mner.posts import Post
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


def built(perturbed=0.05, **options):
    """A tiny recogniser in evaluation mode, away from its special start unless it is to stay there."""
    recognizer = tiny("cat-mner", **options)
    if perturbed:
        torch.manual_seed(4)
        with torch.no_grad():
            for _, parameter in sorted(recognizer.model.named_parameters()):
                parameter.add_(torch.randn_like(parameter), alpha=perturbed)
    recognizer.model.eval()
    return recognizer


@torch.no_grad()
def scores(recognizer, posts):
    return recognizer.model(recognizer.encode(posts)).span_scores


def like(recognizer, **options):
    """Another recogniser with the weights of that one, as far as it has them."""
    other = built(perturbed=0, **options)
    other.model.load_state_dict(recognizer.model.state_dict(), strict=False)
    return other


def slow_states(recognizer, batch):
    """The words' last states of one post of one window, with every matrix of eq. 3 to 6 written out."""
    model = recognizer.model
    config, encoder = model.config, model.text_encoder
    heads = config.text_config.num_attention_heads
    width = config.text_config.hidden_size // heads
    root = math.sqrt(width)
    cells = config.grid**2

    pooled = [
        model.vision_encoder(pixel_values=cell[None].to(model.dtype)).pooler_output[0]
        for cell in batch.visual.pixels[0]
    ]
    embeddings = encoder.embeddings
    projection = model.cells.projection
    v = [
        embeddings.LayerNorm(
            projection.weight @ vector + projection.bias
            + model.cells.position.weight[number] + model.cells.modality.weight[0]
        )
        for number, vector in enumerate(pooled)
    ]  # fmt: skip
    w = embeddings(input_ids=batch.input_ids)[0]
    n = len(w)
    x = torch.cat((w, torch.stack(v)))

    tokenizer = recognizer.encoder.tokenizer
    c = []
    for label in LABELS:
        for word in config.label_words[label]:
            ids = tokenizer(word)["input_ids"]  # with [CLS] and [SEP]
            c.append(embeddings(input_ids=torch.tensor([ids]))[0, 1:-1].mean(0))
    c = torch.stack(c)

    def feed_forward(layer, states):
        inner = torch.nn.functional.gelu(layer.intermediate.dense(states))
        return layer.output.LayerNorm(states + layer.output.dense(inner))

    def gate(module, states):
        return torch.tanh(module.output(torch.nn.functional.gelu(module.hidden(states))))[:, 0]

    layers = encoder.encoder.layer
    for number, layer in enumerate(layers):
        attention, own = layer.attention.self, model.refinements[number]
        q, k, value = attention.query(x), attention.key(x), attention.value(x)
        label_keys = attention.key(c)
        refines_image = config.refinement in ("both", "image-to-text")
        refines_text = config.refinement in ("both", "text-to-image") and number < len(layers) - 1
        attended = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            logits = q[:, part] @ k[:, part].T
            similar = q[:, part] @ label_keys[:, part].T / root
            for wanted, name, rows, columns in (
                (refines_image, "image", slice(0, n), slice(n, None)),
                (refines_text, "text", slice(n, None), slice(0, n)),
            ):
                if not wanted:
                    continue
                s = similar[columns].softmax(0).mean(1)
                g = gate(own.gate[name], x[columns])
                if not config.literal:
                    s = s * root * cells * own.scale[name][head]
                logits[rows, columns] = (1 - g) * logits[rows, columns] + g * s
            attended.append((logits / root).softmax(1) @ value[:, part])
        sublayer = layer.attention.output
        x = feed_forward(layer, sublayer.LayerNorm(x + sublayer.dense(torch.cat(attended, 1))))
        c = feed_forward(layer, c)
    return x[:n]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"refinement": "image-to-text"},
        {"refinement": "text-to-image"},
        {"literal": True, "grid": 3, "label_words": {"PER": ["reads in today", "x"]}},
    ],
)
def test_equations_1_to_6_in_a_slow_loop(options):
    recognizer = built(text_config=tiny_text_config(num_hidden_layers=3), **options)
    recognizer.model.double()
    post = POSTS[3]
    batch = recognizer.encode([post])  # where gradients are wanted, as pixels
    with torch.no_grad():
        expected = slow_states(recognizer, batch)
        got = recognizer.model._encode(batch, batch.visual, None)
    torch.testing.assert_close(got[0], expected, rtol=0, atol=1e-10)


def test_at_gate_zero_it_is_plain_self_attention_over_both():
    fresh, refined = built(perturbed=0), built(perturbed=0.2)
    gates = [gate for each in refined.model.refinements for gate in each.gate.values()]
    fresh_gates = [gate for each in fresh.model.refinements for gate in each.gate.values()]
    with torch.no_grad():
        for gate, start in zip(gates, fresh_gates, strict=True):
            gate.load_state_dict(start.state_dict())
    plain = like(refined, refinement="none")
    posts = [*POSTS, LONG_POST]
    torch.testing.assert_close(scores(refined, posts), scores(plain, posts), rtol=1e-5, atol=5e-6)
    with torch.no_grad():
        for gate in gates:
            assert not gate.output.weight.any()
            gate.output.bias.fill_(0.5)
    assert not torch.allclose(scores(refined, posts), scores(plain, posts), atol=1e-4)


@pytest.mark.parametrize("architecture", ENCODERS)
def test_without_a_picture_it_is_the_bare_encoder(architecture):
    seeing = built(text_config=tiny_encoder_config(architecture))
    reading = like(seeing, text_config=tiny_encoder_config(architecture), text_only=True)
    bare = [post.with_fields(image=None) for post in (*POSTS, LONG_POST)]
    expected = scores(reading, bare)
    torch.testing.assert_close(scores(seeing, bare), expected, rtol=1e-4, atol=2e-5)
    # The same by way of the layers one by one, beside a post that has a picture.
    beside = scores(seeing, [*bare, POSTS[0]])[: len(bare), : expected.shape[1]]
    torch.testing.assert_close(beside, expected, rtol=1e-4, atol=2e-5)


def parameters(recognizer):
    return {name for name, _ in recognizer.model.named_parameters()}


def test_switches_remove_what_they_switch_off():
    full = parameters(built(perturbed=0))
    refining = {name for name in full if name.startswith("refinements.")}
    assert parameters(built(perturbed=0, refinement="none")) == full - refining
    without_t2i = parameters(built(perturbed=0, refinement="image-to-text"))
    assert full - without_t2i == {name for name in refining if ".text" in name}
    without_i2t = parameters(built(perturbed=0, refinement="text-to-image"))
    assert full - without_i2t == {name for name in refining if ".image" in name}
    assert full - parameters(built(perturbed=0, literal=True)) == {name for name in full if ".scale." in name}
    text_only = parameters(built(perturbed=0, text_only=True))
    assert {name.split(".")[0] for name in full - text_only} == {"refinements", "cells", "vision_encoder"}


@pytest.mark.parametrize(
    "options",
    [
        {"refinement": "none"},
        {"refinement": "image-to-text"},
        {"refinement": "text-to-image"},
        {"literal": True},
        {"text_only": True},
        {"knowledge_base": "multimodal"},
        {"label_words": {"PER": ["x", "y z"]}},
        {"cell_size": 16},
    ],
)
def test_every_switch_changes_what_is_said(options):
    full = built(perturbed=0.3)
    changed = like(full, **options)
    assert not torch.allclose(scores(full, POSTS), scores(changed, POSTS), rtol=0, atol=1e-4)


def test_sizes_are_those_asked_for():
    recognizer = built(grid=3, gate_width=5, longest_span=4, span_width=7)
    assert recognizer.encode(POSTS).visual.mask.shape == (len(POSTS), 9)
    assert recognizer.model.refinements[0].gate["image"].hidden.out_features == 5
    assert scores(recognizer, POSTS).shape[2] == 4
    assert recognizer.model.decoder.classifier.output.in_features == 7


def test_the_order_of_label_words_does_not_matter():
    words = label_words_for(LABELS)
    turned = {label: words[label][::-1] for label in reversed(LABELS)}
    full = built(label_words=words)
    torch.testing.assert_close(
        scores(like(full, label_words=turned), POSTS), scores(full, POSTS), rtol=1e-5, atol=1e-6
    )


def test_label_words_of_types_of_ones_own_are_kept_in_the_folder(tmp_path):
    config = CatMnerConfig(
        labels=["band", "PER"],
        text_config=tiny_text_config(),
        vision_config=tiny_vision_config(),
        label_words={"band": ["orchestra", "rock group"]},
    )
    CatMner(config).save_pretrained(tmp_path)
    kept = CatMnerConfig.from_pretrained(tmp_path).label_words
    assert kept["band"] == ["orchestra", "rock group"]
    assert kept["PER"][0] == "person"
    with pytest.raises(UsageError, match="bend"):
        CatMnerConfig(labels=["band"], label_words={"bend": ["x"]})


def test_label_words_arrive_as_their_own_sub_words():
    recognizer = built(label_words={"LOC": ["the of"], "ORG": ["q"], "PER": ["today", "here"]})
    batch = recognizer.encode(POSTS[:1])
    tokenizer = recognizer.encoder.tokenizer
    read = [
        tokenizer.convert_ids_to_tokens(ids[mask])
        for ids, mask in zip(batch.label_words.input_ids, batch.label_words.attention_mask, strict=True)
    ]
    assert read == [["the", "of"], ["q"], ["today"], ["here"]]
    assert [LABELS[index] for index in batch.label_word_types] == ["LOC", "ORG", "PER", "PER"]
    assert tokenizer.convert_ids_to_tokens(batch.label_words.input_ids[0]) == ["[CLS]", "the", "of", "[SEP]"]


def test_what_it_shows():
    recognizer = built()
    posts = [*POSTS, LONG_POST]
    batch = recognizer.encode(posts)
    with torch.no_grad():
        output = recognizer.model(batch, expose=True)
        unseen = recognizer.model(batch)
    torch.testing.assert_close(output.span_scores, unseen.span_scores, rtol=0, atol=0)
    assert unseen.exposed == {}
    shown = output.exposed
    count, words, cells, layers = len(posts), batch.longest, 4, 2
    assert {name: tuple(values.shape) for name, values in shown.items()} == {
        "image_attention": (count, layers, words, cells),
        "image_saliency": (count, layers, cells),
        "type_saliency": (count, layers, len(LABELS), cells),
        "text_saliency": (count, layers - 1, words),
        "image_gate": (count, layers, cells),
        "text_gate": (count, layers - 1, words),
    }
    assert all(values.isfinite().all() for values in shown.values())
    pictured = batch.visual.mask.any(1)
    assert not pictured.all()
    totals = shown["image_saliency"].sum(-1)
    torch.testing.assert_close(totals, pictured[:, None].expand_as(totals).float())
    # All types have ten words here.
    torch.testing.assert_close(shown["type_saliency"].mean(2), shown["image_saliency"])
    assert shown["image_saliency"][pictured].std(-1).min() > 1e-5
    attention = shown["image_attention"]
    assert attention[~pictured].abs().max() == 0
    assert attention.sum(-1)[pictured][:, :, 0].min() > 0
    assert attention.sum(-1).max() < 1
    assert shown["text_saliency"][~batch.word_mask[:, None].expand(-1, layers - 1, -1)].abs().max() == 0


def test_what_it_shows_of_a_post_does_not_depend_on_others():
    recognizer = built()
    with torch.no_grad():
        together = recognizer.model(recognizer.encode([*POSTS, LONG_POST]), expose=True).exposed
        for row, post in enumerate([*POSTS, LONG_POST]):
            for name, alone in recognizer.model(recognizer.encode([post]), expose=True).exposed.items():
                values = together[name][row]
                if name in ("text_saliency", "text_gate"):
                    values = values[..., : len(post.words)]
                if name == "image_attention":
                    values = values[:, : len(post.words)]
                torch.testing.assert_close(values, alone[0], rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_gives_the_same_gradients():
    recognizer = built()
    batch = recognizer.encode(POSTS, labelled=True)
    model = recognizer.model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model(batch).loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.activation_checkpointing_enable()
    model(batch).loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_text_alone_needs_no_tower():
    model = CatMner.from_sources({"labels": list(LABELS), "text_only": True}, Sources())
    assert not hasattr(model, "vision_encoder")
    assert model.inputs.picture is None
    with pytest.raises(UsageError, match="vision tower"):
        CatMner.from_sources({"labels": list(LABELS)}, Sources())


def test_words_that_no_post_has_do_not_stop_it():
    assert built().predict([Post.from_words([]), POSTS[0]])[0] == []
