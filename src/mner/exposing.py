"""What a model shows of its working about posts, as named arrays: attention, gates, saliency, relevance.

Every model says in `MnerModel.exposes` which arrays these are and what their axes stand for; its `forward`
says what they mean, with the equations of its paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from mner.encoding import Batch, PostEncoder
from mner.errors import UsageError
from mner.models import MnerModel
from mner.posts import Post

Arrays = dict[str, NDArray[np.generic]]
"""Arrays by name."""


@torch.inference_mode()
def exposed_arrays(model: MnerModel, encoder: PostEncoder, posts: Sequence[Post]) -> list[Arrays]:
    """What a model shows of posts, which it reads as one batch.

    Args:
        model: The model.
        encoder: The encoder of posts that fits it.
        posts: The posts. A model that compares posts with one another (MGIPS-CL) compares these.

    Returns:
        For each post the arrays that `MnerModel.exposes` names, without the axis of posts and padding; and as
        texts ``words``, and ``<kind>_pieces`` for each text beside the post that the model reads: what the
        axes of those names stand for.
    """
    if not posts:
        return []
    was_training = model.training
    model.eval()
    try:
        batch = encoder.encode(posts).to(model.device)
        shown = model(batch, expose=True).exposed
    finally:
        model.train(was_training)
    undeclared = shown.keys() - model.exposes.keys()
    assert not undeclared, undeclared
    found: list[Arrays] = []
    for row, post in enumerate(posts):
        sizes = {"words": len(post.words)}
        arrays: Arrays = {"words": np.array(post.words, dtype=np.str_)}
        for kind, pieces in _pieces(batch, encoder, row).items():
            sizes[kind] = len(pieces)
            arrays[f"{kind}_pieces"] = np.array(pieces, dtype=np.str_)
        for name, values in shown.items():
            kept = tuple(slice(sizes.get(axis)) for axis in model.exposes[name])
            # bfloat16 is no type of numpy's.
            own = values[row][kept]
            arrays[name] = (own.float() if own.is_floating_point() else own).cpu().numpy()
        found.append(arrays)
    return found


def _pieces(batch: Batch, encoder: PostEncoder, row: int) -> Mapping[str, list[str]]:
    if not batch.knowledge:
        return {}
    assert encoder.tokenizer is not None
    convert = encoder.tokenizer.convert_ids_to_tokens
    return {
        kind: list(convert(block.input_ids[row, block.attention_mask[row]].tolist()))
        for kind, block in batch.knowledge.items()
    }


def write_arrays(path: Path, posts: Iterable[tuple[str, Arrays]]) -> int:
    """Write arrays of posts as a file that `numpy.load` opens, one post after another.

    Args:
        path: The ``.npz`` file.
        posts: For each post its id and its arrays. They are named ``<number>/<name>``, the number of the post
            from 0; ``<number>/id`` is its id.

    Returns:
        How many posts were written.

    Raises:
        UsageError: The file cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    number = -1
    try:
        with ZipFile(draft, "w", ZIP_DEFLATED) as archive:
            for number, (identity, arrays) in enumerate(posts):
                for name, values in {"id": np.array(identity), **arrays}.items():
                    with archive.open(f"{number}/{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asarray(values), allow_pickle=False)
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", got=str(error)) from error
    return number + 1
