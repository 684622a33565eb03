"""Temperature scaling: one number that makes a recogniser's confidences agree with how often it is right.

Guo, Pleiss, Sun and Weinberger, 2017, "On Calibration of Modern Neural Networks", section 4.2: all scores
are divided by T, which is chosen on validation posts by the likelihood of what is right. What is judged here
is what a user sees, predicted entities: T minimises the mean of -log p over those that are right and
-log(1 - p) over the others. It changes no tag, only how sure the recogniser says it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from mner.encoding import sorted_batches
from mner.errors import DataError
from mner.evaluation.calibration import Calibration, entity_calibration
from mner.evaluation.scores import identity
from mner.models import Output
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.recognizer import BATCH_CELLS, BATCH_POSTS, Recognizer
from mner.tags import Convention

LOWEST, HIGHEST = 0.25, 8.0
"""Temperatures are looked for between these."""

_STEPS = 14  # of the golden section: T is found to half a percent
_GOLDEN = (math.sqrt(5) - 1) / 2
_CERTAIN = 1e-6  # nobody is surer than this, lest one confident mistake weighs without limit


def fit_temperature(
    recognizer: Recognizer,
    posts: Sequence[Post],
    convention: Convention | str = Convention.CONLL,
    *,
    progress: Reporter = silent,
) -> float:
    """The temperature at which a recogniser's confidences are likeliest, on posts it was not trained on.

    Args:
        recognizer: The recogniser; its own temperature plays no part and stays.
        posts: Annotated validation posts.
        convention: What stray tags mean in gold.
        progress: Told how far it is.

    Raises:
        DataError: The recogniser finds no entity in any of the posts.
    """
    outputs = _outputs(recognizer, posts, progress)
    wanted = [{identity(entity) for entity in post.gold(convention)} for post in posts]
    before = recognizer.temperature

    def loss(logarithm: float) -> float:
        recognizer.temperature = math.exp(logarithm)
        total, count = 0.0, 0
        for indices, output in outputs:
            for index, spans in zip(indices, recognizer.decode(output), strict=True):
                for entity in posts[index].to_entities(spans):
                    assert entity.score is not None
                    right = identity(entity) in wanted[index]
                    total -= math.log(max(entity.score if right else 1.0 - entity.score, _CERTAIN))
                    count += 1
        if not count:
            raise DataError(
                "No entity was recognised, so no confidence can be calibrated.",
                expected="validation posts like those the recogniser was trained for",
            )
        return total / count

    try:
        return math.exp(_least(loss, math.log(LOWEST), math.log(HIGHEST)))
    finally:
        recognizer.temperature = before


def measured(
    recognizer: Recognizer,
    posts: Sequence[Post],
    convention: Convention | str = Convention.CONLL,
    *,
    progress: Reporter = silent,
) -> Calibration:
    """How well a recogniser's confidences agree with how often it is right.

    Args:
        recognizer: The recogniser, with its temperature.
        posts: Annotated posts.
        convention: What stray tags mean in gold.
        progress: Told how far it is.
    """
    predicted = recognizer.predict(posts, progress=progress)
    gold: list[Sequence[Entity]] = [post.gold(convention) for post in posts]
    return entity_calibration(gold, predicted)


@torch.inference_mode()
def _outputs(
    recognizer: Recognizer, posts: Sequence[Post], progress: Reporter
) -> list[tuple[list[int], Output]]:
    outputs = []
    recognizer.model.eval()
    with progress("recognising", len(posts)) as advance:
        for indices in sorted_batches(recognizer.encoder.lengths(posts), BATCH_POSTS, BATCH_CELLS):
            outputs.append((indices, recognizer.model(recognizer.encode([posts[i] for i in indices]))))
            advance(len(indices))
    return outputs


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley between two places is least (golden section search)."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2
