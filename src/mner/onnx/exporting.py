"""A recogniser as one ONNX file: the graph with open sizes, tokenizer and settings beside it in the file."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mner.bulk.running import fingerprint
from mner.data.files import refuse_existing
from mner.errors import MissingExtraError, UsageError
from mner.evaluation.scores import score_posts
from mner.onnx.graph import EXPORTABLE, METADATA, Card, as_batch, input_names, input_values
from mner.onnx.narrowing import narrow, quantise
from mner.onnx.recognizing import OnnxRecognizer
from mner.posts import Knowledge, Post
from mner.progress import Reporter, silent
from mner.recognizer import Recognizer


class _Scores(nn.Module):
    """A model as a function of tensors alone, to emissions or scores of spans."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *values: Tensor) -> Tensor:
        output = self.model(as_batch(self.names, values))
        scores = output.emissions if output.emissions is not None else output.span_scores
        return scores.float()


def export_onnx(
    recognizer: Recognizer,
    target: Path,
    *,
    bfloat16: bool = False,
    int8: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a recogniser as an ONNX file that predicts alone with `OnnxRecognizer`.

    The graph ends at the emissions or the scores of spans; the decoder is the one of all models.

    Args:
        recognizer: The recogniser, in float32.
        target: The file.
        bfloat16: Keep the weights in half the room; what computes them is the runtime's matter.
        int8: Compute matrix products in eight bits; `cost_of` says what that costs.
        overwrite: Whether a file that stands there may be replaced.

    Returns:
        The size of the file in bytes.

    Raises:
        UsageError: The model cannot be exported, the file exists, or both kinds of narrowing are asked for.
        MissingExtraError: What writes ONNX is not installed.
    """
    try:
        import onnxscript  # noqa: F401

        import onnx
    except ImportError:
        raise MissingExtraError("Writing ONNX", "onnx") from None
    if bfloat16 and int8:
        raise UsageError("Weights are kept in bfloat16 or in eight bits.", expected="one of the two")
    precision = "bfloat16" if bfloat16 else "int8" if int8 else "float32"
    inputs = recognizer.encoder.inputs
    if recognizer.name not in EXPORTABLE or inputs.picture is not None or inputs.label_words:
        raise UsageError(
            f"{recognizer.name} cannot be written as ONNX"
            + (" with a picture that it sees." if inputs.picture is not None else "."),
            expected="a model that reads text: " + ", ".join(EXPORTABLE),
            hint="Its run folder predicts with torch.",
        )
    if not overwrite:
        refuse_existing(target)
    model = copy.deepcopy(recognizer.model).float().cpu().eval()
    names = input_names(inputs)
    example = recognizer.encoder.encode(_examples(getattr(recognizer.encoder, "room", 8)))
    values = input_values(example, names)
    dynamic = torch.export.Dim.DYNAMIC
    # All sizes are open but that of a word's shape, which is five features.
    sizes = [
        {axis: dynamic for axis in range(min(value.dim(), 3)) if not (name == "word_shapes" and axis == 2)}
        for name, value in zip(names, values, strict=True)
    ]
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            _Scores(model, names).eval(),
            tuple(values),
            dynamo=True,
            dynamic_shapes=(tuple(sizes),),
            input_names=names,
            output_names=["scores"],
            verbose=False,
        )
        assert program is not None
        graph = program.model_proto
        if bfloat16:
            graph = narrow(graph)
        if int8:
            graph = quantise(graph)
    onnx.helper.set_model_props(graph, {METADATA: card_of(recognizer, precision).to_json()})
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(target.name + ".part")
    draft.write_bytes(graph.SerializeToString())
    draft.replace(target)
    return target.stat().st_size


def card_of(recognizer: Recognizer, precision: str = "float32") -> Card:
    """What an ONNX file of a recogniser carries besides its graph.

    Args:
        recognizer: The recogniser.
        precision: What its weights were made into: ``float32``, ``bfloat16`` or ``int8``.
    """
    encoder = recognizer.encoder
    tokenizer: Any = encoder.tokenizer
    decoder: Any = next((m for m in recognizer.model.modules() if hasattr(m, "chain")), None)
    chain = None
    if decoder is not None:
        chain = {part: getattr(decoder.chain(), part).tolist() for part in ("first", "pairs", "last")}
    vocabulary = encoder.vocabulary
    # Narrowed weights give other scores, so a run over a file is not gone on with across precisions.
    identity = fingerprint(recognizer)
    if precision != "float32":
        identity = f"{identity} {precision}"
    return Card(
        model=recognizer.name,
        labels=encoder.labels,
        scheme=encoder.scheme.name,
        inputs=encoder.inputs,
        settings=encoder.settings,
        knowledge=dataclasses.asdict(recognizer.knowledge),
        capacity=getattr(encoder, "longest_text", None),
        tokenizer=tokenizer.backend_tokenizer.to_str() if tokenizer is not None else None,
        special={k: str(v) for k, v in tokenizer.special_tokens_map.items()} if tokenizer is not None else {},
        vocabulary=None
        if vocabulary is None
        else {"words": list(vocabulary.words), "characters": list(vocabulary.characters)},
        chain=chain,
        identity=identity,
        reads_pictures=recognizer.model.reads_pictures,
        temperature=getattr(recognizer, "temperature", 1.0),
    )


@dataclasses.dataclass(frozen=True)
class Cost:
    """What an exported file costs, on posts with gold.

    Args:
        posts: How many posts.
        before: F1 of the recogniser, 0 to 1.
        after: F1 of the file.
        other: Posts in which the two find other entities.
    """

    posts: int
    before: float
    after: float
    other: int

    def as_dict(self) -> dict[str, float]:
        """The cost as JSON writes it."""
        return dataclasses.asdict(self)


def cost_of(
    recognizer: Recognizer, target: Path, posts: Sequence[Post], *, progress: Reporter = silent
) -> Cost:
    """What an exported file costs beside the recogniser that it was made from.

    Args:
        recognizer: The recogniser.
        target: The file.
        posts: Posts with gold, and with the knowledge that the recogniser reads.
        progress: Told of every post.
    """
    exported = OnnxRecognizer.from_pretrained(target)
    found = [one.predict(posts, progress=progress) for one in (recognizer, exported)]
    f1 = [score_posts(posts, answers).overall.f1 for answers in found]
    spans = [[{(e.start, e.end, e.label) for e in of_post} for of_post in answers] for answers in found]
    return Cost(len(posts), f1[0], f1[1], sum(a != b for a, b in zip(*spans, strict=True)))


def _examples(room: int) -> list[Post]:
    # Sizes that differ from one another and from 1, so that none is taken for another or for fixed.
    caption = Knowledge("caption", "a man with a ball before a crowd")
    relevant = Knowledge("relevance", score=0.9)
    return [
        Post.from_text("Kawhi Leonard wins in Toronto tonight", knowledge=(caption, relevant)),
        Post.from_text("no names here", knowledge=(Knowledge("auxiliary", "a street"), relevant)),
        Post.from_text("Ada Lovelace " * (room // 2 + 3), knowledge=(caption, relevant)),
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the notes of exporters, about what they lack and do not need, off stderr."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
