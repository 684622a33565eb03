"""Parts of a picture: where the post's phrases are, where known objects are, or a fixed grid.

Grounding DINO and OWL-ViT find what a text names (DGHC and MGIPS-CL ground the post's phrases), DETR finds
the objects it was trained on, and a grid needs no model. Boxes are fractions of the picture's width and
height, the best first.

Detectors pad the pictures of a batch to one size, and convolutions carry the padding into the features:
an answer would depend on what else was asked. So pictures and texts are prepared one by one, and only
those whose tensors have equal shapes run together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from mner.errors import UsageError
from mner.knowledge.phrases import phrases_of
from mner.knowledge.provider import Answer, Question
from mner.knowledge.providers.local import Checkpoint, LocalProvider
from mner.posts import Region

TYPE_WORDS = ("person", "place", "organization", "product")
"""What is looked for where a post has no phrases."""

_QUERIES = ("phrases", "types", "both")


class GridProvider(LocalProvider):
    """A fixed grid of cells, row by row; the cells tile the picture exactly.

    Args:
        rows: Cells from top to bottom.
        columns: Cells from left to right.

    Raises:
        UsageError: The grid has no cells.
    """

    name = "grid"
    kind = "regions"
    sees_picture = True
    batch_size = 256

    def __init__(self, rows: int = 2, columns: int = 2) -> None:
        if rows < 1 or columns < 1:
            raise UsageError("A grid has at least one row and one column.", got=f"{rows} x {columns}")
        self.rows = rows
        self.columns = columns

    def settings(self) -> dict[str, Any]:
        """The grid."""
        return {"rows": self.rows, "columns": self.columns}

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        across = list(pairwise(column / self.columns for column in range(self.columns + 1)))
        down = list(pairwise(row / self.rows for row in range(self.rows + 1)))
        cells = tuple(Region(left, top, right, bottom) for top, bottom in down for left, right in across)
        knowledge = self._knowledge(f"{self.rows} x {self.columns}", regions=cells)
        return [Answer(knowledge) for _ in questions]


class BoxProvider(LocalProvider):
    """Boxes by a detector on this machine: what grounding and detection share.

    Args:
        model: A local folder or a hub name; None takes `default_model`.
        threshold: The least score of a box.
        limit: The most boxes of a picture; 0 means all.
        overlap: Of two boxes that overlap by more than this (intersection over union) the better one stays.
        revision: Which commit of a hub name.
        dtype: The precision; None takes bfloat16 on a GPU and float32 elsewhere.
        device: Where to run; None takes a GPU where there is one.
        batch_size: Questions at once.

    Raises:
        UsageError: A number is out of its range.
    """

    kind = "regions"
    sees_picture = True
    default_model: str
    default_revision: str | None = None

    def __init__(
        self,
        model: str | None = None,
        *,
        threshold: float = 0.25,
        limit: int = 10,
        overlap: float = 0.7,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 8,
    ) -> None:
        if not 0 <= threshold <= 1 or not 0 <= overlap <= 1 or limit < 0:
            raise UsageError(
                "These settings cannot select boxes.",
                expected="threshold and overlap in 0 to 1, limit at least 0",
                got=f"threshold {threshold}, overlap {overlap}, limit {limit}",
            )
        if model is None:
            revision = revision or self.default_revision
        self.checkpoint = Checkpoint(model or self.default_model, revision, dtype, device)
        self.threshold = threshold
        self.limit = limit
        self.overlap = overlap
        self.batch_size = batch_size

    def settings(self) -> dict[str, Any]:
        """The model, pinned, and how boxes are selected."""
        return {
            **self.checkpoint.settings(),
            "threshold": self.threshold,
            "limit": self.limit,
            "overlap": self.overlap,
        }

    @cached_property
    def model(self) -> Any:
        """The detector."""
        return self.checkpoint.load_model(self._auto_class())

    @cached_property
    def image_processor(self) -> Any:
        """What turns pictures into pixels and boxes back into the picture's size."""
        from transformers import AutoImageProcessor

        return self.checkpoint.load_part(AutoImageProcessor, "its image processor")

    def _load(self) -> None:
        _ = self.model, self.image_processor

    @abstractmethod
    def _auto_class(self) -> Any:
        """The class of transformers that loads the detector."""

    @abstractmethod
    def _inputs(self, question: Question) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The tensors of one question, each with a first dimension to concatenate, and its queries."""

    @abstractmethod
    def _detected(
        self, outputs: Any, inputs: dict[str, Any], queries: Sequence[Sequence[str]], sizes: Any
    ) -> list[list[Region]]:
        """The boxes of a batch, in pixels of sizes (b, 2) = height and width."""

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        import torch

        prepared = [self._inputs(question) for question in questions]
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, (inputs, queries) in enumerate(prepared):
            shapes = (len(queries), *((name, tuple(tensor.shape)) for name, tensor in sorted(inputs.items())))
            alike.setdefault(shapes, []).append(index)
        answers: dict[int, Answer] = {}
        for indices in alike.values():
            inputs = {
                name: torch.cat([prepared[index][0][name] for index in indices]).to(self.model.device)
                for name in prepared[indices[0]][0]
            }
            if torch.is_floating_point(inputs["pixel_values"]):
                inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
            pictures = [questions[index].picture for index in indices]
            sizes = [(picture.height, picture.width) for picture in pictures if picture is not None]
            asked = [prepared[index][1] for index in indices]
            with torch.inference_mode():
                outputs = self.model(**inputs)
            found = self._detected(outputs, inputs, asked, torch.tensor(sizes, device=self.model.device))
            for index, size, row, boxes in zip(indices, sizes, asked, found, strict=True):
                answers[index] = self._answer(boxes, size, row)
        return [answers[index] for index in range(len(questions))]

    def _answer(self, boxes: Iterable[Region], size: tuple[int, int], queries: Sequence[str]) -> Answer:
        height, width = size
        inside = [fractions for box in boxes if (fractions := _fractions(box, width, height)) is not None]
        kept = distinct(inside, self.overlap)
        kept = kept[: self.limit] if self.limit else kept
        return Answer(
            self._knowledge(self.checkpoint.label(), regions=tuple(kept)),
            raw="\n".join(f"{box.label}\t{box.score:.4f}" for box in kept),
            request={"queries": list(queries)} if queries else {},
        )


class GroundingProvider(BoxProvider):
    """Regions that show what the post names, by Grounding DINO or OWL-ViT.

    Args:
        queries: What to look for: the post's ``phrases`` (the types' words where it has none), the words of
            the ``types`` whatever the post says, or ``both``.
        type_words: Words for what the types are, as a list or separated by commas.
        most_queries: The most phrases of one post.
        text_threshold: Grounding DINO: the least score of a word to belong to a box's label.
        options: As for `BoxProvider`.
    """

    name = "grounding"
    default_model = "IDEA-Research/grounding-dino-base"

    def __init__(
        self,
        model: str | None = None,
        *,
        queries: str = "phrases",
        type_words: Sequence[str] | str = TYPE_WORDS,
        most_queries: int = 8,
        threshold: float = 0.25,
        text_threshold: float = 0.25,
        limit: int = 10,
        overlap: float = 0.7,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 8,
    ) -> None:
        super().__init__(
            model,
            threshold=threshold,
            limit=limit,
            overlap=overlap,
            revision=revision,
            dtype=dtype,
            device=device,
            batch_size=batch_size,
        )
        if queries not in _QUERIES:
            raise UsageError(
                f"Nothing is looked for by {queries!r}.", expected=f"one of {', '.join(_QUERIES)}"
            )
        words = type_words.split(",") if isinstance(type_words, str) else type_words
        self.type_words = tuple(word.strip() for word in words if word.strip())
        if not self.type_words or most_queries < 1:
            raise UsageError("Grounding needs at least one word to look for.")
        self.queries = queries
        self.most_queries = most_queries
        self.text_threshold = text_threshold
        self.sees_text = queries != "types"

    def settings(self) -> dict[str, Any]:
        """The model, pinned, what is looked for and how boxes are selected."""
        return {
            **super().settings(),
            "queries": self.queries,
            "type_words": list(self.type_words),
            "most_queries": self.most_queries,
            "text_threshold": self.text_threshold,
        }

    @cached_property
    def processor(self) -> Any:
        """What turns pictures and queries into the model's inputs."""
        from transformers import AutoProcessor

        return self.checkpoint.load_part(AutoProcessor, "its processor")

    def _load(self) -> None:
        _ = self.model, self.processor

    def _auto_class(self) -> Any:
        from transformers import AutoModelForZeroShotObjectDetection

        return AutoModelForZeroShotObjectDetection

    def queries_for(self, question: Question) -> tuple[str, ...]:
        """What is looked for in the picture of a question."""
        phrases = () if self.queries == "types" else phrases_of(question.post, self.most_queries)
        if self.queries == "phrases" and phrases:
            return phrases
        return tuple(dict.fromkeys((*phrases, *self.type_words)))

    @property
    def _reads_one_caption(self) -> bool:
        # Grounding DINO reads all queries as one text, OWL-ViT each as its own.
        return "grounding-dino" in str(self.model.config.model_type)

    def _inputs(self, question: Question) -> tuple[dict[str, Any], tuple[str, ...]]:
        queries = self.queries_for(question)
        # The processor takes a full stop for the end of a query.
        plain = [" ".join(query.replace(".", " ").split()) for query in queries]
        inputs = self.processor(images=question.picture, text=[plain], truncation=True, return_tensors="pt")
        return dict(inputs), queries

    def _detected(
        self, outputs: Any, inputs: dict[str, Any], queries: Sequence[Sequence[str]], sizes: Any
    ) -> list[list[Region]]:
        if self._reads_one_caption:
            results = self.processor.post_process_grounded_object_detection(
                outputs,
                inputs["input_ids"],
                threshold=self.threshold,
                text_threshold=self.text_threshold,
                target_sizes=sizes,
            )
        else:
            results = self.processor.post_process_grounded_object_detection(
                outputs,
                threshold=self.threshold,
                target_sizes=sizes,
                text_labels=[list(row) for row in queries],
            )
        return [
            _boxes(result, [self._label(said, row) for said in result["text_labels"]])
            for result, row in zip(results, queries, strict=True)
        ]

    def _label(self, said: str, queries: Sequence[str]) -> str:
        """The query that a model's label means; Grounding DINO writes labels anew from its own tokens."""
        for token in self.processor.tokenizer.all_special_tokens:
            said = said.replace(token, " ")
        plain = " ".join(said.replace(".", " ").split())
        return {query.lower(): query for query in queries}.get(plain.lower(), plain)


class DetectionProvider(BoxProvider):
    """Regions of the objects that a detector was trained on, by DETR and its like."""

    name = "detection"
    # The main branch of this model needs timm for its backbone.
    default_model = "facebook/detr-resnet-50"
    default_revision = "no_timm"

    def _auto_class(self) -> Any:
        from transformers import AutoModelForObjectDetection

        return AutoModelForObjectDetection

    def _inputs(self, question: Question) -> tuple[dict[str, Any], tuple[str, ...]]:
        return dict(self.image_processor(images=question.picture, return_tensors="pt")), ()

    def _detected(
        self, outputs: Any, inputs: dict[str, Any], queries: Sequence[Sequence[str]], sizes: Any
    ) -> list[list[Region]]:
        del inputs, queries
        results = self.image_processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=sizes
        )
        names = self.model.config.id2label
        return [_boxes(result, [names[int(label)] for label in result["labels"]]) for result in results]


def distinct(boxes: Sequence[Region], overlap: float) -> list[Region]:
    """The boxes by descending score, without those that overlap a better one by more than `overlap`."""
    kept: list[Region] = []
    for box in sorted(boxes, key=lambda found: -(found.score or 0.0)):
        if all(intersection_over_union(box, better) <= overlap for better in kept):
            kept.append(box)
    return kept


def intersection_over_union(one: Region, other: Region) -> float:
    """How much of what two boxes cover together both cover."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def _boxes(result: Any, labels: Iterable[str]) -> list[Region]:
    corners = result["boxes"].float().tolist()
    scores = result["scores"].float().tolist()
    return [
        Region(left, top, right, bottom, str(label), score)
        for (left, top, right, bottom), score, label in zip(corners, scores, labels, strict=True)
    ]


def _fractions(box: Region, width: int, height: int) -> Region | None:
    """A box in pixels as fractions, cut to the picture; None where nothing of it lies inside."""
    left, right = (min(max(x / width, 0.0), 1.0) for x in (box.left, box.right))
    top, bottom = (min(max(y / height, 0.0), 1.0) for y in (box.top, box.bottom))
    if not (right > left and bottom > top):
        return None
    return Region(left, top, right, bottom, box.label, box.score)
