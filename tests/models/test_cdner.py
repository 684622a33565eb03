"""CDNER: fusion of captions against slow loops, the chain, the ablations, and the way to other label sets."""

from __future__ import annotations

import pytest
import torch

from mner.errors import UsageError
from mner.models import Sources, model_named
from mner.models.cdner import OPEN, CaptionFusion, Cdner
from mner.nn import backbones
from mner.posts import Knowledge, Post
from mner.pretrained import DEFAULT
from tests.contract.tiny import LABELS, LONG_POST, POSTS, assembled, tiny, tiny_text_config

WORDS = ["Ada", "reads", "in", "Port"]
CAPTION, CHAIN = "a picture of the port", "Ada is a reader\nPort is a harbour"


def post(caption=None, chain=None, words=WORDS, **fields):
    known = [Knowledge(kind, text) for kind, text in (("caption", caption), ("reasoning", chain)) if text]
    return Post.from_words(words, knowledge=tuple(known), **fields)


def cdner(**options):
    """A tiny CDNER whose random weights are large enough for every part of it to matter."""
    recognizer = tiny("cdner", word_shape=False, **options)
    with torch.no_grad():
        for parameter in recognizer.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return recognizer


def emissions(recognizer, posts):
    with torch.inference_mode():
        return recognizer.model.eval()(recognizer.encode(posts)).emissions


def slow(recognizer, caption, chain):
    """Z through the encoder, then section 3.1.3 word by word, then emissions."""
    model, tokenizer = recognizer.model, recognizer.encoder.tokenizer
    text = tokenizer(WORDS, is_split_into_words=True)
    ids = text["input_ids"] + (tokenizer(chain)["input_ids"][1:] if chain else [])
    firsts = [text.word_ids().index(index) for index in range(len(WORDS))]
    states = model.text_encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
    rows = []
    for first in firsts:
        t_i = states[first]
        h_i = t_i
        if caption:
            fusion = model.caption_fusion
            read_from = model.text_encoder(**tokenizer(caption, return_tensors="pt")).last_hidden_state
            everything = torch.ones(read_from.shape[:2], dtype=torch.bool)
            c_i = fusion.attention(t_i[None, None], read_from, everything)[0][0, 0]
            a_i = 1 / (1 + torch.exp(-(fusion.text_gate.weight @ c_i + fusion.text_gate.bias)))
            b_i = 1 / (1 + torch.exp(-(fusion.caption_gate.weight @ t_i + fusion.caption_gate.bias)))
            h_i = a_i * t_i + b_i * c_i
        rows.append(model.decoder.linear.weight @ h_i + model.decoder.linear.bias)
    return torch.stack(rows)


@pytest.mark.parametrize("caption", [CAPTION, None])
@pytest.mark.parametrize("chain", [CHAIN, None])
def test_equations_of_section_3_equal_a_slow_loop(caption, chain):
    recognizer = cdner(chain_length=40)
    others = [post(), post("two men", "here", words=["Tove"])]
    fast = emissions(recognizer, [post(caption, chain), *others])[0]
    with torch.no_grad():
        torch.testing.assert_close(fast, slow(recognizer, caption, chain), atol=1e-5, rtol=1e-4)


def test_without_caption_the_text_stays_as_it_is():
    torch.manual_seed(0)
    fusion = CaptionFusion(8, 2)
    words, nothing = torch.randn(2, 3, 8), torch.zeros(2, 4, dtype=torch.bool)
    assert torch.equal(fusion(words, torch.randn(2, 4, 8), nothing), words)


def test_the_gate_of_the_text_starts_open():
    recognizer = tiny("cdner")
    bias = recognizer.model.caption_fusion.text_gate.bias
    assert torch.equal(bias, torch.full_like(bias, OPEN))
    with torch.no_grad():
        gates = recognizer.model.eval()(recognizer.encode([post(CAPTION)]), expose=True).exposed
    assert float((gates["text_gate"] - torch.sigmoid(torch.tensor(OPEN))).abs().max()) < 0.1


def test_a_trained_gate_is_loaded_as_it_was(tmp_path):
    recognizer = cdner()
    with torch.no_grad():
        recognizer.model.caption_fusion.text_gate.bias.fill_(-1.0)
    recognizer.save_pretrained(tmp_path)
    loaded = type(recognizer).from_pretrained(tmp_path)
    assert float(loaded.model.caption_fusion.text_gate.bias.detach().max()) == -1.0


def test_without_both_it_is_the_text_baseline():
    recognizer, baseline = (
        cdner(caption_fusion=False, reasoning_chain=False),
        tiny("bert-crf", word_shape=False),
    )
    assert recognizer.model.state_dict().keys() == baseline.model.state_dict().keys()
    baseline.model.load_state_dict(recognizer.model.state_dict())
    posts = [post(CAPTION, CHAIN), *POSTS, LONG_POST]
    assert torch.equal(emissions(recognizer, posts), emissions(baseline, posts))


@pytest.mark.parametrize(
    ("options", "reads_caption", "reads_chain"),
    [
        ({}, True, True),
        ({"caption_fusion": False}, False, True),
        ({"reasoning_chain": False}, True, False),
        ({"caption_fusion": False, "reasoning_chain": False}, False, False),
        ({"caption_kinds": ["ocr"]}, False, True),
        ({"chain_kinds": ["ocr"]}, True, False),
    ],
    ids=str,
)
def test_ablations_read_what_they_should(options, reads_caption, reads_chain):
    recognizer = cdner(**options)
    bare, captioned, reasoned = (
        emissions(recognizer, [p]) for p in (post(), post(CAPTION), post(None, CHAIN))
    )
    assert torch.allclose(bare, captioned, atol=1e-4) != reads_caption
    assert torch.allclose(bare, reasoned, atol=1e-4) != reads_chain


@pytest.mark.parametrize(
    "switch", [{"caption_length": 4}, {"chain_length": 4}, {"attention_heads": 1}], ids=str
)
def test_every_number_has_an_effect(switch):
    reference, changed = cdner(chain_length=40), cdner(**{"chain_length": 40, **switch})
    changed.model.load_state_dict(reference.model.state_dict())
    posts = [post(CAPTION, CHAIN)]
    assert not torch.allclose(emissions(reference, posts), emissions(changed, posts), atol=1e-5)


def test_alternative_text_stands_in_for_a_caption():
    recognizer = cdner()
    torch.testing.assert_close(
        emissions(recognizer, [post(alt=CAPTION)]), emissions(recognizer, [post(CAPTION)])
    )
    both = post(CAPTION, alt="two men here")
    torch.testing.assert_close(emissions(recognizer, [both]), emissions(recognizer, [post(CAPTION)]))


def test_every_window_reads_the_chain():
    recognizer = cdner()
    told = LONG_POST.with_fields(knowledge=(Knowledge("reasoning", "a railway"),))
    batch = recognizer.encode([told])
    assert batch.input_ids.shape[0] > 2
    assert bool(batch.appended.any(1).all())
    bare = LONG_POST.with_fields(knowledge=())
    change = (emissions(recognizer, [told]) - emissions(recognizer, [bare])).abs().amax(-1)[0]
    assert bool((change > 1e-5).all())


def test_labels_exist_for_the_words_alone():
    recognizer = cdner()
    output = recognizer.model(recognizer.encode([post(CAPTION, CHAIN)]))
    assert output.emissions.shape[:2] == (1, len(WORDS))


def test_posts_do_not_read_each_others_texts():
    recognizer = cdner()
    mine = [post(CAPTION, CHAIN), post()]
    before = emissions(recognizer, [*mine, post("two men here today for the opening", "left")])
    after = emissions(recognizer, [*mine, post()])
    torch.testing.assert_close(before[:2], after[:2], atol=1e-5, rtol=1e-4)


def test_no_texts_anywhere_give_finite_gradients():
    recognizer = cdner()
    bare = [one.with_fields(knowledge=(), alt=None) for one in POSTS]
    loss = recognizer.model.train()(recognizer.encode(bare, labelled=True)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in recognizer.model.parameters() if p.grad is not None)


def test_exposes_chain_gates_and_attention():
    recognizer = cdner(chain_length=40)
    posts = [post(CAPTION, CHAIN), post()]
    exposed = recognizer.model.eval()(recognizer.encode(posts), expose=True).exposed
    chain = exposed["chain"][0]
    tokenizer = recognizer.encoder.tokenizer
    assert chain[chain >= 0].tolist() == tokenizer(CHAIN)["input_ids"]
    assert exposed["chain"][1].tolist() == [-1] * len(chain)
    for gate, without in (("text_gate", 1.0), ("caption_gate", 0.0)):
        assert exposed[gate].shape == (2, len(WORDS), 32)
        assert bool(((exposed[gate][0] > 0) & (exposed[gate][0] < 1)).all())
        assert torch.equal(exposed[gate][1], torch.full((len(WORDS), 32), without))
    torch.testing.assert_close(exposed["caption_attention"][0].sum(-1), torch.ones(len(WORDS)))


def build(labels, seed, **options):
    torch.manual_seed(seed)
    config = Cdner.config_class(
        labels=list(labels), text_config=tiny_text_config(), caption_length=24, chain_length=24, **options
    )
    return assembled(Cdner(config))


def test_another_label_set_keeps_the_encoder_and_the_types_of_the_same_name():
    source = build(("LOC", "MISC", "ORG", "PER"), 1)
    target = build(("LOC", "award", "musician", "ORG"), 2)
    before = {key: value.clone() for key, value in target.model.state_dict().items()}
    target.model.adopt(source.model)
    given, taken = source.model.state_dict(), target.model.state_dict()
    for key in taken:
        if not key.startswith("decoder."):
            assert torch.equal(taken[key], given[key]), key
    shared = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
    new = ("B-award", "I-award", "B-musician", "I-musician")
    own_rows = {tag: target.model.config.tags.index(tag) for tag in (*shared, *new)}
    rows = {tag: source.model.config.tags.index(tag) for tag in shared}
    weight, pairs = "decoder.linear.weight", "decoder.crf.pairs"
    for tag in shared:
        assert torch.equal(taken[weight][own_rows[tag]], given[weight][rows[tag]])
        for other in shared:
            assert taken[pairs][own_rows[tag], own_rows[other]] == given[pairs][rows[tag], rows[other]]
    for tag in new:
        assert torch.equal(taken[weight][own_rows[tag]], before[weight][own_rows[tag]])


def test_carried_over_it_still_finds_the_types_of_the_same_name():
    """Trained on one label set, then carried to another without training: shared types are still found."""
    source = build(LABELS, 1, dropout=0.0)
    model = source.model.train()
    batch = source.encode(POSTS, labelled=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(batch).loss.backward()
        optimizer.step()
    model.eval()
    target = build(("award", "LOC", "PER"), 2, dropout=0.0)
    target.model.adopt(source.model)
    with torch.no_grad():  # the new type's random start must not drown the carried ones
        rows = [target.model.config.tags.index(tag) for tag in ("B-award", "I-award")]
        target.model.decoder.linear.weight[rows] = 0.0
        target.model.decoder.linear.bias[rows] = -10.0
    target.model.eval()
    found = target.predict([POSTS[0]])[0]
    assert [(e.text, e.label) for e in found] == [("Ada Lindqvist", "PER"), ("Port Ellery", "LOC")]


def test_from_sources_holds_the_embedded_encoder():
    model = model_named("cdner").model.from_sources({"labels": list(LABELS)}, Sources(backbone=DEFAULT))
    package = backbones.build_encoder(backbones.load_config(DEFAULT))
    backbones.load_weights(package, DEFAULT)
    found = model.text_encoder.state_dict()
    assert all(torch.equal(found[key], value) for key, value in package.state_dict().items())
    assert float(model.caption_fusion.text_gate.bias.detach().min()) == OPEN


def test_a_chain_longer_than_the_encoder_is_refused():
    with pytest.raises(UsageError, match="holds no words"):
        cdner(chain_length=62)
