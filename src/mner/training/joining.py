"""Several data sets as one: their types brought together, and no test post of any of them to train on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mner.data import Dataset, read_folder
from mner.data.checks import bare_text
from mner.data.files import refuse_existing
from mner.data.writers import write_folder
from mner.errors import UsageError, shown
from mner.knowledge.attaching import KINDS, attach
from mner.knowledge.exchange import import_file
from mner.knowledge.keys import plain_name
from mner.knowledge.store import KnowledgeStore
from mner.knowledge.supplying import placeholders_in
from mner.posts import Knowledge, Post
from mner.progress import Reporter, silent
from mner.tags import Convention

STORE_FILE = "knowledge.sqlite"
REPORT_FILE = "joined.json"

TEXTS = ("caption", "auxiliary", "ocr")
"""The kinds of knowledge that are carried over: those that are one text."""


@dataclass(frozen=True)
class Part:
    """One of the data sets that are joined.

    Args:
        folder: Its folder.
        store: A knowledge store with what is known about its posts.
    """

    folder: Path
    store: Path | None = None

    @property
    def name(self) -> str:
        """What its posts' ids begin with."""
        return self.folder.resolve().name


@dataclass
class JoinReport:
    """What became of the data sets.

    Args:
        posts: For each split the number of posts from each set.
        left_out: For each split the number of posts of each set that were left out, since their text stands
            in a split by which they would be judged.
        knowledge: For each kind the number of posts that have some.
        placeholders: Texts that stood for many pictures and were left out, by set, with how often.
    """

    posts: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    knowledge: dict[str, int] = field(default_factory=dict)
    placeholders: dict[str, dict[str, int]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON writes it."""
        return asdict(self)


def join_sets(
    parts: Sequence[Part],
    folder: str | Path,
    *,
    label_map: Mapping[str, str] | None = None,
    convention: Convention | str = Convention.CONLL,
    overwrite: bool = False,
    progress: Reporter = silent,
) -> JoinReport:
    """Write several data sets as one data folder.

    Ids begin with the set's name, so that two sets may use the same ones. A post to train on whose text
    stands in the validation or test posts of any of the sets is left out, and so is a validation post whose
    text stands in test posts; addresses, case and spaces are left out of account, since sets differ in how
    they cut ``@name`` into words. What is known about the posts goes into ``knowledge.sqlite`` beside them,
    without the texts that stand for suspiciously many pictures of a set.

    Args:
        parts: The sets.
        folder: The folder to write.
        label_map: New names of types by old ones.
        convention: What stray tags mean in gold.
        overwrite: Whether what stands there may be replaced.
        progress: Told about the slow steps.

    Returns:
        How many posts came from where, and how many were left out.

    Raises:
        UsageError: Two sets have one name, or the folder is written already.
        DataError: A set cannot be read.
    """
    folder = Path(folder)
    names = [part.name for part in parts]
    if not parts or len(set(names)) < len(names):
        raise UsageError(
            "The sets to join cannot be told apart." if parts else "There is no set to join.",
            expected="folders of different names",
            got=shown(", ".join(names)),
        )
    if not overwrite:
        for name in (STORE_FILE, REPORT_FILE):
            refuse_existing(folder / name)
    report = JoinReport()
    splits: dict[str, list[Post]] = {}
    with progress("reading", len(parts)) as advance:
        datasets = []
        for part in parts:
            datasets.append(_read(part, label_map, report))
            advance(1, set=part.name)
    judged = {"train": _texts(datasets, ("valid", "test")), "valid": _texts(datasets, ("test",))}
    for part, dataset in zip(parts, datasets, strict=True):
        for split, posts in dataset.splits.items():
            known = judged.get(split, frozenset())
            kept = [post for post in posts if _key(post) not in known]
            report.posts.setdefault(split, {})[part.name] = len(kept)
            if len(kept) < len(posts):
                report.left_out.setdefault(split, {})[part.name] = len(posts) - len(kept)
            splits.setdefault(split, []).extend(_named(kept, part.name, split))
    folder.mkdir(parents=True, exist_ok=True)
    write_folder(
        Dataset(folder.resolve().name, splits),
        folder,
        convention=convention,
        overwrite=overwrite,
        progress=progress,
    )
    report.knowledge = _write_knowledge(folder, [post for posts in splits.values() for post in posts])
    document = json.dumps(report.as_dict(), ensure_ascii=False, indent=2)
    (folder / REPORT_FILE).write_text(document + "\n", encoding="utf-8")
    return report


def _read(part: Part, label_map: Mapping[str, str] | None, report: JoinReport) -> Dataset:
    dataset = read_folder(part.folder, label_map=label_map)
    if part.store is None:
        return dataset
    with KnowledgeStore(part.store, read_only=True) as store:
        splits = {
            split: list(attach(posts, store, [kind for kind in KINDS if kind in TEXTS]))
            for split, posts in dataset.splits.items()
        }
    found = placeholders_in(post for posts in splits.values() for post in posts)
    if found:
        report.placeholders[part.name] = found
        splits = {split: [_without(post, found) for post in posts] for split, posts in splits.items()}
    return Dataset(dataset.name, splits, dataset.sources)


def _without(post: Post, texts: Mapping[str, int]) -> Post:
    def says(known: Knowledge) -> bool:
        return known.text is None or known.text not in texts

    return post.with_fields(knowledge=tuple(filter(says, post.knowledge)))


def _key(post: Post) -> str:
    return bare_text(post).replace(" ", "")


def _texts(datasets: Iterable[Dataset], splits: Sequence[str]) -> frozenset[str]:
    posts = (post for dataset in datasets for name in splits for post in dataset.splits.get(name, ()))
    # A post of addresses alone is no text that could be recognised.
    return frozenset(map(_key, posts)) - {""}


def _named(posts: Iterable[Post], name: str, split: str) -> list[Post]:
    # The place keeps apart posts that have no id, and those of sets that use one twice.
    seen: set[str] = set()
    named = []
    for number, post in enumerate(posts, start=1):
        identity = f"{name}-{plain_name(post.id)}" if post.id else f"{name}-{split}-{number}"
        if identity in seen:
            identity = f"{name}-{split}-{number}"
        seen.add(identity)
        named.append(post.with_fields(id=identity))
    return named


def _write_knowledge(folder: Path, posts: Sequence[Post]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for leftover in folder.glob(STORE_FILE + "*"):
        leftover.unlink()
    said: dict[str, list[dict[str, str]]] = {}
    for post in posts:
        for kind in TEXTS:
            known = post.known(kind)
            if known is not None and known.text:
                said.setdefault(kind, []).append({"id": post.id, kind: known.text})
    with KnowledgeStore(folder / STORE_FILE) as store:
        for kind, records in said.items():
            path = folder / f"{kind}.jsonl"
            lines = [json.dumps(record, ensure_ascii=False) for record in records]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            import_file(store, path, name=kind)
            counts[kind] = len(records)
    return counts
