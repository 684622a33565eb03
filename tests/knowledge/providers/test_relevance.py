from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from mner.errors import UsageError
from mner.images import open_picture
from mner.knowledge.keys import Source
from mner.knowledge.provider import Question
from mner.knowledge.providers.relevance import NO_TEXT, ClipRelevanceProvider, TextRelevanceProvider
from mner.knowledge.sentences import SentenceEmbedder
from mner.posts import Knowledge, Post


@pytest.fixture(scope="module", params=["clip", "siglip"])
def provider(request: pytest.FixtureRequest, checkpoint: Callable[[str], str]) -> ClipRelevanceProvider:
    return ClipRelevanceProvider(checkpoint(request.param), device="cpu")


def test_the_score_is_the_cosine_of_the_two_towers(
    provider: ClipRelevanceProvider, questions: list[Question]
) -> None:
    answers = provider.answer(questions)
    folder = provider.checkpoint.place
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    images = transformers.AutoImageProcessor.from_pretrained(folder)
    length = model.config.text_config.max_position_embeddings
    padding = {"padding": "max_length"} if "siglip" in model.config.model_type else {}
    for question, answer in zip(questions, answers, strict=True):
        ids = tokenizer(
            question.post.text, truncation=True, max_length=length, return_tensors="pt", **padding
        )["input_ids"]
        pixels = images(question.picture, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            # The model's own forward: its logits are scaled cosines (and, for SigLIP, shifted ones).
            logits = model(input_ids=ids, pixel_values=pixels).logits_per_image[0, 0]
            cosine = (logits - getattr(model, "logit_bias", 0.0)) / model.logit_scale.exp()
        assert answer.knowledge.score == pytest.approx(float(cosine), abs=1e-5)
        assert -1 <= answer.knowledge.score <= 1
        assert answer.request["read"] == min(answer.request["tokens"], length)


def test_a_batch_scores_as_each_question_alone(
    provider: ClipRelevanceProvider, questions: list[Question]
) -> None:
    together = [answer.knowledge.score for answer in provider.answer(questions)]
    alone = [provider.answer([question])[0].knowledge.score for question in questions]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.std(together) > 0.01


def test_a_post_without_text_has_no_relevance(
    provider: ClipRelevanceProvider, questions: list[Question]
) -> None:
    empty = replace(questions[0], post=Post.from_text(" \n"))
    assert [answer.problem for answer in provider.answer([empty, questions[1]])] == [NO_TEXT, None]
    (answer,) = TextRelevanceProvider(device="cpu").answer([described("", caption="a dog")])
    assert answer.problem == NO_TEXT


def described(text: str, **known: str) -> Question:
    knowledge = tuple(Knowledge(kind, text=said) for kind, said in known.items())
    return Question(Post.from_text(text, knowledge=knowledge))


def test_text_relevance_is_the_largest_cosine() -> None:
    provider = TextRelevanceProvider(device="cpu")
    asked = [
        described(
            "Kawhi Leonard wins in Toronto", caption="a basketball player with a trophy", ocr="RAPTORS"
        ),
        described("Kawhi Leonard wins in Toronto", ocr="SALE 50% off all sofas"),
        described("Kawhi Leonard wins in Toronto"),
        described("Kawhi Leonard wins in Toronto", caption="  "),
    ]
    first, second, third, fourth = provider.answer(asked)
    embed = SentenceEmbedder(device="cpu")
    post, caption, ocr, sale = embed(
        [
            "Kawhi Leonard wins in Toronto",
            "a basketball player with a trophy",
            "RAPTORS",
            "SALE 50% off all sofas",
        ]
    )
    assert first.knowledge.score == pytest.approx(float(max(post @ caption, post @ ocr)), abs=1e-5)
    assert second.knowledge.score == pytest.approx(float(post @ sale), abs=1e-5)
    assert first.knowledge.score > second.knowledge.score
    assert "nothing is known" in third.problem
    assert "nothing is known" in fourth.problem


def test_what_it_reads_belongs_to_the_key() -> None:
    both, captions = TextRelevanceProvider(), TextRelevanceProvider(kinds="caption")
    assert Source.of(both).key != Source.of(captions).key
    post = described("x", caption="a").post
    other = described("x", caption="b").post
    assert Source.of(both).keys_of(post) != Source.of(both).keys_of(other)
    with pytest.raises(UsageError):
        TextRelevanceProvider(kinds=" , ")


@pytest.mark.data
def test_real_captions_are_nearer_to_their_own_posts(real_data: Path) -> None:
    lines = (real_data / "knowledge/captions_blip2_twitter2017.txt").read_text(encoding="utf-8").splitlines()
    captions = dict(line.split(" :", 1) for line in lines if " :" in line)
    posts = []
    for block in (real_data / "twitter2017/test.txt").read_text(encoding="utf-8").split("\n\n")[:60]:
        first, *rows = block.strip("\n").split("\n")
        words = " ".join(row.split("\t")[0] for row in rows)
        posts.append((words, captions[first.removeprefix("IMGID:") + ".jpg"]))
    provider = TextRelevanceProvider(device="cpu")
    own = [a.knowledge.score for a in provider.answer([described(t, caption=c) for t, c in posts])]
    others = [
        a.knowledge.score
        for a in provider.answer(
            [described(t, caption=posts[(i + 7) % len(posts)][1]) for i, (t, _) in enumerate(posts)]
        )
    ]
    assert np.mean(own) > np.mean(others) + 0.03


@pytest.mark.data
def test_real_pictures_of_all_sizes_pass(real_data: Path, checkpoint: Callable[[str], str]) -> None:
    paths = sorted((real_data / "twitter_mini/images").glob("*.jpg"))[:12]
    pictures = [open_picture(path) for path in paths]
    questions = [
        Question(Post.from_text("a post"), picture.image, picture.key)
        for picture in pictures
        if picture.image
    ]
    assert len(questions) == len(paths)
    answers = ClipRelevanceProvider(checkpoint("clip"), device="cpu").answer(questions)
    assert all(answer.problem is None for answer in answers)
