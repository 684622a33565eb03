"""Posts' pictures as tensors: which parts of a picture a model sees, and vectors that are kept.

A picture that is missing or broken is masked, counted with its reason and never replaced.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mner.encoding.batch import VisualBlock
from mner.encoding.features import FeatureStore
from mner.errors import UsageError
from mner.images import READING, count_reason, listed_reasons, open_picture, read_picture
from mner.posts import Post, Region

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

# Where nothing was found in a picture: nine overlapping crops of two thirds of each side, those first that
# together show the most.
_STEPS = (0.0, 1 / 6, 1 / 3)
_PLAIN_CROPS: tuple[Box, ...] = tuple(
    (_STEPS[x], _STEPS[y], _STEPS[x] + 2 / 3, _STEPS[y] + 2 / 3)
    for x, y in ((0, 0), (2, 2), (1, 1), (2, 0), (0, 2), (1, 0), (1, 2), (0, 1), (2, 1))
)

# How many bytes of parts of pictures a training keeps, so that each is not read anew in every epoch.
_MOST_KEPT = 2**28

# Before the reason why a post has no picture, in the counts.
_NONE = "no picture: "
_MOST_REASONS = 1000

MOST_CROPS = len(_PLAIN_CROPS)
"""Most crops of a picture in which nothing was found."""


@dataclass(frozen=True)
class PictureInputs:
    """Which parts of a post's picture a model sees.

    ``cells``: the cells of a square grid over the whole picture, row by row. ``regions``: the whole
    picture, then parts of it that knowledge of the kind ``regions`` names. ``crops``: such parts alone, and
    where there are none, plain crops. In training, parts are drawn from those there are; in prediction
    the ones with the highest scores are taken. Each part is cropped and resized to a square.

    Args:
        parts: Which parts.
        count: How many: cells in all (a square number), regions besides the whole picture, or crops.
        size: Side of each part in pixels.
        features: Whether the model can take a tower's pooled vectors instead of pixels.
    """

    parts: Literal["cells", "regions", "crops"]
    count: int
    size: int
    features: bool = False

    def __post_init__(self) -> None:
        if self.parts == "cells" and (self.count < 1 or math.isqrt(self.count) ** 2 != self.count):
            raise UsageError(
                "A picture cannot be cut into so many cells.", expected="a square number", got=str(self.count)
            )
        if self.parts == "crops" and not 1 <= self.count <= MOST_CROPS:
            raise UsageError(
                "A picture cannot have so many crops.", expected=f"1 to {MOST_CROPS}", got=str(self.count)
            )

    @property
    def row(self) -> int:
        """How many parts a picture has at most."""
        return self.count + (self.parts == "regions")


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become numbers: a square by bicubic interpolation, then (value / 255 - mean) / deviation.

    Args:
        mean: Of red, green and blue.
        deviation: Of red, green and blue.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class Tower(Protocol):
    """A vision tower whose vectors may be kept."""

    width: int

    @property
    def wants_pixels(self) -> bool:
        """Whether the model has to see pixels."""

    def revision(self) -> str:
        """Which weights exactly."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Parts (N, 3, h, w) to vectors (N, d_v) on the CPU."""


def to_pixels(picture: Image.Image, box: Box, size: int, preprocessing: Preprocessing) -> Tensor:
    """A part of a picture as a model sees it.

    Args:
        picture: An RGB picture.
        box: Left, top, right and bottom as fractions of its width and height.
        size: Side of the square it becomes.
        preprocessing: How pixels become numbers.

    Returns:
        (3, size, size).
    """
    return _normalised(_square(picture, box, size)[None], preprocessing)[0]


def _square(picture: Image.Image, box: Box, size: int) -> np.ndarray[Any, Any]:
    if box != WHOLE:
        picture = picture.crop(_pixel_box(box, *picture.size))
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def _normalised(squares: np.ndarray[Any, Any], preprocessing: Preprocessing) -> Tensor:
    """Squares (N, size, size, 3) of bytes as a model sees them, (N, 3, size, size); all in one go."""
    values = squares.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    values *= np.float32(1 / 255)
    values -= np.asarray(preprocessing.mean, np.float32)[:, None, None]
    values /= np.asarray(preprocessing.deviation, np.float32)[:, None, None]
    return torch.from_numpy(values)


def _pixel_box(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    # A hundredth of a pixel is a rounding error of the fractions, not a border.
    left_pixel = min(max(math.floor(left * width + 0.01), 0), width - 1)
    top_pixel = min(max(math.floor(top * height + 0.01), 0), height - 1)
    right_pixel = min(max(math.ceil(right * width - 0.01), left_pixel + 1), width)
    bottom_pixel = min(max(math.ceil(bottom * height - 0.01), top_pixel + 1), height)
    return left_pixel, top_pixel, right_pixel, bottom_pixel


class PictureReader:
    """Reads the pictures of posts.

    Args:
        inputs: What the model wants.
        preprocessing: How pixels become numbers.
        counts: Where pictures, and what is wrong with others, are counted.
    """

    def __init__(self, inputs: PictureInputs, preprocessing: Preprocessing, counts: Counter[str]) -> None:
        self.inputs = inputs
        self.preprocessing = preprocessing
        self.counts = counts
        self.tower: Tower | None = None
        self.features = FeatureStore()
        self._kept: dict[tuple[str, Box], np.ndarray[Any, Any]] = {}
        self._kept_bytes = 0

    def read(self, posts: Sequence[Post], draw: tuple[int, int] | None = None) -> VisualBlock:
        """The parts of the posts' pictures.

        Args:
            posts: The posts.
            draw: In training, a seed and an epoch from which parts are drawn; what a post gets depends on
                them and on the post alone.

        Returns:
            Pixels, or, of a tower whose vectors may be kept, vectors.
        """
        block = VisualBlock(
            mask=torch.zeros(len(posts), self.inputs.row, dtype=torch.bool),
            pictures=torch.full((len(posts),), -1, dtype=torch.int64),
        )
        tower = self.tower if self.inputs.features else None
        if tower is not None and not tower.wants_pixels:
            self._add_features(block, posts, draw, tower)
        else:
            self._add_pixels(block, posts, draw)
        return block

    def _add_pixels(self, block: VisualBlock, posts: Sequence[Post], draw: tuple[int, int] | None) -> None:
        size = self.inputs.size
        block.pixels = torch.zeros(*block.mask.shape, 3, size, size)
        squares: list[np.ndarray[Any, Any]] = []
        for row, post in enumerate(posts):
            content, key = self._content(post)
            if content is None:
                continue
            boxes = self.boxes(post, key, draw)
            parts = [self._kept[key, box] for box in boxes if (key, box) in self._kept]
            if len(parts) < len(boxes):
                image = self._opened(content)
                if image is None:
                    continue
                parts = [_square(image, box, size) for box in boxes]
                # Posts that are predicted come by once; those of a training come again.
                if draw is not None:
                    self._keep(key, boxes, parts)
            squares += parts
            self._note(block, row, key, len(boxes))
        if squares:
            block.pixels[block.mask] = _normalised(np.stack(squares), self.preprocessing)

    def forget(self) -> None:
        """Free the parts of pictures that a training kept."""
        self._kept.clear()
        self._kept_bytes = 0

    def _keep(self, key: str, boxes: Sequence[Box], parts: Sequence[np.ndarray[Any, Any]]) -> None:
        # Those that came first stay: of posts that are gone through in turns, a cache that drops the oldest
        # would have dropped each one before it is wanted again.
        for box, part in zip(boxes, parts, strict=True):
            if self._kept_bytes + part.nbytes <= _MOST_KEPT and (key, box) not in self._kept:
                self._kept[key, box] = part
                self._kept_bytes += part.nbytes

    def _add_features(
        self, block: VisualBlock, posts: Sequence[Post], draw: tuple[int, int] | None, tower: Tower
    ) -> None:
        size = self.inputs.size
        store = self.features.of(f"{tower.revision()}\0{self.preprocessing}\0{size}\0{READING}")
        wanted: dict[tuple[int, int], str] = {}
        found: dict[str, Tensor] = {}
        missing: dict[str, np.ndarray[Any, Any]] = {}
        for row, post in enumerate(posts):
            content, key = self._content(post)
            if content is None:
                continue
            boxes = self.boxes(post, key, draw)
            names = [f"{key}:{','.join(f'{side:.6f}' for side in box)}" for box in boxes]
            found.update((name, store[name]) for name in names if name in store)
            if any(name not in found and name not in missing for name in names):
                image = self._opened(content)
                if image is None:
                    continue
                for name, box in zip(names, boxes, strict=True):
                    if name not in found and name not in missing:
                        missing[name] = _square(image, box, size)
            wanted.update(((row, column), name) for column, name in enumerate(names))
            self._note(block, row, key, len(boxes))
        if missing:
            pixels = _normalised(np.stack(list(missing.values())), self.preprocessing)
            for name, vector in zip(missing, tower(pixels), strict=True):
                found[name] = store[name] = vector.clone()
        block.features = torch.zeros(*block.mask.shape, tower.width)
        for place, name in wanted.items():
            block.features[place] = found[name]

    def _content(self, post: Post) -> tuple[bytes | None, str]:
        if post.image is None:
            self._count_missing(post.image_problem or "")
            return None, ""
        content, problem = read_picture(post.image)
        if content is None:
            self._count_missing(str(problem))
            return None, ""
        return content, hashlib.sha256(content).hexdigest()

    def _opened(self, content: bytes) -> Image.Image | None:
        picture = open_picture(content)
        if picture.image is None:
            self._count_missing(str(picture.problem))
        return picture.image

    def _count_missing(self, reason: str) -> None:
        count_reason(self.counts, _NONE + reason, _MOST_REASONS, _NONE + "other reasons")

    def _note(self, block: VisualBlock, row: int, key: str, parts: int) -> None:
        assert block.pictures is not None
        block.mask[row, :parts] = True
        # The same bytes are the same picture, in other batches and processes too.
        block.pictures[row] = int(key[:15], 16)
        self.counts["pictures"] += 1

    def summary(self) -> str | None:
        """How many readings of posts found no picture, and why; None where every one did."""
        reasons = Counter(
            {key.removeprefix(_NONE): count for key, count in self.counts.items() if key.startswith(_NONE)}
        )
        missing = sum(reasons.values())
        if not missing:
            return None
        posts = missing + self.counts["pictures"]
        return f"{missing} of {posts} posts read had no picture: {listed_reasons(reasons)}."

    def boxes(self, post: Post, key: str, draw: tuple[int, int] | None = None) -> list[Box]:
        """The parts of a post's picture, as many as there are and the model wants.

        Args:
            post: The post.
            key: The SHA-256 of its picture's bytes.
            draw: As `read` takes it.
        """
        if self.inputs.parts == "cells":
            side = math.isqrt(self.inputs.count)
            return [
                (column / side, row / side, (column + 1) / side, (row + 1) / side)
                for row in range(side)
                for column in range(side)
            ]
        known = post.known("regions")
        found = _by_score(known.regions if known is not None else ())
        if self.inputs.parts == "crops" and not found:
            found = list(_PLAIN_CROPS)
        count = self.inputs.count
        if draw is not None and len(found) > count:
            identity = hashlib.sha256(f"{post.id}\0{post.text}\0{key}".encode()).digest()[:8]
            random = np.random.default_rng([*draw, int.from_bytes(identity)])
            # Drawn parts keep their order, so that a place in the row means the same throughout.
            found = [found[index] for index in sorted(random.choice(len(found), count, replace=False))]
        return ([WHOLE] if self.inputs.parts == "regions" else []) + found[:count]


def _by_score(regions: Sequence[Region]) -> list[Box]:
    boxes = []
    for region in sorted(regions, key=lambda region: -(region.score or 0.0)):
        left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in region[:4])
        if left < right and top < bottom:
            boxes.append((left, top, right, bottom))
    return list(dict.fromkeys(boxes))
