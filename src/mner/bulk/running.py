"""Predicting a whole file: in constant memory, in order, and from where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mner import __version__
from mner.bulk.formats import OutputFormat, output_format
from mner.bulk.journal import Journal, Pipe, refuse_overlap
from mner.bulk.reading import MOST_CHARACTERS, Item, Reader, open_input
from mner.errors import DataError, UsageError
from mner.knowledge.store import KnowledgeStore
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.recognizer import BATCH_POSTS, STREAM_WINDOW, Recognizer

# A piece of work also ends when its posts together are this long, so that memory stays what it is whatever
# the posts are like.
_MOST_CHARACTERS_OF_PIECE = 2_000_000
_MOST_PICTURE_BYTES_OF_PIECE = 64 * 2**20
_EXAMPLES = 20

Seen = Callable[[Post, Sequence[Entity]], None]


@dataclass
class BulkReport:
    """What became of an input.

    Args:
        posts: Posts that were predicted, in earlier runs over the same input too.
        entities: Entities found in them.
        rejected: Lines that could not be predicted.
        pictureless: Posts that were predicted without the picture which they name.
        resumed_after: Lines that an earlier run had done.
        was_done: Whether there was nothing left to do.
        rejects: The file that lists those lines, where there is one.
        examples: The first of those lines, as the run found them.
        seconds: How long this run took.
    """

    posts: int = 0
    entities: int = 0
    rejected: int = 0
    pictureless: int = 0
    resumed_after: int = 0
    was_done: bool = False
    rejects: Path | None = None
    examples: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def counts(self) -> dict[str, int]:
        """What goes on being counted when a run is resumed."""
        names = ("posts", "entities", "rejected", "pictureless")
        return {name: getattr(self, name) for name in names}


def predict_file(
    recognizer: Recognizer,
    source: Path | BinaryIO,
    target: Path | BinaryIO,
    *,
    knowledge: KnowledgeStore | Path | None = None,
    read_pictures: bool = False,
    input_format: str | None = None,
    written_as: str | None = None,
    rejects: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    batch_size: int = BATCH_POSTS,
    window: int = STREAM_WINDOW,
    most_characters: int = MOST_CHARACTERS,
    seen: Seen | None = None,
    progress: Reporter = silent,
) -> BulkReport:
    """Recognise the entities of all posts of an input.

    What cannot be read is listed with its line and the reason, and everything else is predicted. The work
    is done in pieces of `window` posts; a run that is resumed starts with the piece that was not finished,
    and so gives the same bytes as one that was never stopped.

    Args:
        recognizer: The recogniser.
        source: A file of posts, or an open stream of bytes.
        target: The file of predictions, or an open stream of bytes, which cannot be resumed.
        knowledge: A store with what is known about the posts.
        read_pictures: Read what stands in pictures of which nothing else is known, where the model wants it.
        input_format: One of `INPUT_FORMATS`; by default what the input looks like.
        written_as: One of `OUTPUT_FORMATS`; by default what the target's name says.
        rejects: The file that lists what was refused; ``TARGET.rejects.jsonl`` by default. A stream has one
            only where it is named.
        resume: Go on where an earlier run was stopped.
        overwrite: Start again although an earlier run is unfinished.
        batch_size: Most posts computed at once.
        window: Posts that are sorted by length, predicted and committed together.
        most_characters: Longer posts are refused.
        seen: Told of every post of this run and its entities, in order.
        progress: Told of every piece that is done.

    Raises:
        UsageError: A format is unknown, an earlier run does not fit, a stream is to be gone on with, or what
            is read would be written over.
        DataError: The input cannot be read at all, or the output cannot be written.
    """
    started = time.perf_counter()
    file = target if isinstance(target, Path) and (target.is_file() or not target.exists()) else None
    if file is not None:
        rejects = rejects or file.with_name(file.name + ".rejects.jsonl")
    elif resume:
        raise UsageError(
            "What was written to a pipe cannot be gone on with.",
            expected="--output with a file, or no --resume",
        )
    refuse_overlap(source, file if isinstance(target, Path) else target, rejects)
    reader = open_input(source, input_format, most_characters=most_characters)
    chosen = output_format(target if isinstance(target, Path) else None, written_as)
    report = BulkReport(rejects=rejects)
    journal: Journal | Pipe
    if file is not None and rejects is not None:
        settings = {
            "input": str(source) if isinstance(source, Path) else "standard input",
            "input format": reader.format,
            "output format": chosen.name,
            "model": fingerprint(recognizer),
            "knowledge": str(knowledge.path if isinstance(knowledge, KnowledgeStore) else knowledge),
            "pictures": "read" if read_pictures else "not read",
            "batch size": batch_size,
            "window": window,
            "longest text": most_characters,
            "machines": "one",
        }
        journal = Journal(file, rejects, chosen, settings, resume=resume, overwrite=overwrite)
    else:
        journal = Pipe(target, chosen, rejects)
    try:
        report.__dict__.update(journal.counts)
        report.was_done = journal.is_done
        if not report.was_done:
            if journal.position is not None:
                reader.skip(journal.position)
                report.resumed_after = journal.position.line
            work = Work(recognizer, chosen, knowledge, batch_size, seen, read_pictures)
            with progress("recognising", None) as advance:
                for piece in pieces(reader, window):
                    output, rejected = work.do(piece, report)
                    journal.write(output, rejected)
                    journal.commit(reader.position, report.counts())
                    share = reader.share
                    advance(len(piece), **({} if share is None else {"read": f"{share:.0%}"}))
            journal.finish(reader.position, report.counts())
    finally:
        journal.close()
    if report.rejects is not None and not report.rejects.is_file():
        report.rejects = None
    report.seconds = time.perf_counter() - started
    return report


def pieces(reader: Reader, window: int) -> Iterator[list[Item]]:
    """The items of an input in pieces of work; where pieces end depends on the input alone."""
    piece: list[Item] = []
    characters = picture_bytes = 0
    for item in reader:
        piece.append(item)
        if item.post is not None:
            characters += len(item.post.text)
            picture_bytes += len(item.post.image) if isinstance(item.post.image, bytes) else 0
        full = characters >= _MOST_CHARACTERS_OF_PIECE or picture_bytes >= _MOST_PICTURE_BYTES_OF_PIECE
        if len(piece) >= window or full:
            yield piece
            piece, characters, picture_bytes = [], 0, 0
    if piece:
        yield piece


class Work:
    """Predicting pieces of an input.

    Args:
        recognizer: The recogniser.
        written_as: How predictions are written.
        knowledge: A store with what is known about the posts.
        batch_size: Most posts computed at once.
        seen: Told of every post and its entities.
        read_pictures: Read what stands in pictures of which nothing else is known.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        written_as: OutputFormat,
        knowledge: KnowledgeStore | Path | None,
        batch_size: int,
        seen: Seen | None = None,
        read_pictures: bool = False,
    ) -> None:
        self.recognizer = recognizer
        self.read_pictures = read_pictures
        self.written_as = written_as
        self.knowledge = knowledge
        self.batch_size = batch_size
        self.seen = seen

    def do(self, piece: Sequence[Item], report: BulkReport) -> tuple[bytes, bytes]:
        """Predict a piece.

        Returns:
            Its predictions and its refused lines, as they are written.
        """
        posts = [item.post for item in piece if item.post is not None]
        if self.knowledge is not None:
            posts = list(self.recognizer.knowledge.supply(posts, self.knowledge))
        if self.read_pictures:
            posts = list(map(self.recognizer.text_reader.add, posts))
        pictures = self.recognizer.encoder.pictures
        if pictures is not None:
            # What was kept of earlier pieces would change how pictures meet in the tower, and with it the
            # last digits: a run that was resumed has kept nothing.
            pictures.features.clear()
        answers = iter(zip(posts, self.recognizer.predict(posts, batch_size=self.batch_size), strict=True))
        return write_piece(
            piece,
            [None if item.post is None else next(answers) for item in piece],
            self.written_as,
            report,
            names_pictures=self.recognizer.model.reads_pictures,
            seen=self.seen,
        )


def write_piece(
    piece: Sequence[Item],
    answers: Sequence[tuple[Post, Sequence[Entity]] | None],
    written_as: OutputFormat,
    report: BulkReport,
    *,
    names_pictures: bool,
    seen: Seen | None = None,
) -> tuple[bytes, bytes]:
    """The predictions of a piece and its refused lines, as they are written; counted in the report."""
    output, rejected = [], []
    for item, answer in zip(piece, answers, strict=True):
        if answer is None:
            rejected.append(_rejection(item.line, item.problem or "", item.content, report))
            continue
        post, entities = answer
        try:
            output.append(written_as.render(post, entities, item.line))
        except DataError as error:
            rejected.append(_rejection(item.line, str(error), post.text, report))
            continue
        report.posts += 1
        report.entities += len(entities)
        if names_pictures and post.image is None and post.image_problem:
            report.pictureless += 1
            problem = f"predicted without its picture: {post.image_problem}"
            rejected.append(_listed(item.line, problem, post.text, predicted=True))
        if seen is not None:
            seen(post, entities)
    return b"".join(output), b"".join(rejected)


def _rejection(line: int, problem: str, content: str, report: BulkReport) -> bytes:
    report.rejected += 1
    if len(report.examples) < _EXAMPLES:
        named = f"line {line}" in problem or f"row {line}" in problem
        report.examples.append(problem if named else f"Line {line}: {problem}.")
    return _listed(line, problem, content, predicted=False)


def _listed(line: int, problem: str, content: str, *, predicted: bool) -> bytes:
    record = {"line": line, "problem": problem, "predicted": predicted, "content": content[:200]}
    return json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def fingerprint(recognizer: Recognizer) -> str:
    """What tells a recogniser from every other: its kind, settings and weights, and the program's version."""
    model: Any = recognizer.model
    digest = hashlib.sha256(f"{__version__}\0{recognizer.name}\0{model.config.to_json_string()}\0".encode())
    settings = (recognizer.encoder.settings, recognizer.knowledge, recognizer.temperature)
    digest.update(repr(settings).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()[:32]
