"""MMAVK: its equations against slow loops, its filter, its switches."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from mner.encoding.subwords import SubwordTable
from mner.errors import RecipeError, UsageError
from mner.models import Sources, model_named
from mner.models.mmavk import Mmavk
from mner.nn import backbones
from mner.posts import Knowledge, Post, Region
from mner.pretrained import DEFAULT
from mner.training.recipe import check_recipe
from tests.contract.tiny import LABELS, LONG_POST, POSTS, tiny, tiny_vision_config

WORDS = ["Ada", "reads", "in", "Port"]


def post(text=None, relevance=None, kind="auxiliary", words=WORDS):
    knowledge = () if text is None else (Knowledge(kind, text),)
    if relevance is not None:
        knowledge += (Knowledge("relevance", score=relevance),)
    return Post.from_words(words, knowledge=knowledge)


def emissions(recognizer, posts):
    with torch.inference_mode():
        return recognizer.model.eval()(recognizer.encode(posts)).emissions


def mmavk(**options):
    """A tiny MMAVK whose random weights are large enough for every part of it to matter."""
    recognizer = tiny("mmavk", word_shape=False, **options)
    with torch.no_grad():
        for parameter in recognizer.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return recognizer


def states_alone(recognizer, text):
    """States of a text encoded by itself, with the tokenizer's own special tokens."""
    encoded = recognizer.encoder.tokenizer(text, return_tensors="pt")
    return recognizer.model.text_encoder(**encoded).last_hidden_state[0]


def slow(recognizer, words, text, weight):
    """Eq. 5-10 and the emissions, one word at a time."""
    model = recognizer.model
    tokenizer = recognizer.encoder.tokenizer
    encoded = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
    firsts = [encoded.word_ids(0).index(index) for index in range(len(words))]
    states = model.text_encoder(input_ids=encoded["input_ids"]).last_hidden_state[0]
    knowledge = states_alone(recognizer, text)
    rows = []
    for first in firsts:
        h_i = states[first]
        if model.config.pooling == "vector":
            read = knowledge[0]  # h_[CLS], eq. 7
        else:
            read, _ = model.attention(h_i[None, None], knowledge[None], torch.ones(1, len(knowledge)).bool())
            read = read[0, 0]
        h_aux = torch.tanh(model.auxiliary.weight @ read + model.auxiliary.bias) * weight  # eq. 8
        fused = model.fusion.weight @ torch.cat((h_i, h_aux)) + model.fusion.bias  # eq. 9
        if not model.config.literal:
            fused = fused * 0.5 * (1 + torch.erf(fused / 2**0.5))
        rows.append(model.decoder.linear.weight @ fused + model.decoder.linear.bias)
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", ["vector", "attention"])
@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize(("filtering", "weight"), [("none", 1.0), ("hard", 1.0), ("soft", 0.625)])
def test_equations_5_to_10_equal_a_slow_loop(pooling, literal, filtering, weight):
    recognizer = mmavk(pooling=pooling, literal=literal, filter=filtering, threshold=0.5)
    text = "a picture of the port"
    fast = emissions(recognizer, [post(), post(text, 0.625)])[1]
    with torch.no_grad():
        expected = slow(recognizer, WORDS, text, weight)
    torch.testing.assert_close(fast, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("filtering", "score", "expected"),
    [
        ("none", 0.1, 1.0),
        ("none", None, 1.0),
        ("hard", 0.34, 0.0),
        ("hard", 0.36, 1.0),
        ("hard", None, 1.0),  # what nobody measured is not known to be unrelated
        ("soft", 0.34, 0.0),
        ("soft", 0.75, 0.75),
        ("soft", 1.5, 1.0),
        ("soft", None, 1.0),
    ],
)
def test_weight_of_the_knowledge(filtering, score, expected):
    recognizer = mmavk(filter=filtering)
    batch = recognizer.encode([post("a port", score), post(None, score)])
    weight = recognizer.model.eval()(batch, expose=True).exposed["relevance_weight"]
    assert weight.tolist() == pytest.approx([expected, 0.0])


def test_a_score_on_the_threshold_passes():
    recognizer = mmavk(threshold=0.5)
    batch = recognizer.encode([post("a port", 0.5)])
    assert recognizer.model(batch, expose=True).exposed["relevance_weight"].tolist() == [1.0]


@pytest.mark.parametrize("options", [{}, {"pooling": "attention"}, {"literal": True}, {"filter": "soft"}])
def test_below_the_threshold_equals_a_post_without_knowledge(options):
    recognizer = mmavk(**options)
    others = [post("two men", 0.9, words=["Tove", "left"])]
    below = emissions(recognizer, [post("a picture of the port", 0.2), *others])
    without = emissions(recognizer, [post(), *others])
    above = emissions(recognizer, [post("a picture of the port", 0.5), *others])
    assert torch.equal(below[0], without[0])
    torch.testing.assert_close(below[1], without[1], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(above[0], without[0], atol=1e-4)


def test_below_the_threshold_concatenated_knowledge_is_not_attended_to():
    recognizer = mmavk(fusion="concatenation")
    below = emissions(recognizer, [post("a picture of the port", 0.2)])
    without = emissions(recognizer, [post()])
    above = emissions(recognizer, [post("a picture of the port", 0.5)])
    torch.testing.assert_close(below, without, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(above, without, atol=1e-4)


def test_concatenation_equals_the_encoder_over_text_and_knowledge():
    recognizer = mmavk(fusion="concatenation", filter="none")
    model, tokenizer = recognizer.model, recognizer.encoder.tokenizer
    text = "a picture of the port"
    ids = tokenizer(WORDS, is_split_into_words=True)["input_ids"]
    together = [*ids, *tokenizer(text)["input_ids"][1:]]
    columns = tokenizer(WORDS, is_split_into_words=True)
    firsts = [columns.word_ids().index(index) for index in range(len(WORDS))]
    with torch.no_grad():
        states = model.eval().text_encoder(input_ids=torch.tensor([together])).last_hidden_state[0]
        expected = model.decoder.linear(states[firsts])
    torch.testing.assert_close(emissions(recognizer, [post(text)])[0], expected, atol=1e-5, rtol=1e-4)


def test_text_only_is_the_text_baseline():
    recognizer, baseline = mmavk(fusion="text-only"), tiny("bert-crf", word_shape=False)
    assert recognizer.model.state_dict().keys() == baseline.model.state_dict().keys()
    baseline.model.load_state_dict(recognizer.model.state_dict())
    posts = [post("a port"), *POSTS, LONG_POST]
    assert torch.equal(emissions(recognizer, posts), emissions(baseline, posts))


def test_literally_a_picture_moves_all_words_of_a_post_alike():
    """Eq. 9 with linear emissions adds one offset a post; the default and attention do not."""

    def moved(**options):
        recognizer = mmavk(**options)
        change = emissions(recognizer, [post("a port")]) - emissions(recognizer, [post("two men here")])
        assert bool((change.abs() > 1e-3).any())
        return float((change - change[:, :1]).abs().max())

    assert moved(literal=True) < 1e-5
    assert moved() > 1e-3
    assert moved(pooling="attention", literal=True) > 1e-4
    assert moved(pooling="attention") > 1e-3


SWITCHES = [
    {"fusion": "concatenation"},
    {"fusion": "text-only"},
    {"pooling": "attention"},
    {"literal": True},
    {"filter": "none"},
    {"filter": "soft"},
    {"threshold": 0.95},
    {"knowledge_length": 4},
    {"knowledge_kinds": ["caption"]},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_has_an_effect(switch):
    posts = [post("a picture of the port", 0.2), post("two men here today", 0.9)]
    posts[0] = posts[0].with_fields(knowledge=(*posts[0].knowledge, Knowledge("caption", "a train")))
    reference, changed = mmavk(), mmavk(**switch)
    own, other = reference.model.state_dict(), changed.model.state_dict()
    changed.model.load_state_dict({**other, **{k: v for k, v in own.items() if k in other}})
    assert own.keys() != other.keys() or not torch.allclose(
        emissions(reference, posts), emissions(changed, posts), atol=1e-5
    )


def test_heads_of_the_attention_have_an_effect():
    one, four = (mmavk(pooling="attention", attention_heads=heads) for heads in (1, 4))
    four.model.load_state_dict(one.model.state_dict())
    posts = [post("a picture of the port")]
    assert not torch.allclose(emissions(one, posts), emissions(four, posts), atol=1e-5)


def test_each_post_reads_its_own_knowledge_alone():
    for options in ({}, {"pooling": "attention"}, {"fusion": "concatenation"}):
        recognizer = mmavk(**options)
        mine = [post("a port", 0.9), post()]
        before = emissions(recognizer, [*mine, post("two men here for the opening today", 0.9)])
        after = emissions(recognizer, [*mine, post()])
        torch.testing.assert_close(before[:2], after[:2], atol=1e-5, rtol=1e-4)


def test_all_windows_of_a_long_post_read_its_knowledge():
    recognizer = mmavk(filter="none")
    told = LONG_POST.with_fields(knowledge=(Knowledge("caption", "a port"),))
    bare = LONG_POST.with_fields(knowledge=())
    assert recognizer.encode([told]).input_ids.shape[0] > 2
    change = (emissions(recognizer, [told]) - emissions(recognizer, [bare])).abs().amax(-1)[0]
    assert bool((change > 1e-5).all())


def test_no_knowledge_anywhere_gives_finite_gradients():
    for options in ({}, {"pooling": "attention"}, {"fusion": "concatenation"}):
        recognizer = mmavk(**options)
        bare = [one.with_fields(knowledge=(), alt=None) for one in POSTS]
        loss = recognizer.model.train()(recognizer.encode(bare, labelled=True)).loss
        loss.backward()
        assert torch.isfinite(loss)
        gradients = [p.grad for p in recognizer.model.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_the_threshold_can_be_a_quantile_of_the_training_posts():
    options = {"labels": list(LABELS), "threshold_quantile": 0.75, "word_shape": True}
    sources = Sources(backbone=DEFAULT, relevance=[0.1, 0.2, 0.3, 0.4, 0.5])
    model = Mmavk.from_sources(options, sources)
    assert model.config.threshold == pytest.approx(0.4)
    with pytest.raises(UsageError, match="quantile"):
        Mmavk.from_sources(options, Sources(backbone=DEFAULT))


def test_from_sources_holds_the_embedded_encoder():
    model = model_named("mmavk").model.from_sources({"labels": list(LABELS)}, Sources(backbone=DEFAULT))
    package = backbones.build_encoder(backbones.load_config(DEFAULT))
    backbones.load_weights(package, DEFAULT)
    wanted = package.state_dict()
    found = model.text_encoder.state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    table = SubwordTable(backbones.load_tokenizer(DEFAULT))
    assert table.lookup(["Toronto"]) != [(table.unknown,)]


def test_exposes_what_it_weighs_and_reads():
    recognizer = mmavk(pooling="attention")
    posts = [post("a port", 0.9), post("two men", 0.1), post()]
    output = recognizer.model.eval()(recognizer.encode(posts), expose=True)
    assert output.exposed["relevance_weight"].tolist() == [1.0, 0.0, 0.0]
    attention = output.exposed["knowledge_attention"].sum(-1)
    torch.testing.assert_close(attention[0], torch.ones(len(WORDS)))
    assert torch.equal(attention[1:], torch.zeros(2, len(WORDS)))
    assert recognizer.model(recognizer.encode(posts)).exposed == {}


def test_a_model_without_a_text_encoder_is_refused():
    with pytest.raises(UsageError, match="text_config"):
        Mmavk(Mmavk.config_class(labels=list(LABELS)))
    with pytest.raises(RecipeError, match=r"model\.fusion"):
        check_recipe({"model": {"name": "mmavk", "fusion": "sum"}})


def picture(colour):
    """A plain picture as the bytes of a file."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(stream, "PNG")
    return stream.getvalue()


def with_tower(**options):
    return mmavk(fusion="visual-prefix", vision_config=tiny_vision_config(), prompt_width=20, **options)


def test_a_visual_prefix_sees_the_picture_and_reads_no_knowledge():
    recognizer = with_tower()
    red, blue = (Post.from_words(WORDS, image=picture(colour)) for colour in ("red", "blue"))
    told = red.with_fields(knowledge=(Knowledge("auxiliary", "a port"),))
    said = emissions(recognizer, [red, blue, told])
    assert not torch.allclose(said[0], said[1], atol=1e-4)
    torch.testing.assert_close(said[0], said[2], atol=1e-6, rtol=1e-5)


def test_a_visual_prefix_of_nothing_is_the_text_encoder():
    recognizer, text_only = with_tower(), mmavk(fusion="text-only")
    own = text_only.model.state_dict()
    text_only.model.load_state_dict({k: v for k, v in recognizer.model.state_dict().items() if k in own})
    bare = [one.with_fields(image=None) for one in (*POSTS, LONG_POST)]
    torch.testing.assert_close(emissions(recognizer, bare), emissions(text_only, bare), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("switch", [{"regions": 0}, {"prompt_length": 2}, {"picture_size": 16}], ids=str)
def test_every_number_of_the_visual_prefix_has_an_effect(switch):
    box = Region(0.0, 0.0, 0.5, 0.5)
    post_with_regions = Post.from_words(
        WORDS, image=picture("red"), knowledge=(Knowledge("regions", regions=(box,)),)
    )
    reference, changed = with_tower(), with_tower(**switch)
    own, other = reference.model.state_dict(), changed.model.state_dict()
    if all(own[key].shape == other[key].shape for key in own):
        changed.model.load_state_dict(own)
        said = [emissions(one, [post_with_regions]) for one in (reference, changed)]
        assert not torch.allclose(*said, atol=1e-6)


def test_a_tower_and_a_visual_prefix_go_together():
    options = {"labels": list(LABELS), "fusion": "visual-prefix"}
    with pytest.raises(UsageError, match="vision_backbone"):
        Mmavk.from_sources(options, Sources(backbone=DEFAULT))
    with pytest.raises(UsageError, match="no vision_backbone"):
        Mmavk.from_sources({"labels": list(LABELS)}, Sources(backbone=DEFAULT, vision_backbone="scratch"))
    model = Mmavk.from_sources(options, Sources(backbone=DEFAULT, vision_backbone="scratch"))
    assert model.inputs.picture is not None
