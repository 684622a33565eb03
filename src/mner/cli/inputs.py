"""What several commands are given: annotated posts, and predictions of a run or of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mner.cli.console import bars, err
from mner.cli.data import parse_label_map
from mner.errors import MnerError, UsageError, did_you_mean, shown
from mner.posts import Entity, Post
from mner.tags import Convention

if TYPE_CHECKING:
    from mner.recognizer import Recognizer


@dataclass(frozen=True)
class Source:
    """Where annotated posts are.

    Args:
        data: A data folder, or one file.
        split: Which split of a folder.
        file_format: The format of the files; found where None.
        images: The folder of the pictures.
        label_map: Renamed types, as ``OTHER=MISC``.
    """

    data: Path
    split: str = "test"
    file_format: str | None = None
    images: Path | None = None
    label_map: Sequence[str] = ()

    @property
    def title(self) -> str:
        """What the posts are called."""
        return f"{self.data.name} {self.split}" if self.data.is_dir() else self.data.name

    def posts(self, split: str | None = None) -> list[Post]:
        """The posts.

        Args:
            split: Another split of the folder.

        Raises:
            DataError: They cannot be read, or there is no such split.
        """
        from mner.data import read_folder, read_posts
        from mner.data.dataset import rename_labels

        renamed = parse_label_map(self.label_map)
        if self.data.is_dir():
            found = read_folder(self.data, format=self.file_format, images=self.images, label_map=renamed)
            return found.split(split or self.split)
        return rename_labels(
            list(read_posts(self.data, format=self.file_format, images=self.images)), renamed
        )


def convention_named(name: str) -> Convention:
    """What stray tags mean, by its name.

    Raises:
        UsageError: There is no such convention.
    """
    names = [one.value for one in Convention]
    if name not in names:
        raise UsageError(
            f"There is no convention {shown(name)}.",
            expected=" or ".join(names),
            hint=did_you_mean(name, names),
        )
    return Convention(name)


def opened(run: Path, device: str) -> Recognizer:
    """The recogniser of a run folder.

    Raises:
        UsageError: It is a file of predictions.
        RunFolderError: It is no run folder.
    """
    from mner.recognizer import Recognizer

    if run.is_file():
        raise UsageError(
            f"{run} is a file.", expected="a run folder: the model itself is looked at here, not what it said"
        )
    return Recognizer.from_pretrained(run, device=device)


def predictions(
    run: Path,
    posts: Sequence[Post],
    *,
    knowledge: Path | None = None,
    device: str = "auto",
    convention: Convention = Convention.CONLL,
    label_map: Sequence[str] = (),
) -> list[list[Entity]]:
    """What a run says of posts, or what a file says that it said.

    Args:
        run: A run folder, or a file of predictions for these posts, as JSON lines or columns.
        posts: The posts.
        knowledge: Knowledge store, for models that read it.
        device: Where to compute.
        convention: What stray tags of a file in columns mean.
        label_map: Renamed types of a file, as ``OTHER=MISC``; those of the posts.

    Raises:
        RunFolderError: It is no run folder.
        DataError: The file is not of these posts.
    """
    from mner.data.formats import ENDINGS

    if run.is_file():
        from mner.evaluation.predictions import read_predictions

        return read_predictions(run, posts, convention, parse_label_map(label_map))
    if not run.exists() and run.suffix and run.suffix in ENDINGS:
        raise UsageError(
            f"There is no file {run}.",
            expected="a run folder, or a file of predictions as JSON lines or columns",
        )
    recognizer = opened(run, device)
    known = supplied(recognizer, posts, knowledge)
    say_known(recognizer, known, run)
    found = recognizer.predict(known, progress=bars)
    if recognizer.picture_summary is not None:
        err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
    return found


def supplied(recognizer: Recognizer, posts: Sequence[Post], knowledge: Path | None) -> Sequence[Post]:
    """The posts with the knowledge that a recogniser reads, where a store is given."""
    return posts if knowledge is None else list(recognizer.knowledge.supply(posts, knowledge))


def say_known(recognizer: Recognizer, posts: Sequence[Post], run: Path) -> None:
    """Say what is known about posts, and what a run was trained with that is known about none of them.

    Args:
        recognizer: The run's recogniser.
        posts: The posts, with their knowledge.
        run: The run folder.
    """
    from mner.knowledge.supplying import coverage

    covered = coverage(posts)
    if not covered and not recognizer.encoder.inputs.knowledge:
        return
    parts = ", ".join(f"{kind} {count}" for kind, count in covered.items())
    said = f"Known about the {len(posts)} posts: {parts or 'nothing'}."
    # Alternative texts stand in the posts, and in no store.
    lacking = [kind for kind in _kinds_in_training(run) if kind not in covered and kind != "alt"]
    if lacking:
        said += (
            f" {name_of(run)} was trained with knowledge of the kind {' and '.join(lacking)}: "
            "--knowledge names a store that has it for these posts too."
        )
    err.print(said, markup=False, soft_wrap=True)


def _kinds_in_training(run: Path) -> list[str]:
    """The kinds of knowledge that a run's posts had; none where the folder does not say."""
    from mner.publishing import RUN_FILE
    from mner.recognizer import read_json

    try:
        known = read_json(run / RUN_FILE).get("knowledge", {})
        return sorted({kind for counts in known.get("coverage", {}).values() for kind in counts})
    except (MnerError, AttributeError):
        return []


def name_of(run: Path) -> str:
    """What a run or a file of predictions is called."""
    return run.stem if run.is_file() else run.resolve().name
