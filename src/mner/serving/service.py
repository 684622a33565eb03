"""What requests and the page have in common: a checked post goes in, its entities come out in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from mner.posts import Entity, Knowledge, Post
from mner.reading import TextReader
from mner.recognizer import Recognizer
from mner.serving import pictures
from mner.serving.batching import Batcher, QueueClosedError, QueueFullError
from mner.serving.explaining import Explanation, explain
from mner.serving.logs import log
from mner.serving.metrics import Metrics
from mner.serving.refusals import Refusal, busy, leaving, too_large, too_late, unreadable
from mner.serving.settings import ServingSettings

# Pictures that are decoded at the same time; each may fill three bytes a pixel.
DECODING_THREADS = 2
# Pictures that are decoded or wait, decoded, for the one thread that reads their texts.
_READABLE = 2 * DECODING_THREADS

Result = TypeVar("Result")


@dataclass(frozen=True)
class Draft:
    """A post as it came, not checked yet.

    Args:
        text: The text.
        image: The bytes of the picture's file, or None.
        alt: The picture's alternative text.
        id: The sender's name for the post.
        where: What to call the post in messages: nothing for a single one, ``posts.3.`` for the fourth.
    """

    text: str
    image: bytes | None = None
    alt: str | None = None
    id: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Recognised:
    """A post with its entities, and with what was read in its picture."""

    post: Post
    entities: Sequence[Entity]
    read: Knowledge | None = None


class RecognitionService:
    """Checks posts, reads their pictures' texts, and has them recognised in batches.

    Args:
        recognizer: The recogniser; it is used by one thread.
        settings: How to work.
    """

    def __init__(self, recognizer: Recognizer, settings: ServingSettings) -> None:
        self.recognizer = recognizer
        self.settings = settings
        self.limits = settings.limits
        self.metrics = Metrics()
        self.reader = TextReader(recognizer.encoder.inputs) if settings.read_pictures else None
        self.batcher: Batcher[Post, list[Entity]] = Batcher(
            recognizer.predict,
            most=settings.batch_posts,
            weigh=lambda post: len(post.text),
            heaviest=settings.batch_characters,
            wait=settings.batch_wait,
            room=self.limits.queue_posts,
            observe=self.metrics.batch,
        )
        self.metrics.watch(lambda: self.batcher.held)
        self.is_leaving = False

    @property
    def is_ready(self) -> bool:
        """Whether posts are accepted now."""
        return self.batcher.is_working and not self.is_leaving

    @property
    def reads_pictures(self) -> bool:
        """Whether the picture can change what is recognised."""
        inputs = self.recognizer.encoder.inputs
        return inputs.picture is not None or (self.reader is not None and self.reader.reads)

    async def start(self) -> None:
        """Begin to work; the first post is recognised here, so that no client pays for what it warms up."""
        # One reads pictures' texts, so that a picture does not hold up the posts without one.
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._decoding = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decoding")
        self._readable = asyncio.Semaphore(_READABLE)
        self.batcher.start()
        await self.batcher.submit([Post.from_text("Ada reads in London")])
        if self.reader is not None and self.reader.problem is not None:
            log("pictures are not read", problem=self.reader.problem)

    async def close(self) -> None:
        """Finish what has been accepted, and end."""
        self.is_leaving = True
        await self.batcher.close()
        self._reading.shutdown()
        self._decoding.shutdown()

    async def recognise(self, drafts: Sequence[Draft]) -> list[Recognised]:
        """The entities of posts.

        Raises:
            Refusal: A post is beyond a limit or cannot be read, there is no room, or it took too long.
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._recognise(drafts)
        except TimeoutError:
            raise too_late(self.limits.seconds) from None

    async def explain(self, found: Recognised) -> Explanation | None:
        """Where the recogniser looked for each entity of a post, as far as its system shows that."""
        if not found.entities or (found.post.image is None and not found.post.alt):
            return None
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self.batcher.run(lambda: explain(self.recognizer, found.post, found.entities))
        except TimeoutError:
            raise too_late(self.limits.seconds) from None
        except QueueClosedError:
            raise leaving() from None

    async def decoding(self, work: Callable[[], Result]) -> Result:
        """What work with pictures or files gives; it is done on the threads that decode, a few at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._decoding, work)

    async def _recognise(self, drafts: Sequence[Draft]) -> list[Recognised]:
        self._check_sizes(drafts)
        if self.batcher.held + len(drafts) > self.limits.queue_posts:
            # Before anything is decoded for nothing.
            raise busy(1)
        prepared = []
        pixels = 0
        for draft in drafts:
            post, read, seen = await self._prepared(draft)
            pixels += seen
            if pixels > self.limits.request_pixels:
                raise too_large(
                    f"The pictures have more than {self.limits.request_pixels} pixels together.",
                    "Send smaller pictures, or the posts in several requests.",
                )
            prepared.append((post, read))
        try:
            results = await self.batcher.submit([post for post, _ in prepared])
        except QueueFullError as error:
            raise busy(error.retry_after) from None
        except QueueClosedError:
            raise leaving() from None
        for entities in results:
            for entity in entities:
                self.metrics.entities.labels(entity.label).inc()
        return [
            Recognised(post, entities, read) for (post, read), entities in zip(prepared, results, strict=True)
        ]

    def _check_sizes(self, drafts: Sequence[Draft]) -> None:
        if len(drafts) > self.limits.posts:
            raise too_large(
                f"The request has {len(drafts)} posts, and at most {self.limits.posts} are accepted.",
                "Send them in several requests.",
            )
        characters = sum(len(draft.text) + len(draft.alt or "") for draft in drafts)
        if characters > self.limits.characters:
            raise too_large(
                f"The texts have {characters} characters, and at most {self.limits.characters} are accepted "
                "in a request.",
                "Send them in several requests.",
            )
        for draft in drafts:
            if len(draft.text) > self.limits.post_characters:
                raise too_large(
                    f"{draft.where}text: it has {len(draft.text)} characters, and at most "
                    f"{self.limits.post_characters} are accepted in a post.",
                    "Send it in parts.",
                )
            for field, text in (("text", draft.text), ("alt", draft.alt), ("id", draft.id)):
                _check_text(text, draft.where + field)

    async def _prepared(self, draft: Draft) -> tuple[Post, Knowledge | None, int]:
        post = Post.from_text(draft.text, id=draft.id or "", image=draft.image, alt=draft.alt or None)
        if draft.image is None:
            return post, None, 0
        content, where = draft.image, draft.where + "image"

        def decoded() -> Image.Image:
            image = pictures.opened(content, where, self.limits.pixels).image
            assert image is not None
            return image

        # The model opens it again when it gets to it: decoded pictures that wait would fill the memory.
        read = None
        if self.reader is not None and self.reader.wants(post):
            read, (width, height) = await self._read(self.reader, content, decoded)
            if read is not None:
                post = post.with_fields(knowledge=(*post.knowledge, read))
        else:
            width, height = await self.decoding(lambda: decoded().size)
        return self.recognizer.knowledge.without_placeholders(post), read, width * height

    async def _read(
        self, reader: TextReader, content: bytes, decoded: Callable[[], Image.Image]
    ) -> tuple[Knowledge | None, tuple[int, int]]:
        """The text in a picture, and the picture's size."""
        # Two threads decode and one reads, slowly: without a bound decoded pictures would gather before it.
        async with self._readable:
            waiting = [await self.decoding(decoded)]
            size = waiting[0].size
            began = time.perf_counter()
            try:
                read = await asyncio.get_running_loop().run_in_executor(
                    self._reading, lambda: reader.read(content, waiting.pop())
                )
            finally:
                # What was given up stays in the thread's queue until its turn; the picture shall not.
                waiting.clear()
            self.metrics.reading_seconds.observe(time.perf_counter() - began)
            return read, size


def _check_text(text: str | None, where: str) -> None:
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise unreadable(
            where,
            f"half of a surrogate pair stands at character {error.start}",
            "The text was cut inside an emoji, most likely; cut it elsewhere.",
        ) from None


def as_record(found: Recognised) -> dict[str, object]:
    """A post and its entities as JSON writes them."""
    record: dict[str, object] = {"id": found.post.id} if found.post.id else {}
    record["text"] = found.post.text
    record["entities"] = [entity.as_dict() for entity in found.entities]
    if found.read is not None:
        record["knowledge"] = [
            {"kind": found.read.kind, "text": found.read.text or "", "origin": found.read.origin}
        ]
    return record


__all__ = ["Draft", "Recognised", "RecognitionService", "Refusal", "as_record"]
