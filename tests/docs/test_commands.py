"""The commands of the pages, run one after the other as a reader would; minutes, so `pytest -m slow`.

A page is run in a folder of its own that has what the pages speak of: data folders of a few posts, pictures, a
knowledge store, finished runs. Where a page asks a server at port 8000, one answers. What cannot be run here says
why in a comment before it: `<!-- not run: reason -->`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mner.serving.application import create_application
from mner.serving.settings import ServingSettings
from tests.contract.tiny import tiny
from tests.docs.pages import Block, blocks
from tests.docs.sandbox import furnish
from tests.knowledge.chat_server import ChatServer, completion
from tests.serving.conftest import serving

# The commands there gave the numbers beside them, with whole data sets and all epochs: hours.
MEASUREMENTS = "docs/results.md"

RUNNABLE = [block for block in blocks("bash", "python") if block.not_run is None]
PAGES = sorted({block.page for block in RUNNABLE} - {MEASUREMENTS})

ASKED = "http://127.0.0.1:8000"


@contextmanager
def answering(page: str) -> Iterator[str]:
    """The address of what a page asks: a recogniser's server, or an endpoint of a language model."""
    if page == "docs/serving.md":
        with serving(create_application(tiny("bert-crf"), ServingSettings(page=False))) as (address, _):
            yield address.rstrip("/")
    else:
        # An empty list is what a model may answer to any question here.
        with ChatServer(lambda _: completion('{"entities": []}')) as server:
            yield server.address.removesuffix("/v1")


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
def test_a_page_can_be_followed(page, tmp_path):
    page_blocks = [block for block in RUNNABLE if block.page == page]
    if shutil.which("curl") is None and any("curl " in block.text for block in page_blocks):
        pytest.skip("there is no curl")
    furnish(tmp_path, page_blocks)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join((str(tmp_path / "programs"), os.environ["PATH"])),
        "HF_HUB_OFFLINE": "1",
    }
    with answering(page) as address:
        result = subprocess.run(
            ["bash", "-c", commands_of(page_blocks).replace(ASKED, address)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1100,
            check=False,
        )
    assert result.returncode == 0, f"{result.stdout[-1000:]}\n{result.stderr[-3000:]}"
    assert "Traceback" not in result.stderr
