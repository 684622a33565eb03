"""A long stream of posts: how fast, and how much memory it takes at its end beyond its beginning.

python benchmarks/streaming.py --model RUN [--data FOLDER] [--posts 100000] [--dtype float32]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

from mner.data import read_folder
from mner.posts import Post
from mner.recognizer import Recognizer


def resident_megabytes() -> float:
    """The memory that this process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads /proc, which is not here")


def varied(posts: list[Post], count: int) -> Iterator[Post]:
    """Posts without end, with numbers in them that were not seen before, so that no cache has them all."""
    order = random.Random(1)
    for number in range(count):
        post = order.choice(posts)
        yield Post.from_text(f"{post.text} no{number}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, default=Path("examples/posts"))
    parser.add_argument("--posts", type=int, default=100_000)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    recognizer = Recognizer.from_pretrained(options.model, dtype=options.dtype)
    posts = [post for split in read_folder(options.data).splits.values() for post in split]
    early = None
    entities = 0
    start = time.perf_counter()
    stream = recognizer.stream(varied(posts, options.posts))
    for number, found in enumerate(stream, 1):
        entities += len(found)
        if number == min(10_000, options.posts // 10):
            early = resident_megabytes()
    seconds = time.perf_counter() - start
    late = resident_megabytes()
    assert early is not None
    print(
        json.dumps(
            {
                "posts": options.posts,
                "entities": entities,
                "posts a second": round(options.posts / seconds, 1),
                "megabytes at a tenth": round(early, 1),
                "megabytes at the end": round(late, 1),
                "growth": round(late - early, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
