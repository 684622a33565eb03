"""The commands of the pages, run one after the other as a reader would; minutes, so `pytest -m slow`.

A page is run in a folder of its own that has what the pages speak of: data folders of a few posts, pictures, a
knowledge store, finished runs. What cannot be run here says why in a comment before it:
`<!-- not run: reason -->`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mner.data import read_folder, write_folder
from mner.data.dataset import Dataset
from mner.posts import Knowledge, Post
from tests.contract.tiny import BUILDERS, tiny_picture, tiny_regions
from tests.docs.pages import ROOT, Block, blocks

RUNNABLE = [block for block in blocks("bash", "python") if block.not_run is None]
PAGES = sorted({block.page for block in RUNNABLE})

# What stands for a reader's own folder in the pages, and the field's sets.
DATA = ("FOLDER", "data/twitter2017", "data/twitter2015", "twitter2017", "twitter2015")
POSTS = ("posts.jsonl", "a.jsonl", "b.jsonl")
PICTURES = ("game.jpg", "poster.jpg")


def pictured(post: Post, number: int, folder: Path) -> Post:
    """A post with a picture and what is known about it, every second one."""
    if number % 2 == 0:
        return post
    picture = folder / f"{post.id}.png"
    picture.write_bytes(tiny_picture(number))
    known = (
        Knowledge("caption", "a street with people"),
        Knowledge("reasoning", "a place\na person"),
        Knowledge("relevance", score=0.8),
        tiny_regions((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)),
    )
    return Post.from_words(
        post.words, id=post.id, tags=post.tags, image=picture, knowledge=known, alt="a street"
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A few of the project's posts, half of them with pictures."""
    pictures = tmp_path_factory.mktemp("pictures")
    whole = read_folder(ROOT / "examples" / "posts")
    sizes = {"train": 60, "valid": 16, "test": 16}
    return Dataset(
        "few",
        {
            name: [pictured(post, number, pictures) for number, post in enumerate(whole.split(name)[:count])]
            for name, count in sizes.items()
        },
    )


def furnish(folder, few, page_blocks: list[Block]) -> None:
    """Put into a folder what the pages speak of."""
    (folder / "recipes").symlink_to(ROOT / "recipes")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for name in ("constraints.txt", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    for name in DATA:
        write_folder(few, folder / name)
    for name in POSTS:
        shutil.copy(folder / "FOLDER" / "test.jsonl", folder / name)
    for name in PICTURES:
        (folder / name).write_bytes(tiny_picture(len(name)))
    text = "".join(block.text for block in page_blocks)
    made = set(re.findall(r"--output[ =](runs/[\w-]+)", text))
    for run in sorted(set(re.findall(r"runs/[\w-]+", text)) - made):
        kind = run.removeprefix("runs/")
        name = next((known for known in sorted(BUILDERS, key=len, reverse=True) if known in kind), "bert-crf")
        BUILDERS[name](name).save_pretrained(folder / run)


def commands_of(page_blocks: list[Block]) -> str:
    """One script: the shell's blocks as they stand, Python's as programs."""
    parts = ["set -euo pipefail"]
    for block in page_blocks:
        parts.append(f"echo '== {block.name}' >&2")
        if block.language == "python":
            parts.append(f"python - <<'END_OF_PROGRAM'\n{block.text}\nEND_OF_PROGRAM")
        else:
            parts.append(block.text)
    return "\n".join(parts)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page, few, tmp_path):
    page_blocks = [block for block in RUNNABLE if block.page == page]
    furnish(tmp_path, few, page_blocks)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, words in (("mner", "-m mner"), ("python", ""), ("torchrun", "-m torch.distributed.run")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
        "HF_HUB_OFFLINE": "1",
    }
    result = subprocess.run(
        ["bash", "-c", commands_of(page_blocks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
