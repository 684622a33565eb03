"""Text from models that generate: with a picture (BLIP-2, Qwen2-VL, LLaVA ...) or from text alone.

Generation is greedy, so that an answer depends on nothing but its question, unless a temperature is asked
for; then every question has a seed of its own and is answered alone, and the same question still gets the
same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from mner.errors import UsageError
from mner.knowledge.providers.local import Checkpoint
from mner.pretrained import quiet_loading

# Their processor wants torchvision (for videos, which are never asked about), so what it does for pictures
# is done here: the placeholder is repeated once for every merged patch.
_DYNAMIC_PATCHES = frozenset({"qwen2_vl", "qwen2_5_vl"})
# Their processors put the picture's placeholders in front of the text themselves.
_PREPENDED_BY_PROCESSOR = frozenset({"blip-2", "instructblip"})


@dataclass(frozen=True, slots=True)
class Generation:
    """How text is generated.

    Args:
        max_new_tokens: The most tokens of a reply.
        temperature: 0 takes the likeliest token each time.
        seed: Where sampling starts, with a temperature.
        repetition_penalty: Above 1 makes repetitions less likely; 1 leaves the model's own setting.

    Raises:
        UsageError: A number is out of its range.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or self.repetition_penalty <= 0:
            raise UsageError(
                "These settings cannot generate text.",
                expected="max_new_tokens at least 1, temperature at least 0, repetition_penalty above 0",
                got=str(asdict(self)),
            )

    @property
    def samples(self) -> bool:
        """Whether chance is involved."""
        return self.temperature > 0

    def settings(self) -> dict[str, Any]:
        """What of this shapes a reply."""
        settings = asdict(self)
        if not self.samples:
            del settings["seed"]
        return settings

    def arguments(self) -> dict[str, Any]:
        """Arguments for ``generate``."""
        arguments: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.samples,
            "num_beams": 1,
        }
        if self.samples:
            arguments["temperature"] = self.temperature
        if self.repetition_penalty != 1.0:
            arguments["repetition_penalty"] = self.repetition_penalty
        return arguments


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote.

    Args:
        text: The reply without the prompt and without special tokens.
        prompt: What the model read, as text, the conversation's marks included.
        input_tokens: Tokens read, a picture's included.
        output_tokens: Tokens written.
    """

    text: str
    prompt: str
    input_tokens: int
    output_tokens: int


class Generator:
    """A model that writes: what is common to those with and without a picture."""

    def __init__(self, checkpoint: Checkpoint, generation: Generation) -> None:
        self.checkpoint = checkpoint
        self.generation = generation

    @cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return self.checkpoint.load_config()

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, which pads on the left: generation goes on from the last token."""
        from transformers import AutoTokenizer

        tokenizer = self.checkpoint.load_part(AutoTokenizer, "its tokenizer")
        return _prepared(tokenizer, self.is_encoder_decoder)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the prompt goes into an encoder, so that a reply does not repeat it."""
        text = self.config.get_text_config() if hasattr(self.config, "get_text_config") else self.config
        return bool(getattr(self.config, "is_encoder_decoder", False) or text.is_encoder_decoder)

    @property
    def follows_instructions(self) -> bool:
        """Whether the model was trained on conversations: its tokenizer brings their form."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def settings(self) -> dict[str, Any]:
        """Which weights, and how they generate."""
        return {**self.checkpoint.settings(), "generation": self.generation.settings()}

    @cached_property
    def model(self) -> Any:
        """The model itself."""
        return self.checkpoint.load_model(self._auto_class())

    def _auto_class(self) -> Any:
        raise NotImplementedError

    def _generate(self, inputs: Any, prompts: Sequence[str], seeds: Sequence[str]) -> list[Reply]:
        """Generate for a batch; with a temperature for a batch of one.

        Args:
            inputs: The model's inputs; ``input_ids`` (b, n) where there are any.
            prompts: What was tokenized.
            seeds: What besides its prompt makes each question another one, for sampling.
        """
        import torch

        inputs = inputs.to(self.model.device)
        for name, tensor in inputs.items():
            if torch.is_floating_point(tensor):
                inputs[name] = tensor.to(self.model.dtype)
        read = inputs.get("input_ids")
        self._check_room(0 if read is None else read.shape[1])
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with quiet_loading(), torch.inference_mode(), torch.random.fork_rng(devices):
            if self.generation.samples:
                torch.manual_seed(_seed(self.generation.seed, (*prompts, *seeds)))
            written = self.model.generate(
                **inputs, **self.generation.arguments(), pad_token_id=self.tokenizer.pad_token_id
            )
        if (
            read is not None
            and written.shape[1] >= read.shape[1]
            and torch.equal(written[:, : read.shape[1]], read)
        ):
            written = written[:, read.shape[1] :]
        special = set(self.tokenizer.all_special_ids)
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        mask = inputs.get("attention_mask")
        return [
            Reply(
                text=text.strip().removeprefix(prompt.strip()).strip(),
                prompt=prompt,
                input_tokens=0 if mask is None else int(mask[row].sum()),
                output_tokens=sum(token not in special for token in written[row].tolist()),
            )
            for row, (text, prompt) in enumerate(zip(texts, prompts, strict=True))
        ]

    def _check_room(self, length: int) -> None:
        text = self.config.get_text_config()
        limit = getattr(text, "max_position_embeddings", None)
        if (
            limit is not None
            and not self.is_encoder_decoder
            and length + self.generation.max_new_tokens > limit
        ):
            raise ValueError(
                f"a prompt of {length} tokens and a reply of {self.generation.max_new_tokens} "
                f"do not fit into the model's {limit} positions"
            )

    def _writes_special_tokens(self, prompts: Sequence[str]) -> bool:
        # Some forms of conversation begin with the token that the tokenizer would add, others do not.
        first = self.tokenizer.bos_token
        return not (first and prompts and prompts[0].startswith(first))

    def _harmless(self, text: str) -> str:
        """A request in which nothing is a special token: a post may contain ``<image>`` or ``</s>``."""
        marks = {*self.tokenizer.all_special_tokens, *map(str, self.tokenizer.added_tokens_decoder.values())}
        for mark in marks:
            if len(mark) > 2 and mark in text:
                text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text

    def _conversation(self, template_owner: Any, system: str, content: Any, plain: str) -> str:
        """A system message and a request in the form of the model's conversations, or as plain text."""
        if not getattr(template_owner, "chat_template", None):
            return f"{system}\n{plain}" if system else plain
        from jinja2 import TemplateError

        user = {"role": "user", "content": content}
        messages = [{"role": "system", "content": _as_parts(system, content)}, user] if system else [user]
        options = {"add_generation_prompt": True, "tokenize": False}
        try:
            return str(template_owner.apply_chat_template(messages, **options))
        except TemplateError:
            # Some models' conversations have no system messages.
            joined = _with_preface(content, system)
            return str(template_owner.apply_chat_template([{"role": "user", "content": joined}], **options))


class LanguageModel(Generator):
    """A causal language model (Qwen2.5, Llama ...)."""

    def _auto_class(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def reply(self, requests: Sequence[str], system: str = "", seeds: Sequence[str] = ()) -> list[Reply]:
        """One reply a request; `system` goes before each.

        Args:
            requests: What is asked.
            system: The system message, or nothing.
            seeds: What besides its request makes each question another one, for sampling.
        """
        if self.generation.samples and len(requests) > 1:
            alone = zip(requests, seeds or [""] * len(requests), strict=True)
            return [self.reply([request], system, [seed])[0] for request, seed in alone]
        asked = map(self._harmless, requests)
        prompts = [self._conversation(self.tokenizer, system, text, text) for text in asked]
        inputs = self.tokenizer(
            prompts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=self._writes_special_tokens(prompts),
        )
        inputs.pop("token_type_ids", None)
        return self._generate(inputs, prompts, seeds)


class VisionLanguageModel(Generator):
    """A model that reads a picture and a text and writes a text."""

    def _auto_class(self) -> Any:
        from transformers import AutoModelForImageTextToText

        return AutoModelForImageTextToText

    @property
    def family(self) -> str:
        """The model's architecture as transformers names it."""
        return str(self.config.model_type)

    @property
    def reads_prompts(self) -> bool:
        """Whether a text shapes the reply; plain image-to-text models (ViT-GPT2) take none."""
        return self.family != "vision-encoder-decoder"

    @property
    def follows_instructions(self) -> bool:
        """Whether the model was trained on conversations."""
        owner = self.tokenizer if self._assembles_inputs else self.processor
        return bool(getattr(owner, "chat_template", None)) or self.family in _DYNAMIC_PATCHES

    @property
    def _assembles_inputs(self) -> bool:
        return self.family in _DYNAMIC_PATCHES or not self.reads_prompts

    @cached_property
    def processor(self) -> Any:
        """What turns pictures and texts into the model's inputs."""
        from transformers import AutoProcessor

        processor = self.checkpoint.load_part(AutoProcessor, "its processor")
        _prepared(processor.tokenizer, self.is_encoder_decoder)
        if self.family in _PREPENDED_BY_PROCESSOR and processor.num_query_tokens is None:
            processor.num_query_tokens = self.config.num_query_tokens
        return processor

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        if not self._assembles_inputs:
            return self.processor.tokenizer
        from transformers import AutoTokenizer

        return _prepared(self.checkpoint.load_part(AutoTokenizer, "its tokenizer"), self.is_encoder_decoder)

    @cached_property
    def image_processor(self) -> Any:
        """What turns pictures into pixels, where no processor does both."""
        from transformers import AutoImageProcessor

        return self.checkpoint.load_part(AutoImageProcessor, "its image processor")

    def reply(
        self,
        pictures: Sequence[Image.Image],
        requests: Sequence[str],
        system: str = "",
        seeds: Sequence[str] = (),
    ) -> list[Reply]:
        """One reply for each picture and its request; `system` goes before each request.

        Args:
            pictures: The pictures, in any sizes.
            requests: What is asked about each.
            system: The system message, or nothing.
            seeds: What besides its request makes each question another one, for sampling.
        """
        if self.generation.samples and len(requests) > 1:
            alone = zip(pictures, requests, seeds or [""] * len(requests), strict=True)
            return [self.reply([picture], [request], system, [seed])[0] for picture, request, seed in alone]
        if not self.reads_prompts:
            inputs = self.image_processor(list(pictures), return_tensors="pt")
            return self._generate(inputs, [""] * len(pictures), seeds)
        asked = [self._harmless(request) for request in requests]
        content = [[{"type": "image"}, {"type": "text", "text": request}] for request in asked]
        if self.family in _DYNAMIC_PATCHES:
            inputs, prompts = self._dynamic_inputs(pictures, asked, content, system)
            return self._generate(inputs, prompts, seeds)
        mark = getattr(self.processor, "image_token", None)
        before = f"{mark}\n" if mark and self.family not in _PREPENDED_BY_PROCESSOR else ""
        prompts = [
            self._conversation(self.processor, system, parts, before + request)
            for parts, request in zip(content, asked, strict=True)
        ]
        inputs = self.processor(
            images=list(pictures),
            text=prompts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=self._writes_special_tokens(prompts),
        )
        inputs.pop("token_type_ids", None)
        return self._generate(inputs, prompts, seeds)

    def _dynamic_inputs(
        self, pictures: Sequence[Image.Image], requests: Sequence[str], content: Sequence[Any], system: str
    ) -> tuple[Any, list[str]]:
        """Inputs of Qwen2-VL: pictures in their own sizes, a placeholder for every merged patch."""
        pixels = self.image_processor(list(pictures), return_tensors="pt")
        merged = self.image_processor.merge_size**2
        mark = self.tokenizer.convert_ids_to_tokens(self.config.image_token_id)
        prompts, full = [], []
        for row, (parts, request) in enumerate(zip(content, requests, strict=True)):
            if getattr(self.tokenizer, "chat_template", None):
                prompt = self._conversation(self.tokenizer, system, parts, request)
            else:
                preface = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
                prompt = (
                    f"{preface}<|im_start|>user\n<|vision_start|>{mark}<|vision_end|>{request}<|im_end|>\n"
                    "<|im_start|>assistant\n"
                )
            prompts.append(prompt)
            # The placeholder stands once: the request was made harmless.
            full.append(prompt.replace(mark, mark * int(pixels["image_grid_thw"][row].prod() // merged), 1))
        inputs = self.tokenizer(full, padding=True, return_tensors="pt", add_special_tokens=False)
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.config.image_token_id).int()
        inputs.update(pixels)
        return inputs, prompts


def _prepared(tokenizer: Any, is_encoder_decoder: bool) -> Any:
    tokenizer.padding_side = "right" if is_encoder_decoder else "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _as_parts(system: str, content: Any) -> Any:
    return system if isinstance(content, str) else [{"type": "text", "text": system}]


def _with_preface(content: Any, system: str) -> Any:
    if isinstance(content, str):
        return f"{system}\n\n{content}"
    return [*content[:-1], {"type": "text", "text": f"{system}\n\n{content[-1]['text']}"}]


def _seed(seed: int, marks: Sequence[str]) -> int:
    text = "\0".join((str(seed), *marks))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
