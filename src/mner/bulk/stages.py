"""What the workers of a cluster do: read a part, give posts their knowledge, predict them.

Imported by every worker, so what is heavy is imported by the workers that need it.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mner.bulk.cutting import Part
from mner.bulk.reading import Item
from mner.knowledge.supplying import KnowledgeSettings
from mner.posts import Post

NOTHING = "\0nothing"
"""The problem of the one item that stands for a part without any."""


@dataclass(frozen=True)
class KnowledgeWork:
    """Where knowledge about the posts comes from on a cluster.

    Args:
        store: A store that all machines see; it is only read.
        providers: Providers that are asked on the workers, by name, with their options; they must not send
            posts elsewhere.
        read_pictures: Read what stands in pictures of which nothing else is known, where the model wants it.
    """

    store: Path | None = None
    providers: Sequence[tuple[str, Mapping[str, Any]]] = field(default_factory=tuple)
    read_pictures: bool = False


def read_part(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The posts of a part, a row each; the part is pickled under ``part``."""
    part: Part = pickle.loads(row["part"])
    items = list(part.items())
    # A part whose lines are all blank is answered too, so that none is missing.
    for item in items or [Item(part.start.line, None, NOTHING)]:
        yield {"part": part.number, "items": len(items), "item": pickle.dumps(item)}


def _unpacked(batch: Any) -> list[Item]:
    return [pickle.loads(item) for item in batch.column("item").to_pylist()]


def _repacked(batch: Any, items: Sequence[Any]) -> Any:
    import pyarrow

    column = pyarrow.array([pickle.dumps(item) for item in items], pyarrow.binary())
    return batch.set_column(batch.schema.get_field_index("item"), "item", column)


class KnowledgeWorker:
    """Gives posts their knowledge.

    Args:
        work: Where it comes from.
        settings: Which of it the recogniser wants.
        inputs: What the model reads.
    """

    def __init__(self, work: KnowledgeWork, settings: KnowledgeSettings, inputs: Any) -> None:
        from mner.knowledge.registry import provider_named

        self.work = work
        self.settings = settings
        self.reader: Any = None
        if work.read_pictures:
            from mner.reading import TextReader

            self.reader = TextReader(inputs)
        self.providers = [provider_named(name, **options) for name, options in work.providers]

    def __call__(self, batch: Any) -> Any:
        """A batch of items with what is known about them."""
        items = _unpacked(batch)
        told = iter(self.tell([item.post for item in items if item.post is not None]))
        return _repacked(
            batch, [item if item.post is None else Item(item.line, next(told)) for item in items]
        )

    def tell(self, posts: list[Post]) -> list[Post]:
        """Posts with what the store has about them, then with what the providers say."""
        from mner.knowledge.making import make_knowledge
        from mner.knowledge.store import KnowledgeStore

        if self.work.store is not None:
            posts = list(self.settings.supply(posts, self.work.store))
        if self.providers and posts:
            with (
                tempfile.TemporaryDirectory(prefix="mner-") as folder,
                KnowledgeStore(Path(folder) / "knowledge.sqlite") as store,
            ):
                for provider in self.providers:
                    make_knowledge(posts, provider, store)
                posts = list(self.settings.supply(posts, store))
        return posts if self.reader is None else list(map(self.reader.add, posts))


class PredictionWorker:
    """Predicts posts.

    Args:
        parcel: The recogniser.
    """

    def __init__(self, parcel: ModelParcel) -> None:
        self.recognizer = parcel.open()

    def __call__(self, batch: Any) -> Any:
        """A batch of items with their answers; pictures stay behind."""
        items = _unpacked(batch)
        posts = [item.post for item in items if item.post is not None]
        answers = iter(zip(posts, self.recognizer.predict(posts), strict=True))
        answered: list[Any] = []
        for item in items:
            if item.post is None:
                answered.append((item, None))
                continue
            post, entities = next(answers)
            kept = None if isinstance(post.image, bytes) else post.image
            answered.append((Item(item.line, None), (post.with_fields(image=kept, knowledge=()), entities)))
        return _repacked(batch, answered)


@dataclass(frozen=True)
class ModelParcel:
    """A recogniser on its way to other machines.

    Args:
        name: Its folder or name here.
        files: The files of its folder; none where the workers know the name.
        device: Where to compute.
        dtype: In which type.
        digest: What tells it from every other.
        knowledge: Which knowledge it was trained with.
        reads_pictures: Whether a missing picture is worth a note.
        reads_text: Whether it would use the text in a picture, and that can be read.
        inputs: What the model reads.
    """

    name: str
    files: Mapping[str, bytes]
    device: str
    dtype: str
    digest: str
    knowledge: KnowledgeSettings
    reads_pictures: bool
    reads_text: bool
    inputs: Any

    @classmethod
    def of(cls, model: Path | str, device: str, dtype: str) -> ModelParcel:
        """Pack a recogniser; it is loaded once here, so that what is wrong with it is said here."""
        from mner.bulk.running import fingerprint
        from mner.recognizer import Recognizer

        recognizer = Recognizer.from_pretrained(model, device="cpu")
        folder = Path(model)
        files = {}
        if folder.is_dir():
            kept = (".safetensors", ".json", ".txt", ".model")
            files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.suffix in kept}
        digest = f"{fingerprint(recognizer)} {dtype}"
        return cls(
            str(model),
            files,
            device,
            dtype,
            digest,
            recognizer.knowledge,
            recognizer.model.reads_pictures,
            recognizer.text_reader.reads,
            recognizer.encoder.inputs,
        )

    def open(self) -> Any:
        """The recogniser, unpacked where this process runs."""
        from mner.recognizer import Recognizer

        if not self.files:
            return Recognizer.from_pretrained(self.name, device=self.device, dtype=self.dtype)
        with tempfile.TemporaryDirectory(prefix="mner-") as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            return Recognizer.from_pretrained(folder, device=self.device, dtype=self.dtype)
