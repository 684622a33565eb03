"""What every model that sees pictures must do, whatever it is."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mner.encoding.pictures import to_pixels
from mner.models import registered
from mner.posts import Post

from .test_contract import scores_of
from .tiny import LONG_POST, POSTS, tiny, tiny_picture, tiny_vision_config

SEEING = sorted(
    name
    for name, entry in registered().items()
    if "vision_config" in {field.name for field in dataclasses.fields(entry.model.config_class)}
)

# Models that see pictures in one of their forms alone.
FORMS = {"mmavk": {"fusion": "visual-prefix", "vision_config": tiny_vision_config(), "prompt_width": 20}}

BARE = POSTS[0].with_fields(image=None, knowledge=())
BROKEN = POSTS[0].with_fields(image=tiny_picture(1)[:-60])


@pytest.fixture(params=SEEING)
def seeing(request):
    """Each model that sees pictures, tiny, away from any special start, in evaluation mode."""
    recognizer = tiny(request.param, **FORMS.get(request.param, {}))
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in sorted(recognizer.model.named_parameters()):
            if not name.startswith(("text_encoder.", "vision_encoder.")):
                parameter.add_(0.1 * torch.randn(parameter.shape))
    recognizer.model.eval()
    return recognizer


def scores(recognizer, posts):
    with torch.no_grad():
        return scores_of(recognizer.model(recognizer.encode(posts)))


def close(a, b):
    torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_there_are_models_that_see():
    assert {"cat-mner", "dghc", "mgips-cl"} <= set(SEEING)


def test_the_picture_changes_what_is_said(seeing):
    own = scores(seeing, [POSTS[0]])
    other = scores(seeing, [POSTS[0].with_fields(image=tiny_picture(99))])
    assert not torch.allclose(own, other, atol=1e-5)


def test_a_post_without_a_picture_is_not_touched_by_one_with(seeing):
    n = len(BARE.words)
    alone = scores(seeing, [BARE])[0, :n]
    for others in ([POSTS[0]], [POSTS[3], LONG_POST], [BROKEN]):
        close(scores(seeing, [BARE, *others])[0, :n], alone)
    with_picture = scores(seeing, [POSTS[0]])[0]
    close(scores(seeing, [POSTS[0], BARE, BROKEN])[0, : len(POSTS[0].words)], with_picture)


def test_a_broken_picture_is_as_good_as_none(seeing):
    close(scores(seeing, [BROKEN]), scores(seeing, [POSTS[0].with_fields(image=None)]))
    assert any("no picture: " in key for key in seeing.encoder.counts)


@pytest.mark.parametrize("posts", [[BARE], [BROKEN, BARE], [POSTS[0], BROKEN]])
def test_missing_pictures_give_finite_losses_and_gradients(seeing, posts):
    model = seeing.model.train()
    loss = model(seeing.encode(posts, labelled=True)).loss
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_what_stands_in_parts_that_are_not_there_changes_nothing(seeing):
    posts = [POSTS[0], BARE, POSTS[3]]
    batch = seeing.encode(posts)
    if bool(batch.visual.mask[0].all()) and bool(batch.visual.mask[2].all()):
        posts = [BARE, POSTS[0]]
        batch = seeing.encode(posts)
    assert not batch.visual.mask.all()
    with torch.no_grad():
        before = scores_of(seeing.model(batch))
        batch.visual.pixels[~batch.visual.mask] = 37.0
        after = scores_of(seeing.model(batch))
    for row, post in enumerate(posts):
        close(before[row, : len(post.words)], after[row, : len(post.words)])


def test_gradients_reach_the_tower_unless_it_is_frozen(seeing):
    model = seeing.model.train()
    model(seeing.encode(POSTS, labelled=True)).loss.backward()
    tower = {key: p for key, p in model.named_parameters() if key.startswith("vision_encoder.")}
    reached = {key for key, p in tower.items() if p.grad is not None and bool((p.grad != 0).any())}
    assert any("patch_embedding" in key for key in reached)
    for parameter in model.parameters():
        parameter.grad = None
    for parameter in tower.values():
        parameter.requires_grad_(False)
    model(seeing.encode(POSTS, labelled=True)).loss.backward()
    assert all(parameter.grad is None for parameter in tower.values())


def test_kept_vectors_say_the_same_as_pixels(seeing):
    if not seeing.encoder.pictures.inputs.features:
        pytest.skip("reads tokens of the tower layer by layer")
    posts = [*POSTS, LONG_POST, BARE]
    from_pixels = scores(seeing, posts)
    for key, parameter in seeing.model.named_parameters():
        parameter.requires_grad_(not key.startswith("vision_encoder."))
    for _ in range(2):
        batch = seeing.encode(posts)
        assert batch.visual.pixels is None
        with torch.no_grad():
            from_vectors = scores_of(seeing.model(batch))
        for row, post in enumerate(posts):
            close(from_vectors[row, : len(post.words)], from_pixels[row, : len(post.words)])


def test_a_saved_folder_sees_as_before(seeing, tmp_path):
    from mner.recognizer import Recognizer

    seeing.save_pretrained(tmp_path)
    loaded = Recognizer.from_pretrained(tmp_path)
    assert loaded.encoder.pictures.preprocessing == seeing.encoder.pictures.preprocessing
    assert loaded.encoder.pictures.inputs == seeing.encoder.pictures.inputs
    posts = [*POSTS, LONG_POST, BARE]
    assert loaded.predict(posts) == seeing.predict(posts)


def test_a_path_and_its_bytes_are_the_same_picture(seeing, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(POSTS[0].image)
    assert torch.equal(scores(seeing, [POSTS[0].with_fields(image=path)]), scores(seeing, [POSTS[0]]))


def test_regions_and_whole_pictures_are_seen_at_the_size_the_model_wants(seeing):
    from mner.images import open_picture

    reader = seeing.encoder.pictures
    batch = seeing.encode([POSTS[0]])
    image = open_picture(POSTS[0].image).image
    boxes = reader.boxes(POSTS[0], "", None)
    for column, box in enumerate(boxes):
        expected = to_pixels(image, box, reader.inputs.size, reader.preprocessing)
        assert torch.equal(batch.visual.pixels[0, column], expected)


def test_posts_are_read_without_any_picture_at_all(seeing):
    assert len(seeing.predict([BARE, Post.from_text("no one here")])) == 2
