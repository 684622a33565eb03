"""What figures show is what the models compute, cut to the post."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mner.errors import UsageError
from mner.plots import showing
from mner.posts import Post
from tests.contract.tiny import POSTS, tiny


@pytest.fixture(scope="module")
def cat():
    return tiny("cat-mner")


@pytest.fixture(scope="module")
def dghc():
    return tiny("dghc")


def forward(recognizer, post):
    recognizer.model.eval()
    with torch.inference_mode():
        return recognizer.model(recognizer.encode([post]), expose=True).exposed


def test_maps_of_words_are_the_attention_reshaped(cat):
    post = POSTS[0]
    values = forward(cat, post)["image_attention"][0].numpy()
    side = int(values.shape[-1] ** 0.5)
    maps = showing.picture_maps(cat, post, layer=1)
    assert list(maps) == list(post.words)
    for number, found in enumerate(maps.values()):
        for row in range(side):
            for column in range(side):
                assert found[row, column] == pytest.approx(values[0, number, row * side + column], abs=1e-6)
    means = showing.picture_maps(cat, post)
    assert means["Ada"].ravel() == pytest.approx(values[:, 0].mean(0), abs=1e-6)


def test_maps_of_types_and_of_all(cat):
    exposed = forward(cat, POSTS[0])
    by_type = showing.picture_maps(cat, POSTS[0], by="type")
    assert list(by_type) == list(cat.labels)
    assert by_type["PER"].ravel() == pytest.approx(
        exposed["type_saliency"][0].numpy().mean(0)[list(cat.labels).index("PER")], abs=1e-6
    )
    (one,) = showing.picture_maps(cat, POSTS[0], by="all").values()
    assert one.ravel() == pytest.approx(exposed["image_saliency"][0].numpy().mean(0), abs=1e-6)


def test_a_word_that_stands_there_twice_has_two_maps(cat):
    post = Post.from_words(["a", "name", "a"], image=POSTS[0].image)
    assert list(showing.picture_maps(cat, post)) == ["a", "name", "a (2)"]


def test_what_is_not_there_is_explained(cat, dghc):
    with pytest.raises(UsageError, match="no layer 99"):
        showing.picture_maps(cat, POSTS[0], layer=99)
    with pytest.raises(UsageError, match="no maps by 'post'"):
        showing.picture_maps(cat, POSTS[0], by="post")
    with pytest.raises(UsageError, match="cat-mner run"):
        showing.picture_maps(dghc, POSTS[0])
    with pytest.raises(UsageError, match="no regions or crops"):
        showing.picture_parts(cat, POSTS[0])
    with pytest.raises(UsageError, match="no gates at words"):
        showing.gates_by_type(dghc, POSTS)
    with pytest.raises(UsageError, match="no gates by layer"):
        showing.gates_by_layer(dghc, POSTS[1:3])


def test_regions_are_the_best_ones_and_weigh_what_the_gates_say(dghc):
    post = POSTS[0]
    parts = showing.picture_parts(dghc, post)
    regions = sorted(post.known("regions").regions, key=lambda region: -region.score)
    boxes = [(0.0, 0.0, 1.0, 1.0), *(tuple(region[:4]) for region in regions)]
    assert list(parts.values()) == boxes[: len(parts)]
    assert next(iter(parts)) == "whole picture"
    gates = forward(dghc, post)["gates"][0].numpy()
    weights = showing.part_weights(dghc, post)
    assert list(weights.values()) == pytest.approx(gates.mean(0)[: len(weights)].tolist(), abs=1e-6)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-5)


def test_gates_by_layer_are_those_of_each_post(cat, dghc):
    found = showing.gates_by_layer(dghc, POSTS)
    alone = [forward(dghc, post)["gates"][0, :, 0].numpy() for post in (POSTS[0], POSTS[3])]
    assert found["whole picture"] == pytest.approx(np.stack(alone), abs=1e-5)
    # The last post has one region alone.
    assert len(found["region 2"]) == 1
    found = showing.gates_by_layer(cat, POSTS)
    words = len(POSTS[0].words) + len(POSTS[3].words)
    assert len(found["words"]) == words
    assert found["words"][0] == pytest.approx(forward(cat, POSTS[0])["text_gate"][0, :, 0].numpy(), abs=1e-5)


@pytest.mark.parametrize("name", ["mgips-cl", "cdner"])
def test_gates_of_words_stand_under_their_types(name):
    recognizer = tiny(name)
    found = showing.gates_by_type(recognizer, POSTS)
    exposed = [forward(recognizer, post) for post in POSTS]
    for kind, of_type in found.items():
        assert sum(map(len, of_type.values())) == sum(len(post.words) for post in POSTS)
        # The first post: two words of a person, two outside, two of a place.
        values = exposed[0][kind.replace(" ", "_")][0].reshape(6, -1).mean(1).tolist()
        assert of_type["PER"][:2] == pytest.approx(values[:2], abs=1e-5)
        assert of_type["O"][:2] == pytest.approx(values[2:4], abs=1e-5)


def test_what_words_read_of_a_caption():
    recognizer = tiny("cdner")
    values, pieces = showing.read_texts(recognizer, POSTS[0])
    assert values.shape == (6, len(pieces))
    assert values.sum(1) == pytest.approx(np.ones(6), abs=1e-5)
    assert any("woman" in piece or piece.startswith("w") for piece in pieces)
    assert showing.read_texts(tiny("bert-crf"), POSTS[0]) is None


@pytest.mark.parametrize("name", ["bert-crf", "cat-mner", "bilstm-crf"])
def test_vectors_of_entities_are_the_means_of_what_the_decoder_gets(name):
    recognizer = tiny(name)
    gold = [post.gold() for post in POSTS]
    found = showing.entity_vectors(recognizer, POSTS, gold, batch_size=3)
    assert found.labels == [one.label for entities in gold for one in entities]
    assert found.mentions == [one.text for entities in gold for one in entities]
    seen = []
    handle = recognizer.model.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    forward(recognizer, POSTS[3])
    handle.remove()
    # Of the last post the first entity is its words 0 and 1.
    number = found.mentions.index("Tove Adeyemi")
    assert found.vectors[number] == pytest.approx(seen[0][0, :2].mean(0).numpy(), abs=1e-4)
    assert found.posts[number] == POSTS[3].text
    # The hook is gone.
    assert not recognizer.model.decoder._forward_pre_hooks


def test_words_of_entities_by_characters():
    post = POSTS[0]
    assert showing.words_of(post, post.gold()) == [0, 1, 4, 5]
    assert showing.words_of(post, []) == []
