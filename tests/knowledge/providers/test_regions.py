from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mner.errors import UsageError
from mner.knowledge.keys import Source
from mner.knowledge.provider import Question
from mner.knowledge.providers.regions import (
    TYPE_WORDS,
    DetectionProvider,
    GridProvider,
    GroundingProvider,
    distinct,
    intersection_over_union,
)
from mner.knowledge.registry import provider_named
from mner.posts import Post, Region

MODELS = (("grounding", "grounding_dino"), ("grounding", "owlvit"), ("detection", "detr"))


@pytest.fixture(scope="module")
def made(checkpoint: Callable[[str], str]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], Any] = {}

    def make(name: str, model: str, **options: Any) -> Any:
        options = {"device": "cpu", "threshold": 0.0, "overlap": 1.0, "limit": 0, **options}
        key = (name, model, *sorted(options.items()))
        if key not in known:
            known[key] = provider_named(name, model=checkpoint(model), **options)
        return known[key]

    return make


@given(rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_a_grid_s_cells_tile_the_picture(rows: int, columns: int) -> None:
    question = Question(Post.from_text(""), Image.new("RGB", (7, 5)))
    cells = GridProvider(rows, columns).answer([question])[0].knowledge.regions
    assert len(cells) == rows * columns
    # Every point of a fine raster lies in exactly one cell.
    hits = np.zeros((45, 45), int)
    points = (np.arange(45) + 0.37) / 45
    for cell in cells:
        across = (cell.left <= points) & (points < cell.right)
        down = (cell.top <= points) & (points < cell.bottom)
        hits += down[:, None] & across[None, :]
    assert (hits == 1).all()
    assert cells[0][:2] == (0.0, 0.0)
    assert cells[-1][2:4] == (1.0, 1.0)


def test_a_grid_needs_a_picture_and_cells() -> None:
    (answer,) = GridProvider().answer([Question(Post.from_text("x"))])
    assert answer.problem == "there is no picture"
    with pytest.raises(UsageError):
        GridProvider(0, 2)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_a_batch_finds_what_each_question_alone_does(
    made: Callable[..., Any], questions: list[Question], name: str, model: str
) -> None:
    provider = made(name, model)
    # The same sizes and numbers of phrases twice, so that some do run together.
    asked = [*questions, *questions[:3]]
    together = provider.answer(asked)
    for question, answer in zip(asked, together, strict=True):
        (alone,) = provider.answer([question])
        assert alone.problem is None
        assert answer.problem is None
        assert len(answer.knowledge.regions) == len(alone.knowledge.regions) > 0
        for one, other in zip(answer.knowledge.regions, alone.knowledge.regions, strict=True):
            assert one.label == other.label
            np.testing.assert_allclose(one[:4], other[:4], atol=2e-5)
            assert one.score == pytest.approx(other.score, abs=2e-5)
            assert 0 <= one.left < one.right <= 1
            assert 0 <= one.top < one.bottom <= 1


def corners(boxes: torch.Tensor) -> np.ndarray:
    """Centre, width and height as corners, cut to the picture."""
    x, y, width, height = boxes.double().numpy().T
    return np.clip(np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1), 0, 1)


def expected_regions(scores: np.ndarray, boxes: np.ndarray, threshold: float) -> list[tuple[float, ...]]:
    kept = [
        (float(score), *map(float, box))
        for score, box in zip(scores, boxes, strict=True)
        if score > threshold and box[2] > box[0] and box[3] > box[1]
    ]
    return sorted(kept, key=lambda row: -row[0])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_detr_s_boxes_follow_from_its_outputs(
    made: Callable[..., Any], questions: list[Question], index: int
) -> None:
    provider = made("detection", "detr", threshold=0.3)
    (answer,) = provider.answer([questions[index]])
    inputs = provider.image_processor(images=questions[index].picture, return_tensors="pt")
    with torch.no_grad():
        outputs = provider.model(**inputs)
    probabilities = outputs.logits[0].softmax(-1)[:, :-1]  # the last class is 'no object'
    wanted = expected_regions(probabilities.max(-1).values.numpy(), corners(outputs.pred_boxes[0]), 0.3)
    found = [(region.score, *region[:4]) for region in answer.knowledge.regions]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert {region.label for region in answer.knowledge.regions} <= {"person", "dog", "car"}


@pytest.mark.parametrize("model", ["grounding_dino", "owlvit"])
def test_grounded_boxes_follow_from_the_outputs(
    made: Callable[..., Any], questions: list[Question], model: str
) -> None:
    provider = made("grounding", model)
    question = questions[0]
    (answer,) = provider.answer([question])
    assert answer.request["queries"] == ["Kawhi Leonard", "Toronto"]
    queries = list(answer.request["queries"])
    text = "kawhi leonard. toronto." if model == "grounding_dino" else [queries]
    inputs = provider.processor(images=question.picture, text=text, return_tensors="pt")
    with torch.no_grad():
        outputs = provider.model(**inputs)
    scores = outputs.logits[0].sigmoid().max(-1).values.numpy()
    wanted = expected_regions(scores, corners(outputs.pred_boxes[0]), 0.0)
    found = [(region.score, *region[:4]) for region in answer.knowledge.regions]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    if model == "owlvit":
        best = outputs.logits[0].max(-1)
        by_score = sorted(zip(-best.values.sigmoid().numpy(), best.indices.tolist(), strict=True))
        assert answer.knowledge.regions[0].label == queries[by_score[0][1]]


def test_what_is_looked_for(made: Callable[..., Any]) -> None:
    named, bare = (Question(Post.from_text(text)) for text in ("In St. Louis with #TaylorSwift", "😀"))
    phrases = made("grounding", "owlvit")
    assert phrases.queries_for(named) == ("St", "Louis", "Taylor Swift")
    assert phrases.queries_for(bare) == TYPE_WORDS
    types = made("grounding", "owlvit", queries="types", type_words=("band",))
    assert types.queries_for(named) == ("band",)
    assert not types.sees_text
    assert made("grounding", "owlvit", type_words="band, music group").type_words == ("band", "music group")
    both = made("grounding", "owlvit", queries="both", most_queries=1)
    assert both.queries_for(named) == ("St", *TYPE_WORDS)


def test_limit_and_threshold_select_the_best(made: Callable[..., Any], questions: list[Question]) -> None:
    every = made("detection", "detr").answer(questions[:1])[0].knowledge.regions
    best = made("detection", "detr", limit=2).answer(questions[:1])[0].knowledge.regions
    assert best == every[:2]
    assert [region.score for region in every] == sorted((region.score for region in every), reverse=True)
    (nothing,) = made("detection", "detr", threshold=1.0).answer(questions[:1])
    assert nothing.knowledge.regions == ()
    assert nothing.problem is None


def test_a_text_too_long_for_the_model_is_cut(made: Callable[..., Any], questions: list[Question]) -> None:
    names = " and ".join(f"{'Abcdefgh' * 3}{letter}" for letter in "ABCDEFGH")
    long = replace(questions[0], post=Post.from_text(names.replace(" and ", " , ")))
    for model in ("grounding_dino", "owlvit"):
        (answer,) = made("grounding", model).answer([long])
        assert answer.problem is None, answer.problem


def test_settings_are_part_of_the_key(made: Callable[..., Any]) -> None:
    variants = [
        made("detection", "detr"),
        made("detection", "detr", threshold=0.5),
        made("detection", "detr", limit=3),
        made("detection", "detr", overlap=0.5),
        made("grounding", "owlvit"),
        made("grounding", "grounding_dino"),
        made("grounding", "owlvit", queries="types"),
        made("grounding", "owlvit", queries="types", type_words=("band",)),
        made("grounding", "owlvit", most_queries=2),
        made("grounding", "grounding_dino", text_threshold=0.5),
        GridProvider(2, 2),
        GridProvider(4, 4),
        GridProvider(2, 4),
    ]
    assert len({Source.of(provider).key for provider in variants}) == len(variants)


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"threshold": 2.0}, {"overlap": -1.0}, {"limit": -1}):
        with pytest.raises(UsageError):
            DetectionProvider(**wrong)
    with pytest.raises(UsageError, match="phrases, types, both"):
        GroundingProvider(queries="names")
    with pytest.raises(UsageError):
        GroundingProvider(type_words=())


boxes = st.builds(
    lambda x, y, w, h, score: Region(x / 8, y / 8, min(x + w, 8) / 8, min(y + h, 8) / 8, "", score),
    st.integers(0, 7), st.integers(0, 7), st.integers(1, 8), st.integers(1, 8), st.floats(0, 1),
)  # fmt: skip


def cells_of(box: Region) -> set[tuple[int, int]]:
    return {
        (x, y)
        for x in range(round(box.left * 8), round(box.right * 8))
        for y in range(round(box.top * 8), round(box.bottom * 8))
    }


@given(boxes, boxes)
def test_overlap_equals_counting_cells(one: Region, other: Region) -> None:
    both, any_ = cells_of(one) & cells_of(other), cells_of(one) | cells_of(other)
    assert intersection_over_union(one, other) == pytest.approx(len(both) / len(any_))


@given(st.lists(boxes, max_size=8), st.floats(0, 1))
def test_of_overlapping_boxes_the_best_stays(found: list[Region], overlap: float) -> None:
    kept = distinct(found, overlap)
    for index, box in enumerate(kept):
        assert all(intersection_over_union(box, other) <= overlap for other in kept[:index])
    for box in found:
        if box not in kept:
            assert any(
                intersection_over_union(box, other) > overlap and other.score >= box.score for other in kept
            )
