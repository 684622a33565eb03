"""What stands in a post's picture, read before a recogniser that was trained to know it sees the post."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict

from PIL import Image

from mner.encoding import Inputs
from mner.errors import MissingExtraError
from mner.images import count_reason, listed_reasons, open_picture
from mner.knowledge.provider import Question
from mner.knowledge.providers.ocr import OcrProvider
from mner.posts import Knowledge, Post

_KIND = "ocr"
# Pictures that are sent again (a page shows the same post with another text) are not read again.
_KEPT = 256
_MOST_REASONS = 100


class TextReader:
    """Reads the text in pictures; to be used by one thread.

    Args:
        inputs: What the model asks for, from which it is seen whether and when to read.
    """

    def __init__(self, inputs: Inputs) -> None:
        wanted = [tuple(inputs.alternatives.get(kind, (kind,))) for kind in inputs.knowledge]
        # What is preferred to the text in the picture, for each place where that may stand.
        self._preferred = [kinds[: kinds.index(_KIND)] for kinds in wanted if _KIND in kinds]
        self.problem: str | None = None
        self._provider: OcrProvider | None = None
        self._kept: OrderedDict[str, Knowledge | None] = OrderedDict()
        self._unreadable: Counter[str] = Counter()
        if self._preferred:
            try:
                self._provider = OcrProvider()
            except MissingExtraError as error:
                self.problem = str(error)

    @property
    def reads(self) -> bool:
        """Whether pictures are read at all."""
        return self._provider is not None

    def wants(self, post: Post) -> bool:
        """Whether the text in this post's picture would be used: it has one, and nothing better."""
        if self._provider is None or post.image is None or post.known(_KIND) is not None:
            return False
        return not all(any(_has(post, kind) for kind in kinds) for kinds in self._preferred)

    def add(self, post: Post) -> Post:
        """A post with the text in its picture, where that would be used and can be read."""
        if not self.wants(post):
            return post
        opened = open_picture(post.image)
        if opened.image is None or opened.key is None:
            count_reason(self._unreadable, opened.problem or "no picture", _MOST_REASONS)
            return post
        found = self._found(opened.key, opened.image)
        return post if found is None else post.with_fields(knowledge=(*post.knowledge, found))

    @property
    def summary(self) -> str | None:
        """How many posts were taken without their picture, and why; None where all were read."""
        if not self._unreadable:
            return None
        count = sum(self._unreadable.values())
        posts = "One post was" if count == 1 else f"{count} posts were"
        return (
            f"{posts} taken without a picture, which could not be read: {listed_reasons(self._unreadable)}."
        )

    def read(self, content: bytes, picture: Image.Image) -> Knowledge | None:
        """The text in a picture, or None where there is none.

        Args:
            content: The bytes of the picture's file.
            picture: The picture.
        """
        return self._found(hashlib.sha256(content).hexdigest(), picture)

    def _found(self, key: str, picture: Image.Image) -> Knowledge | None:
        assert self._provider is not None
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        (answer,) = self._provider.answer([Question(Post.from_text(""), picture, key)])
        found = answer.knowledge
        self._kept[key] = found if found is not None and found.text else None
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def _has(post: Post, kind: str) -> bool:
    if kind == "alt":
        return bool(post.alt and post.alt.strip())
    known = post.known(kind)
    return known is not None and bool(known.text)
