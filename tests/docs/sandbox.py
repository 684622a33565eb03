"""The folder in which a page's commands are run: what the pages speak of, and small."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mner.data import read_folder, write_folder, write_jsonl
from mner.data.dataset import Dataset
from mner.evaluation.probe_backbones import write_backbones
from mner.knowledge.making import make_knowledge
from mner.knowledge.registry import provider_named
from mner.knowledge.store import KnowledgeStore
from mner.posts import Post
from mner.training.recipe import read_recipe
from mner.training.run import train
from tests.contract.tiny import BUILDERS, tiny, tiny_picture
from tests.docs.pages import ROOT, Block

# What stands for a reader's own folder in the pages, and the field's sets.
DATA = (
    "FOLDER",
    "conll",
    "conll2003",
    "crossner/politics",
    "data/twitter2015",
    "data/twitter2017",
    "twitter2017",
)
POSTS = ("posts.jsonl", "a.jsonl", "b.jsonl")
PICTURES = ("game.jpg", "poster.jpg")

SIZES = {"train": 48, "valid": 16, "test": 16}
EXAMPLES = 60

# A post of Twitter-2017 that a page names, and where it stands in the test posts here: it has a name in it.
NAMED_POST, NAMED_PLACE = "16_05_01_266", 1

TABLE = """
title = "A table"
[data.conll2003]
[data.twitter2015]
[[rows]]
name = "CNN-BiLSTM-CRF"
recipe = "recipes/text-baselines/cnn-bilstm-crf.toml"
"""

# Every page's commands as they stand there; of the generated posts a few are enough, and a recogniser that saw
# them once falls short of what is asked of it, as the command says with its exit status.
MNER = """#!/bin/sh
case "$1 $2" in
"probe-set make") set -- "$@" --train 120 --valid 60 --test 60 ;;
"probe-set score") "{python}" -m mner "$@" || [ $? -eq 1 ]; exit $? ;;
esac
exec "{python}" -m mner "$@"
"""
PROGRAMS = {
    "mner": MNER,
    "python": '#!/bin/sh\nexec "{python}" "$@"\n',
    # A refusal is a failure here, where a reader would see what it says.
    "curl": '#!/bin/sh\nexec "{curl}" --fail-with-body "$@"\n',
    "torchrun": '#!/bin/sh\nexec "{python}" -m torch.distributed.run "$@"\n',
}


def few_posts() -> Dataset:
    """A few of the project's posts, numbered from 0, every second one with a picture beside it."""
    whole = read_folder(ROOT / "examples" / "posts")
    splits, before = {}, 0
    for split, size in sorted(SIZES.items()):
        posts = [post for post in whole.split(split) if post.gold()][:size]
        splits[split] = [_pictured(post, before + number) for number, post in enumerate(posts)]
        before += size
    return Dataset("few", splits)


def _pictured(post: Post, number: int) -> Post:
    name = NAMED_POST if number == NAMED_PLACE else str(number)
    if number % 2 == 0:
        return post.with_fields(id=name)
    # Few pictures that differ: an equal one is looked at once.
    return post.with_fields(id=name, image=tiny_picture(number % 16), alt="a street with people")


def furnish(folder: Path, page_blocks: Sequence[Block]) -> None:
    """Put into a folder what the blocks speak of.

    Args:
        folder: An empty folder.
        page_blocks: The blocks that are to be run in it, in their order.
    """
    text = "\n".join(block.text for block in page_blocks)
    _programs(folder / "programs")
    for name in ("constraints.txt", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    _recipes(folder)
    posts = few_posts()
    for name in DATA:
        _data(posts, folder / name)
    (folder / "pictures").symlink_to(folder / "FOLDER")
    for name in POSTS:
        write_jsonl(_beside(posts, folder / "FOLDER").split("test"), folder / name)
    for name in PICTURES:
        (folder / name).write_bytes(tiny_picture(len(name)))
    (folder / "captions.txt").write_text(
        "".join(
            f"{post.id}.png :a street, seen from house number {post.id}\n"
            for split in posts.splits.values()
            for post in split
            if post.image is not None
        )
    )
    _stores(posts, folder, text)
    _runs(folder, text)


def _programs(folder: Path) -> None:
    """The commands of an installation, from this one."""
    folder.mkdir()
    for name, script in PROGRAMS.items():
        for program, path in (("{python}", sys.executable), ("{curl}", shutil.which("curl") or "curl")):
            script = script.replace(program, path)
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def _recipes(folder: Path) -> None:
    """The recipes and the examples: one epoch of each, and the first posts."""
    for name in ("recipes", "examples"):
        shutil.copytree(ROOT / name, folder / name)
        for path in (folder / name).rglob("*.toml"):
            recipe = path.read_text(encoding="utf-8")
            path.write_text(re.sub(r"\b(epochs|evaluate_from) = \d+", r"\1 = 1", recipe), encoding="utf-8")
    for path in (folder / "examples" / "posts").glob("*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:EXAMPLES]), encoding="utf-8")
    (folder / "TABLE.toml").write_text(TABLE)


def _beside(posts: Dataset, folder: Path) -> Dataset:
    """The posts with their pictures in files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, of_split in posts.splits.items():
        splits[split] = []
        for post in of_split:
            if isinstance(post.image, bytes):
                picture = folder / f"{post.id}.png"
                picture.write_bytes(post.image)
                post = post.with_fields(image=picture)
            splits[split].append(post)
    return Dataset(posts.name, splits)


def _data(posts: Dataset, folder: Path) -> None:
    write_folder(_beside(posts, folder), folder)


def _stores(posts: Dataset, folder: Path, text: str) -> None:
    """The knowledge stores that are named and that the page does not make itself."""
    made = re.findall(r"knowledge (?:make|import) [^\n]*--store (\S+\.sqlite)", text)
    for name in sorted({name for name in re.findall(r"\w+\.sqlite", text) if name not in made}):
        with KnowledgeStore(folder / name) as store:
            everything = [post for split in posts.splits.values() for post in split]
            make_knowledge(everything, provider_named("alt"), store)


def _runs(folder: Path, text: str) -> None:
    """The runs that are named and not made: tiny recognisers, and trained ones where several are compared."""
    made = re.findall(r"(?:--output|--to|make|backbones) (runs/[\w/-]+)", text)
    for run in sorted(set(re.findall(r"runs/[\w/-]+[?*]?", text)) - set(made)):
        found = re.fullmatch(rf"runs/({'|'.join(BUILDERS)})(-[?*])?", run)
        if found is None:
            continue
        kind, several = found.groups()
        if several:
            _trained(folder, kind)
        else:
            tiny(kind).save_pretrained(folder / run)


def _trained(folder: Path, kind: str) -> None:
    """Runs of two seeds, of a system with a threshold also with two values of it."""
    backbones = folder / "backbones"
    if not backbones.exists():
        write_backbones(backbones)
    recipe = ROOT / "recipes" / "probe" / f"{kind}.toml"
    changes = [
        f'data.folder="{folder / "FOLDER"}"',
        f'model.backbone="{backbones / "bert"}"',
        "training.epochs=2",
        "training.evaluate_from=1",
    ]
    if "vision_backbone" in recipe.read_text(encoding="utf-8"):
        changes.append(f'model.vision_backbone="{backbones / "clip"}"')
    with KnowledgeStore(backbones / "empty.sqlite"):
        changes.append(f'knowledge.store="{backbones / "empty.sqlite"}"')
    for seed in (1, 2):
        of_kind = [f"model.threshold={0.2 * seed}"] if kind == "mmavk" else []
        settings = [*changes, *of_kind, f"training.seed={seed}"]
        train(read_recipe(recipe, settings), folder / "runs" / f"{kind}-{seed}")
