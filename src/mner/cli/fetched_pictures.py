"""Pictures that posts in JSONL name by an address: fetched once, kept beside the store of knowledge."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mner.cli.console import bars
from mner.data.files import writing
from mner.errors import UsageError
from mner.fetching import fetch_bytes
from mner.images import is_url, open_picture
from mner.posts import Post

Fetch = Callable[[str], tuple[bytes | None, str | None]]


def with_fetched_pictures(
    posts: Sequence[Post],
    path: Path,
    images: Path | None,
    store: Path,
    fetch: Fetch = fetch_bytes,
) -> tuple[list[Post], Path]:
    """Posts with the pictures that they name by an address, and a file of posts that name them by file.

    What is known about a picture is found by its bytes, so whoever reads the posts again needs the files.

    Args:
        posts: The first posts of the file, or all.
        path: The JSONL file that they come from.
        images: The folder that its relative paths start from; its own where None.
        store: The store; pictures are kept in the folder of its name and ``.pictures``.
        fetch: Gives an address's bytes, or None and the reason.

    Returns:
        The posts, and the file: all lines of `path`, with fetched pictures in the place of their addresses.
        It has the name of `path`, and stands with those of the other files of its folder: the splits of a
        data folder make one again.

    Raises:
        UsageError: The posts are not in JSONL.
        DataError: A picture or the file cannot be written.
    """
    if path.suffix.lower() != ".jsonl":
        raise UsageError("Only posts in JSONL name pictures by an address.", hint="Leave out --allow-urls.")
    lines = path.read_bytes().decode("utf-8-sig").split("\n")
    records = [json.loads(line) for line in lines if line.strip()]
    folder = store.with_name(store.name + ".pictures")
    found = []
    with bars("fetching pictures", len(posts)) as advance:
        for post, record in zip(posts, records, strict=False):
            url = _address(record)
            if url is not None:
                target = _place(folder, url)
                problem = None if target.exists() else _fetch_into(target, url, fetch)
                post = post.with_fields(image=None if problem else target, image_problem=problem)
            found.append(post)
            advance(1)
    return found, _write_local(records, path, images, folder)


def _fetch_into(target: Path, url: str, fetch: Fetch) -> str | None:
    """Fetch a picture to a file, or say why there is none: then nothing is written, and it is asked again."""
    content, problem = fetch(url)
    if content is None:
        return problem
    # A page to log in, or nothing at all, may come as an answer like any other.
    if (opened := open_picture(content)).problem is not None:
        return f"what the address gives is no picture: {opened.problem}"
    with writing(target, overwrite=True) as file:
        file.write(content)
    return None


def _write_local(records: list[dict[str, Any]], path: Path, images: Path | None, folder: Path) -> Path:
    base = (images or path.parent).resolve()
    # Files of several folders may have the same name.
    mark = hashlib.sha256(os.fsencode(path.parent.resolve())).hexdigest()[:8]
    local = folder / mark / path.name
    for record in records:
        name, url = record.get("image"), _address(record)
        if url is not None:
            if _place(folder, url).exists():
                record["image"] = f"../{_place(folder, url).name}"
        elif name is not None and not is_url(name):
            record["image"] = Path(os.path.relpath(base / name, local.parent.resolve())).as_posix()
    with writing(local, overwrite=True) as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in records)
    return local


def _address(record: dict[str, Any]) -> str | None:
    """The address of a post's picture. Other fields may hold addresses too: the post's own, say."""
    value = record.get("image")
    is_address = isinstance(value, str) and value.startswith(("http://", "https://")) and " " not in value
    return value if is_address else None


def _place(folder: Path, url: str) -> Path:
    return folder / hashlib.sha256(url.encode()).hexdigest()
