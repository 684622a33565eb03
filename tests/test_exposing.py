"""What systems show of posts: names, shapes, and what every such number must obey."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mner.cli.app import run
from mner.models import registered
from mner.posts import Knowledge, Post
from tests.contract.tiny import LABELS, LONG_POST, POSTS, tiny, tiny_picture

READING = sorted(name for name, entry in registered().items() if entry.reads_pictures)
# Ways of reading in which a system shows all that it can.
OPTIONS = {"mmavk": {"pooling": "attention"}, "mgips-cl": {"positives": 2}}

BARE = POSTS[0].with_fields(image=None, knowledge=(), alt=None)
GIVEN = [
    POSTS[0],
    BARE,
    LONG_POST,
    POSTS[3],
    POSTS[1].with_fields(image=tiny_picture(8)),
    Post.from_words([]),
]


@pytest.fixture(scope="module", params=READING)
def shown(request):
    """A system and what it shows of the posts given."""
    recognizer = tiny(request.param, **OPTIONS.get(request.param, {}))
    return recognizer, recognizer.exposed(GIVEN)


def test_names_and_axes_are_those_that_the_model_declares(shown):
    recognizer, arrays = shown
    config = recognizer.model.config
    declared = recognizer.model.exposes
    sizes = {
        "layers": 2,
        "features": 32 if recognizer.name == "cdner" else 24,
        "cells": 4,
        "types": len(LABELS),
        "blocks": 4,
        "posts": len(GIVEN),
        "positives": getattr(config, "positives", None),
    }
    assert set(declared) <= set().union(*arrays)
    for post, found in zip(GIVEN, arrays, strict=True):
        assert found["words"].tolist() == list(post.words)
        for name, axes in declared.items():
            assert isinstance(found[name], np.ndarray)
            for axis, size in zip(axes, found[name].shape, strict=True):
                pieces = found.get(f"{axis}_pieces")
                wanted = len(pieces) if pieces is not None else {**sizes, "words": len(post.words)}[axis]
                # The last layer of CAT-MNER refines nothing where the picture looks at text.
                last = 1 if axis == "layers" and name.startswith("text_") else 0
                assert size == wanted - last, (name, axis)


def test_each_post_alone_shows_the_same(shown):
    recognizer, arrays = shown
    for post, found in zip(GIVEN, arrays, strict=True):
        (alone,) = recognizer.exposed([post])
        for name in recognizer.model.exposes:
            # These compare posts with one another; without any picture there is nothing to compare.
            if name not in ("similarity", "implicit_positives"):
                np.testing.assert_allclose(alone[name], found[name], atol=2e-5, err_msg=name)


def test_a_model_that_reads_text_alone_shows_words():
    (found,) = tiny("bert-crf").exposed([POSTS[0]])
    assert set(found) == {"words"}
    assert tiny("bert-crf").exposed([]) == []


def of(name, **options):
    recognizer = tiny(name, **{**OPTIONS.get(name, {}), **options})
    recognizer.model.train()
    arrays = recognizer.exposed(GIVEN)
    assert recognizer.model.training
    return arrays


def test_cat_mner_shows_saliencies_that_are_distributions_over_tokens():
    with_picture, without, *_ = of("cat-mner")
    for name in ("image_saliency", "type_saliency"):
        np.testing.assert_allclose(with_picture[name].sum(-1), 1.0, atol=1e-5)
    # Words are some of the tokens: special ones and further sub-words have their share.
    assert (with_picture["text_saliency"] > 0).all()
    assert (with_picture["text_saliency"].sum(-1) < 1).all()
    attention = with_picture["image_attention"]
    assert (attention > 0).all()
    assert (attention.sum(-1) < 1).all()
    np.testing.assert_array_equal(without["image_attention"], 0)
    for name in ("image_gate", "text_gate"):
        np.testing.assert_array_equal(with_picture[name], 0)  # where gates start


def test_dghc_shows_gates_that_share_out_what_is_there():
    with_picture, without, *_ = of("dghc")
    assert with_picture["blocks"].all()
    assert not without["blocks"].any()
    np.testing.assert_allclose(with_picture["gates"].sum(-1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(without["gates"], 0)
    assert -1 <= with_picture["relation"] <= 1
    assert (np.abs(with_picture["coefficient"]) <= 1).all()


def test_mgips_cl_shows_its_gate_and_the_pictures_it_chose():
    arrays = of("mgips-cl")
    assert ((arrays[0]["pre_post_gate"] > 0) & (arrays[0]["pre_post_gate"] < 1)).all()
    np.testing.assert_array_equal(arrays[1]["pre_post_gate"], 1)
    pictured = [number for number, post in enumerate(GIVEN) if post.image is not None]
    for found in arrays[:1] + arrays[2:5]:
        assert (np.abs(found["similarity"]) <= 1 + 1e-6).all()
        best = sorted(pictured, key=lambda number: -found["similarity"][number])[:2]
        assert found["implicit_positives"].tolist() == best


def test_mmavk_shows_relevance_and_what_it_weighs():
    known, _, unscored, *_ = of("mmavk")
    assert known["relevance"] == pytest.approx(0.9)
    assert np.isnan(unscored["relevance"])
    assert known["relevance_weight"] == unscored["relevance_weight"] == 1
    np.testing.assert_allclose(known["knowledge_attention"].sum(-1), 1.0, atol=1e-5)
    assert "harbour" in "".join(piece.removeprefix("##") for piece in known["auxiliary_pieces"])


def test_cdner_shows_the_chain_that_it_read():
    post = POSTS[0].with_fields(knowledge=(Knowledge("reasoning", "in port"), Knowledge("caption", "a")))
    recognizer = tiny("cdner")
    (found,) = recognizer.exposed([post])
    assert found["chain"].tolist() == recognizer.encoder.tokenizer("in port")["input_ids"]
    pieces = recognizer.encoder.tokenizer.convert_ids_to_tokens(found["chain"].tolist())
    assert found["reasoning_pieces"].tolist() == pieces
    np.testing.assert_allclose(found["caption_attention"].sum(-1), 1.0, atol=1e-5)
    assert ((found["caption_gate"] > 0) & (found["caption_gate"] < 1)).all()


def test_the_command_writes_what_the_recogniser_shows(tmp_path, capsys):
    recognizer = tiny("cat-mner")
    recognizer.save_pretrained(tmp_path / "run")
    (tmp_path / "picture.png").write_bytes(tiny_picture(1))
    lines = [{"id": "é/1", "text": "Ada reads", "image": "picture.png"}, {"text": "no picture here"}]
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    file = tmp_path / "shown.npz"
    arguments = ["expose", str(tmp_path / "run"), "--data", str(posts), "--output", str(file)]
    assert run([*arguments, "--batch-size", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["posts"] == 2
    assert document["arrays"]["image_attention"] == {"axes": ["layers", "words", "cells"], "shape": [2, 2, 4]}
    given = [
        Post.from_text("Ada reads", image=tmp_path / "picture.png"),
        Post.from_text("no picture here"),
    ]
    with np.load(file, allow_pickle=False) as written:
        assert written["0/id"] == "é/1"
        for number, arrays in enumerate(recognizer.exposed(given)):
            for name, values in arrays.items():
                if values.dtype.kind == "U":
                    assert written[f"{number}/{name}"].tolist() == values.tolist()
                else:
                    np.testing.assert_allclose(written[f"{number}/{name}"], values, atol=2e-5)
    assert run([*arguments]) == 0
    assert "image_attention" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "either a text"), (["a text"], "nothing to show")], ids=["nothing", "text"]
)
def test_what_cannot_be_shown_is_said(arguments, said, tmp_path, capsys):
    tiny("bert-crf").save_pretrained(tmp_path / "run")
    output = ["--output", str(tmp_path / "shown.npz")]
    assert run(["expose", str(tmp_path / "run"), *arguments, *output]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "shown.npz").exists()
