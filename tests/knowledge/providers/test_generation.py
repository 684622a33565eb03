"""Texts from models: BLIP-2, Qwen2-VL, LLaVA, ViT-GPT2, Llama and GPT-2, tiny and random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from mner.errors import UsageError
from mner.knowledge.keys import Source
from mner.knowledge.prompts import load_prompt
from mner.knowledge.provider import Provider, Question
from mner.knowledge.providers.auxiliary import AuxiliaryProvider
from mner.knowledge.providers.caption import CaptionProvider
from mner.knowledge.providers.generation import Generation
from mner.knowledge.providers.reasoning import ReasoningProvider
from mner.knowledge.registry import provider_named
from mner.posts import Knowledge

PICTURE_MODELS = ("blip2", "llava", "qwen2_vl", "vit_gpt2")


@pytest.fixture(scope="module")
def made(checkpoint: Callable[[str], str]) -> Callable[..., Any]:
    """Providers by name and tiny model, each loaded once."""
    known: dict[tuple[Any, ...], Any] = {}

    def make(name: str, model: str, **options: Any) -> Any:
        options = {"device": "cpu", "max_new_tokens": 8, **options}
        key = (name, model, *sorted(options.items()))
        if key not in known:
            known[key] = provider_named(name, model=checkpoint(model), **options)
        return known[key]

    return make


def greedy(model: Any, inputs: dict[str, Any], length: int, stop: set[int]) -> list[int]:
    """The likeliest token again and again, the whole sequence read anew each time: no cache, no generate."""
    inputs = dict(inputs)
    written: list[int] = []
    for _ in range(length):
        with torch.no_grad():
            token = int(model(**inputs).logits[0, -1].argmax())
        written.append(token)
        if token in stop:
            break
        for name, following in (("input_ids", token), ("attention_mask", 1), ("mm_token_type_ids", 0)):
            if name in inputs:
                more = torch.tensor([[following]], dtype=inputs[name].dtype)
                inputs[name] = torch.cat([inputs[name], more], dim=1)
    return written


@pytest.mark.parametrize("model", PICTURE_MODELS)
def test_a_batch_says_what_each_question_alone_does(
    made: Callable[..., Any], questions: list[Question], model: str
) -> None:
    provider = made("caption", model)
    together = provider.answer(questions)
    alone = [provider.answer([question])[0] for question in questions]
    assert [answer.problem for answer in together] == [answer.problem for answer in alone]
    assert [answer.raw for answer in together] == [answer.raw for answer in alone]
    assert [answer.input_tokens for answer in together] == [answer.input_tokens for answer in alone]
    assert len({answer.raw for answer in together}) > 2  # they do read their questions
    assert isinstance(provider, Provider)


@pytest.mark.parametrize("model", ["blip2", "llava", "qwen2_vl"])
def test_generation_takes_the_likeliest_token_each_time(
    made: Callable[..., Any], questions: list[Question], model: str
) -> None:
    provider = made("auxiliary", model)
    question = questions[0]
    (answer,) = provider.answer([question])
    wrapped = provider.model
    prompt = answer.request["prompt"]
    if model == "qwen2_vl":
        pixels = wrapped.image_processor([question.picture], return_tensors="pt")
        grid = pixels["image_grid_thw"][0].tolist()
        marks = "<|image_pad|>" * (grid[0] * grid[1] * grid[2] // 4)
        full = prompt.replace("<|image_pad|>", marks)
        inputs = dict(wrapped.tokenizer(full, return_tensors="pt", add_special_tokens=False))
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == wrapped.config.image_token_id).int()
        inputs.update(pixels)
    else:
        inputs = dict(wrapped.processor(images=question.picture, text=prompt, return_tensors="pt"))
    inputs.pop("token_type_ids", None)
    stop = {wrapped.config.get_text_config().eos_token_id}
    expected = greedy(wrapped.model, inputs, 8, stop)
    assert answer.raw == wrapped.tokenizer.decode(expected, skip_special_tokens=True).strip()
    assert answer.input_tokens == inputs["input_ids"].shape[1]


def test_a_causal_model_takes_the_likeliest_token_each_time(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    provider = made("reasoning", "causal")
    (answer,) = provider.answer(questions[:1])
    tokenizer = provider.model.tokenizer
    for prompt, step in zip(answer.request["prompts"], answer.knowledge.steps, strict=True):
        inputs = dict(tokenizer(prompt, return_tensors="pt", add_special_tokens=False))
        inputs.pop("token_type_ids", None)
        expected = greedy(provider.model.model, inputs, 8, {2})
        assert step == tokenizer.decode(expected, skip_special_tokens=True).strip()


def test_a_conversation_s_first_token_is_not_written_twice(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    llama, llava = made("reasoning", "causal"), made("auxiliary", "llava")
    (chain,) = llama.answer(questions[:1])
    # The form of conversation of this Llama writes <s>, that of this LLaVA leaves it to the tokenizer.
    assert chain.request["prompts"][0].startswith("<s>")
    per_step = [
        len(llama.model.tokenizer(p, add_special_tokens=False)["input_ids"]) for p in chain.request["prompts"]
    ]
    assert chain.input_tokens == sum(per_step)
    (answer,) = llava.answer(questions[:1])
    assert not answer.request["prompt"].startswith("<s>")
    plain = len(llava.model.tokenizer(answer.request["prompt"], add_special_tokens=False)["input_ids"])
    assert answer.input_tokens == plain - 1 + 4 + 1  # four patches for the placeholder, and <s>


def test_each_step_of_a_chain_sees_the_ones_before_and_the_caption(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    provider = made("reasoning", "causal")
    post = questions[0].post
    shown = post.with_fields(knowledge=(Knowledge("caption", text="a man with a cup"),))
    with_caption, without = provider.answer([Question(shown), Question(post)])
    steps, prompts = with_caption.knowledge.steps, with_caption.request["prompts"]
    assert len(steps) == len(prompts) == 3
    for number, prompt in enumerate(prompts):
        assert post.text in prompt
        assert "a man with a cup" in prompt
        for earlier in range(number):
            assert steps[earlier] in prompt
    assert "PER" in prompts[2]
    assert all("a man with a cup" not in prompt for prompt in without.request["prompts"])
    assert with_caption.knowledge.text == "\n".join(steps)
    assert with_caption.knowledge.origin == "reasoning: causal"


def test_the_caption_sees_the_post_and_auxiliary_knowledge_does_not(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    (caption,) = made("caption", "llava", domain="politics").answer(questions[:1])
    assert questions[0].post.text in caption.request["prompt"]
    assert "politicians" in caption.request["prompt"]
    (auxiliary,) = made("auxiliary", "qwen2_vl").answer(questions[:1])
    assert questions[0].post.text not in auxiliary.request["prompt"]
    other = replace(questions[0], post=questions[1].post)
    assert made("auxiliary", "qwen2_vl").answer([other])[0].raw == auxiliary.raw


def test_a_model_that_goes_on_with_texts_is_asked_in_another_form(made: Callable[..., Any]) -> None:
    assert made("caption", "blip2").prompt.name == "caption-completion"
    assert made("caption", "llava").prompt.name == "caption"
    assert made("caption", "blip2", prompt="caption").prompt == load_prompt("caption", "twitter")


def test_a_picture_that_cannot_be_processed_harms_no_other(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    provider = made("auxiliary", "qwen2_vl")
    line = replace(questions[0], picture=Image.new("RGB", (6000, 2)))  # Qwen2-VL refuses a ratio above 200
    none = replace(questions[0], picture=None)
    answers = provider.answer([questions[0], line, questions[1], none, questions[2]])
    assert [answer.problem is None for answer in answers] == [True, False, True, False, True]
    assert "ratio" in answers[1].problem
    assert answers[3].problem == "there is no picture"
    assert answers[1].knowledge is None
    assert answers[4].raw == provider.answer([questions[2]])[0].raw


def test_a_prompt_that_does_not_fit_is_a_recorded_problem(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    short = Question(questions[0].post)
    long = Question(questions[0].post.from_text("word " * 2000))
    provider = made("reasoning", "causal")
    answers = provider.answer([short, long])
    assert answers[0].problem is None
    assert "do not fit into the model's 4096 positions" in answers[1].problem


def test_a_model_without_form_of_conversation_or_padding_token_batches_too(
    checkpoint: Callable[[str], str], questions: list[Question]
) -> None:
    provider = ReasoningProvider(checkpoint("gpt2"), device="cpu", max_new_tokens=6)
    plain = [Question(question.post) for question in questions]
    together = provider.answer(plain)
    assert all(answer.problem is None for answer in together)
    assert [a.raw for a in together] == [provider.answer([question])[0].raw for question in plain]


def test_sampling_depends_on_the_question_and_the_seed_alone(
    made: Callable[..., Any], questions: list[Question]
) -> None:
    provider = made("caption", "llava", temperature=1.5, seed=1)
    before = torch.random.get_rng_state()
    together = [answer.raw for answer in provider.answer(questions[:3])]
    assert torch.equal(before, torch.random.get_rng_state())
    assert together[::-1] == [provider.answer([question])[0].raw for question in questions[:3][::-1]]
    other = made("caption", "llava", temperature=1.5, seed=2).answer(questions[:3])
    assert together != [answer.raw for answer in other]
    assert together != [answer.raw for answer in made("caption", "llava").answer(questions[:3])]


def test_everything_that_shapes_an_answer_is_in_the_key(made: Callable[..., Any]) -> None:
    def key(name: str, model: str, **options: Any) -> str:
        return Source.of(made(name, model, **options)).key

    variants = [
        key("caption", "llava"),
        key("caption", "blip2"),
        key("auxiliary", "llava"),
        key("caption", "llava", domain="music"),
        key("caption", "llava", prompt="caption-completion"),
        key("caption", "llava", max_new_tokens=9),
        key("caption", "llava", temperature=0.5),
        key("caption", "llava", temperature=0.5, seed=4),
        key("caption", "llava", dtype="bfloat16"),
    ]
    assert len(set(variants)) == len(variants)
    assert key("caption", "llava", batch_size=3) == variants[0]
    assert key("caption", "llava", seed=9) == variants[0]  # greedy: no chance, no seed


def test_half_precision_runs(made: Callable[..., Any], questions: list[Question]) -> None:
    provider = made("caption", "qwen2_vl", dtype="bfloat16")
    answers = provider.answer(questions[:2])
    assert all(answer.problem is None for answer in answers)
    assert next(provider.model.model.parameters()).dtype == torch.bfloat16


def test_what_cannot_generate_is_refused() -> None:
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1.0}, {"repetition_penalty": 0.0}):
        with pytest.raises(UsageError):
            Generation(**wrong)


def test_the_real_models_are_the_defaults() -> None:
    assert CaptionProvider().model.checkpoint.model == "Salesforce/blip2-opt-2.7b"
    assert AuxiliaryProvider().model.checkpoint.model == "Qwen/Qwen2-VL-7B-Instruct"
