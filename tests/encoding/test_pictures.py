"""Pictures to tensors: against transformers' own preprocessing, and the rules for missing ones."""

from __future__ import annotations

import hashlib
import io
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessor, SiglipVisionConfig

from mner.encoding import pictures
from mner.encoding.pictures import (
    MOST_CROPS,
    WHOLE,
    PictureInputs,
    PictureReader,
    Preprocessing,
    to_pixels,
)
from mner.errors import UsageError
from mner.nn import vision
from mner.posts import Knowledge, Post, Region

CLIP = Preprocessing(*vision.usual_normalisation(vision.scratch_config()))


def picture(seed: int = 0, size: tuple[int, int] = (50, 37)) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def post(image=None, *boxes, text="a b", scores=None) -> Post:
    scores = scores or [1.0 - rank / 10 for rank in range(len(boxes))]
    regions = tuple(Region(*box, score=score) for box, score in zip(boxes, scores, strict=True))
    return Post.from_text(
        text, image=image, knowledge=(Knowledge("regions", regions=regions),) if boxes else ()
    )


def reader(parts="regions", count=3, size=16, features=False) -> PictureReader:
    return PictureReader(PictureInputs(parts, count, size, features), CLIP, Counter())


@pytest.mark.parametrize("box", [WHOLE, (0.1, 0.2, 0.9, 0.6)])
@pytest.mark.parametrize("size", [(50, 37), (300, 20), (8, 8)])
def test_pixels_are_those_of_clips_own_processor(box, size):
    image = picture(3, size)
    processor = CLIPImageProcessor(size={"height": 24, "width": 24}, do_center_crop=False)
    left, top = int(box[0] * size[0] + 1e-6), int(box[1] * size[1] + 1e-6)
    right, bottom = int(np.ceil(box[2] * size[0] - 1e-6)), int(np.ceil(box[3] * size[1] - 1e-6))
    theirs = processor(image.crop((left, top, right, bottom)), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(to_pixels(image, box, 24, CLIP), theirs, atol=1e-5, rtol=1e-5)


@settings(max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_any_box_of_any_picture_has_pixels(width, height, sides):
    left, right = sorted(sides[:2])
    top, bottom = sorted(sides[2:])
    pixels = to_pixels(picture(1, (width, height)), (left, top, right, bottom), 8, CLIP)
    assert pixels.shape == (3, 8, 8)
    assert torch.isfinite(pixels).all()


def test_cells_tile_the_picture_row_by_row():
    image = picture(2, (40, 40))
    block = reader("cells", 16, 10).read([post(png(image))])
    assert block.mask.all()
    for index in range(16):
        row, column = divmod(index, 4)
        cell = image.crop((10 * column, 10 * row, 10 * column + 10, 10 * row + 10))
        values = torch.from_numpy(np.asarray(cell).astype(np.float32) / 255).permute(2, 0, 1)
        expected = (values - torch.tensor(CLIP.mean)[:, None, None]) / torch.tensor(CLIP.deviation)[
            :, None, None
        ]
        torch.testing.assert_close(block.pixels[0, index], expected, atol=1e-5, rtol=1e-5)


def test_regions_follow_the_whole_picture_by_descending_score():
    image = picture(4, (40, 40))
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0)]
    block = reader().read([post(png(image), *boxes, scores=[0.1, 0.9, 0.5, 0.7])])
    assert block.mask.tolist() == [[True] * 4]
    for column, box in enumerate((WHOLE, boxes[1], boxes[3], boxes[2])):
        assert torch.equal(block.pixels[0, column], to_pixels(image, box, 16, CLIP))


def test_fewer_regions_than_wanted_leave_the_rest_masked():
    block = reader().read([post(png(picture()), (0.0, 0.0, 0.5, 0.5)), post(png(picture()))])
    assert block.mask.tolist() == [[True, True, False, False], [True, False, False, False]]


def test_boxes_without_area_are_no_regions():
    boxes = [(0.5, 0.0, 0.5, 1.0), (0.9, 0.1, 0.2, 0.5), (1.2, 0.0, 1.5, 1.0), (-1.0, -1.0, 0.5, 0.5)]
    assert reader().boxes(post(None, *boxes), "") == [WHOLE, (0.0, 0.0, 0.5, 0.5)]


def test_in_training_regions_are_drawn_by_seed_epoch_and_post_alone():
    boxes = [(i / 10, 0.0, (i + 1) / 10, 1.0) for i in range(8)]
    one, other = post(b"x", *boxes), post(b"x", *boxes, text="c d")
    drawn = [reader().boxes(one, "key", (1, epoch)) for epoch in range(20)]
    assert drawn == [reader().boxes(one, "key", (1, epoch)) for epoch in range(20)]
    assert all(len(set(found)) == 4 and found[0] == WHOLE for found in drawn)
    assert set().union(*drawn) == {WHOLE, *boxes}, "every region is drawn sometimes"
    assert drawn != [reader().boxes(one, "key", (2, epoch)) for epoch in range(20)]
    assert drawn != [reader().boxes(other, "key", (1, epoch)) for epoch in range(20)]
    ranks = [[boxes.index(box) for box in found[1:]] for found in drawn]
    assert all(found == sorted(found) for found in ranks), "the highest score stays first"


def test_crops_are_regions_or_plain_ones_where_there_are_none():
    crops = reader("crops", 3)
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)]
    assert crops.boxes(post(None, *boxes), "") == boxes
    plain = crops.boxes(post(), "")
    assert len(set(plain)) == 3
    shown = np.zeros((60, 60), dtype=bool)
    for left, top, right, bottom in plain:
        assert 0 <= left < right <= 1 + 1e-9
        assert 0 <= top < bottom <= 1 + 1e-9
        shown[int(60 * top) : round(60 * bottom), int(60 * left) : round(60 * right)] = True
    assert shown.mean() > 0.75
    drawn = {tuple(crops.boxes(post(), "", (1, epoch))) for epoch in range(10)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("parts", "count"), [("cells", 3), ("cells", 0), ("crops", 0), ("crops", MOST_CROPS + 1)]
)
def test_impossible_numbers_of_parts_are_refused(parts, count):
    with pytest.raises(UsageError):
        PictureInputs(parts, count, 16)


def test_missing_and_broken_pictures_are_masked_and_counted_with_their_reason(tmp_path):
    pictures = reader()
    broken = png(picture())[:-200]
    posts = [
        post(png(picture())),
        post(),
        post().with_fields(image_problem="was lost on the way"),
        post(tmp_path / "nowhere.jpg"),
        post(broken),
        post(b"no picture at all"),
    ]
    block = pictures.read(posts)
    assert block.mask.any(1).tolist() == [True, False, False, False, False, False]
    assert (block.pictures[1:] == -1).all()
    assert (block.pixels[1:] == 0).all()
    reasons = {key: count for key, count in pictures.counts.items() if key != "pictures"}
    assert pictures.counts["pictures"] == 1
    assert sum(reasons.values()) == 5
    assert reasons["no picture: "] == 1
    summary = pictures.summary()
    assert summary.startswith("5 of 6 posts")
    assert "none given (1)" in summary
    assert reader().summary() is None
    assert any("lost on the way" in key for key in reasons)
    assert any("does not exist" in key for key in reasons)


@pytest.mark.parametrize("parts", ["cells", "regions", "crops"])
@pytest.mark.parametrize("bound", [0, 5 * 16 * 16 * 3, 2**28])
def test_later_epochs_have_the_pixels_that_a_fresh_reader_has(parts, bound, monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "_MOST_KEPT", bound)
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.2, 0.1, 0.9, 0.9), (0.5, 0.5, 1.0, 1.0), (0.0, 0.4, 0.3, 0.8)]
    file = tmp_path / "a.png"
    file.write_bytes(png(picture(7)))
    posts = [
        post(png(picture(1)), *boxes),
        post(png(picture(2))),
        post(b"broken"),
        post(str(file), *boxes[:2]),
        post(png(picture(1)), *boxes[1:], text="c"),
    ]
    count = 4 if parts == "cells" else 2
    kept = reader(parts, count)
    for epoch in range(4):
        if epoch == 2:
            # The picture of that path is another one now.
            file.write_bytes(png(picture(8)))
        fresh = reader(parts, count)
        for draw in ((1, epoch), None):
            found, wanted = kept.read(posts, draw), fresh.read(posts, draw)
            assert torch.equal(found.pixels, wanted.pixels)
            assert torch.equal(found.mask, wanted.mask)
            assert torch.equal(found.pictures, wanted.pictures)
        assert kept._kept_bytes == sum(part.nbytes for part in kept._kept.values()) <= bound
    assert bool(kept._kept) == (bound > 0)
    # What is broken is counted every time.
    assert kept.counts == Counter({key: 4 * count for key, count in fresh.counts.items()})
    kept.forget()
    assert not kept._kept


def test_what_is_predicted_is_not_kept():
    predicting = reader("cells", 4)
    predicting.read([post(png(picture(1)))])
    assert not predicting._kept


def test_the_same_bytes_are_the_same_picture_wherever_they_stand(tmp_path):
    content = png(picture(1))
    (tmp_path / "a.png").write_bytes(content)
    posts = [post(content), post(png(picture(2))), post(tmp_path / "a.png"), post()]
    numbers = reader().read(posts).pictures.tolist()
    assert numbers[0] == numbers[2] == int(hashlib.sha256(content).hexdigest()[:15], 16)
    assert len(set(numbers)) == 3
    assert reader().read(posts[2:]).pictures[0] == numbers[0], "in another batch too"


def kept_reader(tower=None):
    tower = tower or vision.build_tower(
        SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=16,
            patch_size=8,
        )
    )
    for parameter in tower.parameters():
        parameter.requires_grad_(False)
    pictures = reader(features=True)
    pictures.tower = vision.KeptTower(tower)
    return pictures


class Counting:
    """A kept tower that counts what it computes."""

    def __init__(self, tower: vision.KeptTower) -> None:
        self.tower = tower
        self.width = tower.width
        self.parts = 0

    @property
    def wants_pixels(self) -> bool:
        return self.tower.wants_pixels

    def revision(self) -> str:
        return self.tower.revision()

    def __call__(self, pixels):
        self.parts += len(pixels)
        return self.tower(pixels)


def test_kept_vectors_are_those_computed_from_pixels_each_time(tmp_path):
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)]
    posts = [post(png(picture(1)), *boxes), post(), post(png(picture(2))), post(b"broken")]
    pictures = kept_reader()
    tower = pictures.tower.module.eval()
    pictures.tower = counting = Counting(pictures.tower)
    first = pictures.read(posts)
    assert counting.parts == 4
    again = pictures.read(posts)
    assert counting.parts == 4, "computed once"
    assert torch.equal(first.features, again.features)
    pixels = reader().read(posts)
    assert torch.equal(first.mask, pixels.mask)
    assert torch.equal(first.pictures, pixels.pictures)
    expected = vision.pooled_parts(tower, pixels.pixels, pixels.mask)
    # The same numbers but for the order of additions in products of other shapes.
    torch.testing.assert_close(first.features, expected, atol=1e-5, rtol=1e-4)


def test_changed_weights_make_new_vectors(tmp_path):
    posts = [post(png(picture(1)))]
    pictures = kept_reader()
    before = pictures.read(posts).features
    with torch.no_grad():
        for parameter in pictures.tower.module.parameters():
            parameter.mul_(1.5)
    after = pictures.read(posts).features
    assert not torch.allclose(before, after)
    assert len(pictures.features) == 1, "the old ones are gone"


def test_vectors_are_kept_on_disk(tmp_path):
    posts = [post(png(picture(1)), (0.0, 0.0, 0.5, 0.5)), post(png(picture(2)))]
    pictures = kept_reader()
    pictures.features.folder = tmp_path
    first = pictures.read(posts).features
    pictures.features.save()
    later = kept_reader(pictures.tower.module)
    later.features.folder = tmp_path
    later.tower = counting = Counting(later.tower)
    assert torch.equal(later.read(posts).features, first)
    assert counting.parts == 0
