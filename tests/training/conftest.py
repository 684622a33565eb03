"""A tiny backbone and a small data folder on disk."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import BertModel

from mner.data import write_folder
from mner.data.dataset import Dataset
from mner.posts import Post
from tests.contract.tiny import tiny_text_config, tiny_tokenizer

PEOPLE = ("ada", "tove", "ivo", "marek", "lio")
PLACES = ("brel", "nordvik", "ellery", "sund")


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """A folder with a tiny BERT of random weights and its tokenizer, as a hub would have it."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(7)
    BertModel(tiny_text_config()).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def small_posts(count: int, seed: int) -> list[Post]:
    """Sentences of names and places, simple enough to be learnt in seconds."""
    random_choice = random.Random(seed)
    posts = []
    for number in range(count):
        person, place = random_choice.choice(PEOPLE), random_choice.choice(PLACES)
        words = [person, "reads", "in", place] if number % 3 else ["no", "names", "here"]
        tags = ("B-PER", "O", "O", "B-LOC") if number % 3 else ("O", "O", "O")
        posts.append(Post.from_words(words, id=str(number), tags=tags))
    return posts


@pytest.fixture(scope="session")
def small_dataset():
    """Posts that a tiny model learns in seconds."""
    return Dataset(
        "small", {"train": small_posts(40, 1), "valid": small_posts(12, 2), "test": small_posts(12, 3)}
    )


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory, small_dataset):
    """The same as a data folder."""
    folder = tmp_path_factory.mktemp("data") / "small"
    write_folder(small_dataset, folder)
    return folder
