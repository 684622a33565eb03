"""Time whole systems beside the bare text encoder over as many tokens, in one process.

    export OMP_WAIT_POLICY=passive
    python benchmarks/systems.py dghc cat-mner --threads 2

Everything is of BERT-base and CLIP ViT-B/32 size, with random weights; nothing is downloaded. Pictures are
drawn, their vectors are kept where a system can use kept ones, and the tower's own time is reported apart.
A training step is forward, loss, backward and AdamW; a prediction is forward and decoding. The bare encoder
does the same over the same sub-words, and over as many further tokens as a system puts through its layers;
without a decoder, with the mean square of its states for a loss. Texts beside the post are passes of their
own. The tower of MGIPS-CL runs beside the text and is trained like it, so that AdamW has twice the weights to
update; in mgips-cl-frozen its weights stay as they are.

Repeats of all are interleaved, so that whatever else runs on the machine slows them alike; the median counts.
On a machine with much other work --processor-time counts what this process itself computed. Freed memory is
kept in the process, as where models are trained (docs/tour.md): gradients that come and go every step would
otherwise be what is timed where touching a new page costs much.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BertConfig, CLIPVisionConfig

from mner.encoding import EncodingSettings
from mner.models import model_named
from mner.nn import backbones
from mner.posts import Knowledge, Post, Region
from mner.recognizer import Recognizer, make_encoder
from mner.training.memory import keep_freed_memory


@dataclass(frozen=True)
class Case:
    """What is timed.

    Args:
        model: Registered name.
        options: Fields of the configuration.
        tokens: Tokens of the picture that go through the layers beside the text's.
        passes: Passes of the encoder over the post's text.
        frozen: Whether the tower stays as it is although its vectors cannot be kept; where they can, it does.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    tokens: int = 0
    passes: int = 1
    frozen: bool = False


CASES = {
    "bert-crf": Case("bert-crf"),
    # The prefix is keys and values alone: no token of it goes through a layer.
    "dghc": Case("dghc", {"text": "pass"}, passes=2),
    "dghc-embeddings": Case("dghc", {"text": "embeddings"}),
    "cat-mner": Case("cat-mner", tokens=16),
    # Three crops of 128 pixels: 48 patches and one class token.
    "mgips-cl": Case("mgips-cl", tokens=49),
    "mgips-cl-frozen": Case("mgips-cl", tokens=49, frozen=True),
    "mmavk": Case("mmavk"),
    "cdner": Case("cdner"),
}

Block = tuple[torch.Tensor, torch.Tensor]


def drawn_posts(count: int, seed: int = 0) -> list[Post]:
    """Posts as long as tweets are, with pictures of noise, three regions each, and texts beside them."""
    random = np.random.default_rng(seed)
    words = [
        "the",
        "house",
        "in",
        "paris",
        "was",
        "sold",
        "to",
        "a",
        "john",
        "from",
        "google",
        "yesterday",
        "@",
        "!",
    ]
    posts = []
    for number in range(count):
        length = int(random.integers(12, 34))
        file = io.BytesIO()
        noise = random.integers(0, 256, (150, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        regions = tuple(Region(0.1 * i, 0.1, 0.1 * i + 0.5, 0.9, score=1 - 0.1 * i) for i in range(3))
        text = " ".join(words[i] for i in random.integers(0, len(words), 40))
        tags = ["O"] * length
        tags[length // 2] = "B-PER"
        posts.append(
            Post.from_words(
                [words[i] for i in random.integers(0, len(words), length)],
                id=str(number),
                tags=tags,
                image=file.getvalue(),
                knowledge=(
                    Knowledge("regions", regions=regions),
                    Knowledge("auxiliary", text=text),
                    Knowledge("caption", text=text[:80]),
                    Knowledge("reasoning", text=text),
                    Knowledge("relevance", score=0.9),
                ),
            )
        )
    return posts


def built(case: Case) -> Recognizer:
    """A recogniser of BERT-base and CLIP ViT-B/32 size; its tower is frozen where vectors can be kept."""
    model_class = model_named(case.model).model
    fields: dict[str, Any] = {
        "labels": ["LOC", "MISC", "ORG", "PER"],
        "text_config": BertConfig(),
        **case.options,
    }
    if model_class.reads_pictures and hasattr(model_class.config_class, "vision_config"):
        fields["vision_config"] = CLIPVisionConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            patch_size=32,
        )
    model = model_class(model_class.config_class(**fields))
    encoder = make_encoder(model, EncodingSettings(max_length=512), tokenizer_from="default", vocabulary=None)
    if case.frozen or (encoder.pictures is not None and encoder.pictures.inputs.features):
        for parameter in model.vision_encoder.parameters():
            parameter.requires_grad_(False)
    return Recognizer(model, encoder)


def steps_of(
    model: torch.nn.Module, loss_of: Callable[[], torch.Tensor], bfloat16: bool
) -> Callable[[], None]:
    """A training step of a model."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=1e-6, fused=True)

    def step() -> None:
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def medians(
    tasks: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Milliseconds of each task, the median over interleaved repeats."""
    for task in tasks.values():
        task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            began = clock()
            task()
            times[name].append(clock() - began)
    return {name: statistics.median(measured) * 1e3 for name, measured in times.items()}


def passes_of(case: Case, batch: Any, appended: Sequence[str]) -> list[Block]:
    """The rows of sub-words that a system's text encoder reads, as many as it reads, in passes.

    Texts that are appended to the post stand in its rows already; each other one is a pass of its own.
    """
    ids, mask = batch.input_ids, batch.attention_mask
    further = torch.full((len(ids), case.tokens), 1012)
    blocks = [
        (torch.cat((ids, further), 1), torch.cat((mask, torch.ones_like(further, dtype=torch.bool)), 1))
    ]
    blocks *= case.passes
    for kind, block in batch.knowledge.items():
        if kind not in appended:
            blocks.append((block.input_ids, block.attention_mask))
    return blocks


def measured(
    name: str, posts: list[Post], repeats: int, bfloat16: bool, clock: Callable[[], float]
) -> dict[str, float]:
    """Milliseconds of everything about one system."""
    case = CASES[name]
    torch.manual_seed(0)
    recognizer = built(case)
    bare = backbones.build_encoder(BertConfig())
    batch = recognizer.encode(posts, labelled=True)
    blocks = passes_of(case, batch, recognizer.encoder.inputs.appended)

    def bare_loss() -> torch.Tensor:
        states = [bare(input_ids=ids, attention_mask=mask).last_hidden_state for ids, mask in blocks]
        return torch.stack([each.float().square().mean() for each in states]).sum()

    def bare_prediction() -> None:
        bare.eval()
        with torch.inference_mode():
            for ids, mask in blocks:
                bare(input_ids=ids, attention_mask=mask)

    def prediction() -> None:
        recognizer.model.eval()
        with torch.inference_mode():
            recognizer.decode(recognizer.model(plain))

    training: dict[str, Callable[[], object]] = {
        "training": steps_of(recognizer.model, lambda: recognizer.model(batch).loss, bfloat16),
        "training, bare": steps_of(bare, bare_loss, bfloat16),
    }
    found = medians(training, repeats, clock)
    training.clear()
    if bfloat16:
        # Training computes under autocast; prediction has its weights in bfloat16.
        recognizer.to(dtype="bfloat16")
        bare.to(torch.bfloat16)
    with torch.inference_mode():
        plain = recognizer.encode(posts)
    predicting: dict[str, Callable[[], object]] = {
        "prediction": prediction,
        "prediction, bare": bare_prediction,
        "encoding": lambda: recognizer.encode(posts),
    }
    found |= medians(predicting, repeats, clock)
    found["tokens"] = float(sum(int(mask.sum()) for _, mask in blocks))
    tower = recognizer.encoder.pictures.tower if recognizer.encoder.pictures is not None else None
    if tower is not None:
        size = recognizer.encoder.pictures.inputs.size
        parts = int(batch.visual.mask.sum())
        pixels = torch.randn(parts, 3, size, size)
        found["tower"] = medians({"tower": lambda: tower(pixels)}, 1, clock)["tower"]
        found["parts"] = parts
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("systems", nargs="+", choices=sorted(CASES))
    parser.add_argument("--batch", type=int, default=16, help="posts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bfloat16", action="store_true", help="train under autocast, predict so")
    parser.add_argument("--processor-time", action="store_true", help="instead of the wall clock's")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    posts = drawn_posts(arguments.batch)
    clock = time.process_time if arguments.processor_time else time.perf_counter
    precision = "bfloat16" if arguments.bfloat16 else "float32"
    print(
        f"{arguments.batch} posts, {arguments.threads} threads, {precision}; ms, and times the bare encoder"
    )
    for name in arguments.systems:
        found = measured(name, posts, arguments.repeats, arguments.bfloat16, clock)
        line = f"{name:16} {found['tokens']:5.0f} tokens"
        for task in ("training", "prediction"):
            mine, other = found[task], found[f"{task}, bare"]
            line += f"   {task} {mine:7.1f} / {other:7.1f} = {mine / other:4.2f}"
        line += f"   encoding {found['encoding']:5.1f}"
        if "tower" in found:
            line += f"   tower once {found['tower']:7.1f} for {found['parts']:.0f} parts"
        print(line, flush=True)


if __name__ == "__main__":
    main()
