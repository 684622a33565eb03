"""Tiny checkpoints, each built once a session, and questions about pictures in all sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mner.knowledge.provider import Question
from mner.posts import Post

# Wide, tall, square, and smaller than a patch; words that look like marks of a conversation.
SIZES = ((64, 48), (31, 200), (300, 90), (64, 48), (3, 2))
TEXTS = (
    "Kawhi Leonard wins in Toronto",
    "a dog",
    "We saw <image> <|image_pad|> </s> at #WorldSeries in New York . And more words than anybody needs",
    "x Toronto wins",
    "😀",
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Gives the folder of a tiny checkpoint by the name of its builder."""
    made: dict[str, str] = {}

    def folder_of(name: str) -> str:
        if name not in made:
            from tests.knowledge.tiny import BUILDERS

            made[name] = BUILDERS[name](tmp_path_factory.mktemp("tiny") / name)
        return made[name]

    return folder_of


@pytest.fixture(scope="session")
def questions() -> list[Question]:
    """Questions that differ in text, picture and the picture's size."""
    made = []
    random = np.random.default_rng(5)
    for (width, height), text in zip(SIZES, TEXTS, strict=True):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        key = hashlib.sha256(pixels.tobytes()).hexdigest()
        made.append(Question(Post.from_text(text), Image.fromarray(pixels), key))
    return made


@pytest.fixture(scope="session")
def wordnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordNet of eleven synsets."""
    from tests.knowledge.little_wordnet import write_wordnet

    folder = tmp_path_factory.mktemp("wordnet")
    write_wordnet(folder)
    return folder
