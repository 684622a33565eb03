"""What every registered model must do, whatever it is."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch

from mner.evaluation.scores import score_posts
from mner.models import registered
from mner.nn.crf import ChainCRF
from mner.posts import Post
from mner.recognizer import Recognizer

from .tiny import BUILDERS, LONG_POST, POSTS, tiny

ROOT = Path(__file__).parents[2]


def scores_of(output):
    """What the model says, whichever way it says it."""
    return output.emissions if output.emissions is not None else output.span_scores


def overfit(recognizer, posts, most_steps=400, rate=3e-3):
    """Train until every entity is found, for at most so many steps; gives the last scores."""
    model = recognizer.model
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if hasattr(model.config, "unknown_share"):
        model.config.unknown_share = 0.0
    batch = recognizer.encode(posts, labelled=True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    for step in range(1, most_steps + 1):
        model.train()
        optimizer.zero_grad()
        model(batch).loss.backward()
        optimizer.step()
        if step % 25 == 0:
            model.eval()
            scores = score_posts(posts, recognizer.predict(posts))
            if scores.overall.f1 == 1.0:
                break
    return scores


def test_every_model_has_a_tiny_builder():
    assert sorted(registered()) == sorted(BUILDERS)


def test_every_model_file_has_a_name_a_recipe_and_a_page():
    files = {
        path.stem
        for path in (ROOT / "src/mner/models").glob("*.py")
        if path.stem not in ("__init__", "base", "registry")
    }
    by_file: dict[str, list[str]] = {}
    for entry in registered().values():
        by_file.setdefault(entry.model.__module__.rsplit(".", 1)[1], []).append(entry.name)
    assert set(by_file) == files
    recipes = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "recipes").rglob("*.toml"))
    for stem, names in by_file.items():
        for one in names:
            assert re.search(rf'^name = "{re.escape(one)}"', recipes, re.MULTILINE), f"no recipe for {one}"
        assert (ROOT / "docs" / "papers" / f"{stem.replace('_', '-')}.md").is_file(), stem


def test_overfits_a_few_posts_and_reads_a_long_one_to_its_end(recognizer):
    posts = [*POSTS, LONG_POST]
    scores = overfit(recognizer, posts)
    assert scores.overall.f1 == 1.0
    assert scores.overall.gold == sum(len(post.gold()) for post in posts)
    predicted = recognizer.predict(posts)
    assert all(0.0 < e.score <= 1.0 + 1e-6 for entities in predicted for e in entities)


def test_batch_equals_one_by_one(recognizer):
    posts = [*POSTS, LONG_POST, Post.from_words([])]
    with torch.inference_mode():
        together = scores_of(recognizer.model(recognizer.encode(posts)))
        for index, post in enumerate(posts):
            alone = scores_of(recognizer.model(recognizer.encode([post])))
            n = len(post.words)
            torch.testing.assert_close(together[index, :n], alone[0, :n], atol=2e-5, rtol=1e-4)


def test_what_stands_in_the_padding_changes_nothing(recognizer):
    batch = recognizer.encode(POSTS)
    with torch.inference_mode():
        before = scores_of(recognizer.model(batch))
        for tensor, mask in (
            (batch.input_ids, batch.attention_mask),
            (batch.words, batch.word_mask),
            (batch.word_shapes, batch.word_mask),
        ):
            if tensor is not None:
                tensor[~mask] = 1
        for block in batch.knowledge.values():
            block.input_ids[~block.attention_mask] = 1
        after = scores_of(recognizer.model(batch))
    for index, post in enumerate(POSTS):
        n = len(post.words)
        torch.testing.assert_close(before[index, :n], after[index, :n], atol=2e-5, rtol=1e-4)


def test_saved_and_loaded_says_the_same(recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path)
    loaded = Recognizer.from_pretrained(tmp_path)
    assert loaded.name == recognizer.name
    posts = [*POSTS, LONG_POST]
    with torch.inference_mode():
        before = scores_of(recognizer.model(recognizer.encode(posts)))
        after = scores_of(loaded.model(loaded.encode(posts)))
    assert torch.equal(before, after)
    own, other = recognizer.model.state_dict(), loaded.model.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[key], other[key]) for key in own)
    assert recognizer.predict(posts) == loaded.predict(posts)


def test_only_safe_files_are_saved(recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {
        ".json",
        ".safetensors",
        ".txt",
        ".model",
        ".jinja",
    }


def test_every_parameter_gets_a_gradient(name):
    recognizer = tiny(name)
    model = recognizer.model.train()
    # At a special start some gradients are zero by construction: a few steps lead away from it.
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    batch = recognizer.encode(POSTS, labelled=True)
    seen = set()
    for _ in range(3):
        optimizer.zero_grad()
        model(batch).loss.backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is not None and bool((parameter.grad != 0).any()):
                assert torch.isfinite(parameter.grad).all(), key
                seen.add(key)
        optimizer.step()
    wanted = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert wanted - seen == set()


def test_bfloat16_runs_and_keeps_the_chain_exact(name):
    recognizer = tiny(name)
    with torch.autocast("cpu", torch.bfloat16):
        loss = recognizer.model(recognizer.encode(POSTS, labelled=True)).loss
    loss.backward()
    assert torch.isfinite(loss)
    recognizer.to(dtype="bfloat16").model.eval()
    for module in recognizer.model.modules():
        if isinstance(module, ChainCRF):
            assert module.pairs.dtype == torch.float32
    assert len(recognizer.predict([*POSTS, LONG_POST])) == len(POSTS) + 1


def test_all_gold_counts_however_long_the_post(recognizer):
    written = sum(tag.startswith("B-") for tag in LONG_POST.tags)
    scores = score_posts([LONG_POST], recognizer.predict([LONG_POST]))
    assert len(LONG_POST.words) > recognizer.encoder.settings.max_length
    assert scores.overall.gold == written


def test_posts_without_words_have_no_entities(recognizer):
    empty = [Post.from_text(""), Post.from_text("\u200b\u200d"), Post.from_text(" \n\x00 ")]
    assert recognizer.predict(empty) == [[], [], []]
    batch = recognizer.encode([POSTS[0], Post.from_words([], tags=())], labelled=True)
    assert torch.isfinite(recognizer.model(batch).loss)


def test_entities_stand_in_order_do_not_overlap_and_are_what_the_text_says(recognizer):
    predicted = recognizer.predict([*POSTS, LONG_POST])
    for post, entities in zip([*POSTS, LONG_POST], predicted, strict=True):
        borders = [entity.start for entity in entities]
        assert borders == sorted(borders)
        assert all(a.end <= b.start for a, b in itertools.pairwise(entities))
        assert all(post.text[e.start : e.end] == e.text for e in entities)


def test_the_same_seed_gives_the_same_bits(name):
    states = []
    for _ in range(2):
        recognizer = tiny(name)
        torch.manual_seed(5)
        model = recognizer.model.train()
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            model(recognizer.encode(POSTS, labelled=True)).loss.backward()
            optimizer.step()
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in sorted(registered())),
        ("cat-mner", {"text_only": True}),
        ("mmavk", {"fusion": "text-only"}),
        ("mmavk", {"fusion": "concatenation"}),
        ("cdner", {"caption_fusion": False}),
        ("cdner", {"reasoning_chain": False}),
        ("cdner", {"caption_fusion": False, "reasoning_chain": False}),
    ],
)
def test_what_options_say_of_reading_pictures_is_what_the_model_wants_in_a_batch(name, options):
    inputs = tiny(name, **options).model.inputs
    wants = inputs.picture is not None or bool(inputs.knowledge)
    assert registered()[name].model.reads_pictures_with(options) == wants
