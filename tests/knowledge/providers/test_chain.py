from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from mner.errors import UsageError
from mner.knowledge.keys import Source
from mner.knowledge.prompts import Domain, load_domain
from mner.knowledge.provider import Question
from mner.knowledge.providers.chain import OfflineChainProvider
from mner.knowledge.sentences import SentenceEmbedder
from mner.knowledge.wordnet import find_wordnet
from mner.posts import Entity, Knowledge, Post
from mner.recognizer import Recognizer
from tests.contract.tiny import POSTS, tiny


def capitals(posts: Sequence[Post]) -> list[list[Entity]]:
    """A tagger: every capitalised word is a person."""
    return [
        [
            Entity(word, "PER", *at)
            for word, at in zip(post.words, post.offsets, strict=True)
            if word.istitle()
        ]
        for post in posts
    ]


@pytest.fixture(scope="module")
def chain(wordnet_folder: Path) -> OfflineChainProvider:
    return OfflineChainProvider(
        tagger=capitals, tagger_name="capitals-1", wordnet=wordnet_folder, device="cpu"
    )


def test_three_steps(chain: OfflineChainProvider) -> None:
    post = Post.from_text("Lincoln met Anna , and Lincoln left")
    captioned = post.with_fields(knowledge=(Knowledge("caption", text="two people talk"),))
    (answer,) = chain.answer([Question(captioned)])
    candidates, known, typed = answer.knowledge.steps
    assert candidates == "Candidates: Lincoln; Anna"
    assert known.splitlines() == [
        "Lincoln: 16th President of the United States; saved the Union (leader)",
        "Anna: not known",
        "The picture shows: two people talk",
    ]
    labels = dict(line.split(" -> ") for line in typed.splitlines())
    assert set(labels) == {"Lincoln", "Anna"}
    assert set(labels.values()) <= set(load_domain("twitter").types)
    assert answer.knowledge.text == "\n".join(answer.knowledge.steps)


def test_the_last_word_of_a_longer_name_says_what_it_is(chain: OfflineChainProvider) -> None:
    assert chain.known_of("Quahog City") == "city, a large town"
    assert chain.known_of("city") == ""
    assert chain.known_of("") == ""


def test_types_are_those_of_the_largest_sum_of_cosines(chain: OfflineChainProvider) -> None:
    posts = [Post.from_text("Lincoln is the capital of Nebraska"), Post.from_text("Anna sings in a band")]
    embed = SentenceEmbedder(device="cpu")
    types = load_domain("twitter").types
    definitions = embed([f"{label}: {text}" for label, text in types.items()])
    expected = []
    for post, name, described in (
        (
            posts[0],
            "Lincoln",
            "Lincoln (person): 16th President of the United States; saved the Union (leader)",
        ),
        (posts[0], "Nebraska", "Nebraska (person)"),
        (posts[1], "Anna", "Anna (person)"),
    ):
        alone, inside = embed([described, f"{name} in: {post.text}"])
        expected.append(list(types)[int(np.argmax(definitions @ alone + definitions @ inside))])
    found = chain.types(posts, chain.candidates(posts))
    assert found == [expected[:2], expected[2:]]


def test_without_tagger_the_phrases_are_candidates(wordnet_folder: Path) -> None:
    provider = OfflineChainProvider(wordnet=wordnet_folder, device="cpu")
    posts = [Post.from_text("we like Kawhi Leonard and Toronto"), Post.from_text("😀")]
    named, nothing = provider.answer([Question(post) for post in posts])
    assert named.knowledge.steps[0] == "Candidates: Kawhi Leonard; Toronto"
    assert nothing.knowledge.steps == ("Candidates: none", "none", "none")


def test_a_batch_says_what_each_question_alone_does(chain: OfflineChainProvider) -> None:
    questions = [
        Question(Post.from_text(text))
        for text in ("Anna left", "x", "Bob and Carl met Anna in Lincoln . " * 4)
    ]
    together = [answer.raw for answer in chain.answer(questions)]
    assert together == [chain.answer([question])[0].raw for question in questions]


def test_the_key_holds_tagger_domain_and_wordnet(wordnet_folder: Path, tmp_path: Path) -> None:
    from tests.knowledge.little_wordnet import write_wordnet

    write_wordnet(tmp_path)
    with (tmp_path / "data.noun").open("a", encoding="utf-8") as file:
        file.write("  1 another release\n")
    own = Domain("twitter", 1, "posts", (), {"X": "a thing"})
    variants = [
        OfflineChainProvider(wordnet=wordnet_folder),
        OfflineChainProvider(wordnet=tmp_path),
        OfflineChainProvider(wordnet=wordnet_folder, domain="music"),
        OfflineChainProvider(wordnet=wordnet_folder, domain=own),
        OfflineChainProvider(wordnet=wordnet_folder, tagger=capitals, tagger_name="capitals-1"),
        OfflineChainProvider(wordnet=wordnet_folder, tagger=capitals, tagger_name="capitals-2"),
    ]
    assert len({Source.of(provider).key for provider in variants}) == len(variants)


def test_a_folder_with_a_recogniser_gives_the_candidates(wordnet_folder: Path, tmp_path: Path) -> None:
    # Random weights find names where nobody would; what matters is that the chain has just these.
    recognizer = tiny("bert-crf")
    recognizer.save_pretrained(tmp_path / "run")

    def load(folder: Path) -> Callable[[Sequence[Post]], list[list[Entity]]]:
        return Recognizer.from_pretrained(folder, device="cpu").predict

    chain = OfflineChainProvider(tmp_path / "run", load_tagger=load, wordnet=wordnet_folder, device="cpu")
    posts = [*POSTS, Post.from_text("Lincoln met Anna in Nebraska")]
    predicted = recognizer.predict(posts)
    assert sum(map(len, predicted)) > 5
    for row, found in zip(chain.candidates(posts), predicted, strict=True):
        types = {entity.text: entity.label for entity in found}
        assert row == [(name, types[name]) for name in dict.fromkeys(entity.text for entity in found)]
    answers = chain.answer([Question(post) for post in posts])
    for answer, found in zip(answers, predicted, strict=True):
        names = "; ".join(dict.fromkeys(entity.text for entity in found))
        assert answer.knowledge.steps[0] == f"Candidates: {names or 'none'}"


def test_another_recogniser_in_the_folder_is_another_source(wordnet_folder: Path, tmp_path: Path) -> None:
    keys = set()
    recognizer = tiny("bert-crf")
    for _ in range(2):
        with torch.no_grad():
            recognizer.model.decoder.linear.bias.add_(1.0)
        recognizer.save_pretrained(tmp_path)
        chain = OfflineChainProvider(tmp_path, load_tagger=lambda _: capitals, wordnet=wordnet_folder)
        keys.add(Source.of(chain).key)
    assert len(keys) == 2


def test_a_tagger_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tagger_name"):
        OfflineChainProvider(tagger=capitals)
    with pytest.raises(UsageError, match="not from both"):
        OfflineChainProvider(tmp_path, tagger=capitals, tagger_name="x")
    with pytest.raises(UsageError, match="load_tagger"):
        OfflineChainProvider(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        OfflineChainProvider(tmp_path / "nowhere")


def test_real_wordnet_knows_real_names() -> None:
    if find_wordnet() is None:
        pytest.skip("install Debian's wordnet-base to run this")
    provider = OfflineChainProvider(device="cpu", domain="conll2003")
    (answer,) = provider.answer([Question(Post.from_text("Abraham Lincoln never saw Toronto"))])
    assert "16th President of the United States" in answer.knowledge.steps[1]
    assert answer.knowledge.steps[2].splitlines() == ["Abraham Lincoln -> PER", "Toronto -> LOC"]


@pytest.mark.data
def test_types_are_guessed_better_than_by_the_most_frequent(real_data: Path) -> None:
    if find_wordnet() is None:
        pytest.skip("install Debian's wordnet-base to run this")
    posts = []
    for block in (real_data / "crossner/science/dev.txt").read_text(encoding="utf-8").split("\n\n")[:40]:
        rows = [line.split("\t") for line in block.split("\n") if "\t" in line]
        posts.append(Post.from_words([row[0] for row in rows], tags=tuple(row[-1] for row in rows)))
    gold = [[(entity.text, "") for entity in post.gold()] for post in posts]
    found = OfflineChainProvider(device="cpu", domain="science").types(posts, gold)
    pairs = [
        (entity.label, label)
        for post, row in zip(posts, found, strict=True)
        for entity, label in zip(post.gold(), row, strict=True)
    ]
    labels = [label for label, _ in pairs]
    most_frequent = max(map(labels.count, set(labels))) / len(labels)
    assert sum(one == other for one, other in pairs) / len(pairs) > 1.5 * most_frequent
