"""Predictions go to a file and come back as they were; what does not fit the data is refused."""

from __future__ import annotations

import pytest

from mner.errors import DataError, UsageError
from mner.evaluation.predictions import read_predictions, write_predictions
from mner.posts import Entity, Post

POSTS = [
    Post.from_words(["Ada", "🎉", "Lund"], tags=("B-PER", "O", "B-LOC"), id="1"),
    Post.from_text("no  names\there"),
]
PREDICTED = [[Entity("Ada", "PER", 0, 3, 0.75), Entity("🎉 Lund", "LOC", 4, 10, 0.125)], []]


def test_there_and_back(tmp_path):
    path = tmp_path / "said.jsonl"
    assert write_predictions(path, POSTS, PREDICTED) == 2
    assert read_predictions(path, POSTS) == PREDICTED
    with pytest.raises(UsageError):
        write_predictions(path, POSTS, PREDICTED)


def test_predictions_of_other_posts_are_refused(tmp_path):
    path = tmp_path / "said.jsonl"
    write_predictions(path, POSTS, PREDICTED)
    with pytest.raises(DataError, match="Line 1") as caught:
        read_predictions(path, POSTS[::-1])
    assert "Ada" in str(caught.value)
    with pytest.raises(DataError, match="more than 1"):
        read_predictions(path, POSTS[:1])
    with pytest.raises(DataError, match="2 posts"):
        read_predictions(path, [*POSTS, POSTS[0]])


def test_a_post_without_predictions_is_refused(tmp_path):
    path = tmp_path / "said.jsonl"
    path.write_text('{"text": "Ada 🎉 Lund"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="has no predictions"):
        read_predictions(path, POSTS[:1])
