"""Text in the picture, read by RapidOCR: its models come inside its wheel, so it runs offline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from PIL import Image

from mner.errors import MissingExtraError
from mner.knowledge.provider import Answer, Question
from mner.posts import Knowledge, Region

# The detector brings the shorter side to 736 pixels, whatever the longer one then needs: a strip of 2 x 300
# pixels would fill gigabytes. A narrower picture than this is laid on a white sheet of this proportion.
_LONGEST = 8
# No letter can be told in fewer pixels.
_SMALLEST = 8


class OcrProvider:
    """The lines of text in a picture, from top to bottom, with their places.

    A picture without text is an answer too: an empty one. The reader is loaded at the first question.

    Args:
        min_score: Lines that the reader is less sure of are left out (0 to 1).
        threads: Threads of one reading; the runtime's own choice where None.

    Raises:
        MissingExtraError: RapidOCR is not installed.
    """

    name = "rapidocr"
    kind = "ocr"
    sees_text = False
    sees_picture = True
    batch_size = 1
    concurrency = 1
    leaves_machine = False

    def __init__(self, *, min_score: float = 0.5, threads: int | None = None) -> None:
        try:
            self.version = version("rapidocr")
        except PackageNotFoundError as error:
            raise MissingExtraError("Reading the text in pictures", "knowledge") from error
        self.min_score = min_score
        self.threads = threads
        self._reader: Any = None

    def settings(self) -> Mapping[str, Any]:
        """RapidOCR's version, which fixes its models, the least score of a line, and limits of size."""
        limits = {"longest": _LONGEST, "smallest": _SMALLEST}
        return {"model": f"rapidocr {self.version}", "min_score": self.min_score, **limits}

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """What can be read in each picture."""
        if self._reader is None:
            self._reader = self._load()
        return [self._read(question) for question in questions]

    @property
    def _origin(self) -> str:
        return f"{self.name} {self.version}"

    def _load(self) -> Any:
        from rapidocr import RapidOCR

        parameters: dict[str, Any] = {"Global.log_level": "error", "Global.text_score": self.min_score}
        if self.threads is not None:
            parameters["EngineConfig.onnxruntime.intra_op_num_threads"] = self.threads
        return RapidOCR(params=parameters)

    def _read(self, question: Question) -> Answer:
        picture = question.picture
        if picture is None:
            return Answer(None, problem="there is no picture")
        if min(picture.size) < _SMALLEST:
            return Answer(Knowledge(self.kind, text="", origin=self._origin))
        started = time.monotonic()
        # The reader expects OpenCV's order of colours.
        found = self._reader(np.ascontiguousarray(np.asarray(_on_sheet(picture))[:, :, ::-1]))
        texts = found.txts if found.txts is not None else ()
        boxes = found.boxes if found.boxes is not None else ()
        scores = found.scores if found.scores is not None else ()
        width, height = picture.size
        regions = tuple(
            Region(*_fractions(box, width, height), text, round(float(score), 5))
            for text, box, score in zip(texts, boxes, scores, strict=True)
            if text.strip()
        )
        text = "\n".join(region.label.strip() for region in regions)
        return Answer(
            Knowledge(self.kind, text=text, regions=regions, origin=self._origin),
            raw="\n".join(texts),
            duration=time.monotonic() - started,
        )


def _on_sheet(picture: Image.Image) -> Image.Image:
    """The picture, at the upper left of a white sheet if it is very narrow, so that places stay the same."""
    width, height = picture.size
    sheet = max(width, -(-height // _LONGEST)), max(height, -(-width // _LONGEST))
    if sheet == picture.size:
        return picture
    laid = Image.new("RGB", sheet, "white")
    laid.paste(picture, (0, 0))
    return laid


def _fractions(box: Any, width: int, height: int) -> tuple[float, float, float, float]:
    """The upright rectangle around a box of four corners, as fractions of the picture."""
    corners = np.asarray(box, dtype=float)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    edges = (left / width, top / height, right / width, bottom / height)
    left, top, right, bottom = (round(min(max(float(edge), 0.0), 1.0), 5) for edge in edges)
    return left, top, right, bottom
