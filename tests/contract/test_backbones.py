"""Every system on every architecture of text encoder and vision tower, of unequal widths and depths."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mner.errors import BackboneError
from mner.models import registered
from mner.recognizer import Recognizer

from .test_contract import scores_of
from .tiny import ENCODERS, LONG_POST, POSTS, TOWERS, tiny, tiny_encoder_config

POSTS_AND_A_LONG_ONE = [*POSTS, LONG_POST]

# Systems with their ways of reading that go through the encoder differently; the first see pictures.
SEEING: dict[str, tuple[str, dict[str, Any]]] = {
    "cat-mner": ("cat-mner", {}),
    "dghc": ("dghc", {"text": "pass"}),
    "dghc from embeddings": ("dghc", {"text": "embeddings"}),
    "mgips-cl": ("mgips-cl", {}),
    "mmavk with a visual prefix": ("mmavk", {"fusion": "visual-prefix", "prompt_width": 20}),
}
READING: dict[str, tuple[str, dict[str, Any]]] = {
    "mmavk": ("mmavk", {}),
    "mmavk with attention": ("mmavk", {"pooling": "attention"}),
    "mmavk concatenated": ("mmavk", {"fusion": "concatenation"}),
    "cdner": ("cdner", {}),
}


def built(system: str, encoder: str, tower: str | None) -> Recognizer:
    """A tiny recogniser away from special starts, at which pictures would change nothing."""
    name, options = {**SEEING, **READING}[system]
    if tower is not None:
        options = {**options, "vision_config": TOWERS[tower]()}
    recognizer = tiny(name, text_config=tiny_encoder_config(encoder), **options)
    torch.manual_seed(4)
    with torch.no_grad():
        for _, parameter in sorted(recognizer.model.named_parameters()):
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return recognizer


@torch.no_grad()
def scores(recognizer, posts):
    return scores_of(recognizer.model.eval()(recognizer.encode(posts)))


def check(recognizer: Recognizer, folder: Any) -> None:
    """Forward, backward, posts in a batch and one by one, save and load."""
    model = recognizer.model.train()
    loss = model(recognizer.encode(POSTS_AND_A_LONG_ONE, labelled=True)).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name

    together = scores(recognizer, POSTS_AND_A_LONG_ONE)
    for row, post in enumerate(POSTS_AND_A_LONG_ONE):
        words = len(post.words)
        alone = scores(recognizer, [post])[0]
        torch.testing.assert_close(together[row, :words], alone[:words], atol=3e-5, rtol=1e-4)

    recognizer.save_pretrained(folder)
    loaded = Recognizer.from_pretrained(folder, device="cpu")
    assert torch.equal(scores(loaded, POSTS_AND_A_LONG_ONE), together)
    assert loaded.predict(POSTS) == recognizer.predict(POSTS)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("system", SEEING)
def test_any_encoder_with_any_tower(system, encoder, tower, tmp_path):
    recognizer = built(system, encoder, tower)
    config = recognizer.model.config
    assert config.text_config.hidden_size != config.vision_config.hidden_size
    assert config.text_config.num_hidden_layers != config.vision_config.num_hidden_layers
    check(recognizer, tmp_path)
    without = [post.with_fields(image=None) for post in POSTS_AND_A_LONG_ONE]
    seen, unseen = scores(recognizer, POSTS_AND_A_LONG_ONE), scores(recognizer, without)
    assert not torch.allclose(seen, unseen, atol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("system", READING)
def test_any_encoder_with_pictures_as_text(system, encoder, tmp_path):
    recognizer = built(system, encoder, None)
    check(recognizer, tmp_path)
    without = [post.with_fields(knowledge=(), alt=None) for post in POSTS_AND_A_LONG_ONE]
    known, unknown = scores(recognizer, POSTS_AND_A_LONG_ONE), scores(recognizer, without)
    assert not torch.allclose(known, unknown, atol=1e-4)


def test_every_system_that_reads_pictures_is_in_the_matrix():
    systems = {name for name, entry in registered().items() if entry.reads_pictures}
    assert systems == {name for name, _ in (*SEEING.values(), *READING.values())}


@pytest.mark.parametrize("system", SEEING)
def test_deberta_is_refused_with_the_reason_where_attention_is_changed(system):
    with pytest.raises(BackboneError, match=r"deberta-v2(.|\n)*relative positions(.|\n)*another backbone"):
        built(system, "deberta-v2", "clip")


@pytest.mark.parametrize("system", READING)
def test_deberta_is_taken_where_attention_stays_as_it_is(system, tmp_path):
    check(built(system, "deberta-v2", None), tmp_path)


def test_deberta_is_taken_where_no_picture_is_read():
    recognizer = tiny("cat-mner", text_config=tiny_encoder_config("deberta-v2"), text_only=True)
    assert len(recognizer.predict(POSTS)) == len(POSTS)
