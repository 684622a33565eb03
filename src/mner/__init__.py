"""Multimodal named entity recognition: a post, its text and its picture, goes in; entities come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mner.errors import MnerError
from mner.posts import Entity, Knowledge, Post, Region

if TYPE_CHECKING:
    from mner.recognizer import Recognizer

__version__ = "0.1.0"

__all__ = ["Entity", "Knowledge", "MnerError", "Post", "Recognizer", "Region", "__version__"]


def __getattr__(name: str) -> Any:
    # The recogniser brings torch; `import mner` alone must not.
    if name == "Recognizer":
        from mner.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module 'mner' has no attribute {name!r}")
