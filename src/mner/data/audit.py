"""The audit of a data set: every check run on it, and what they found put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mner.data.checks import (
    PictureReport,
    check_alignment,
    check_conflicts,
    check_overlap,
    check_pictures,
    check_recurrence,
    check_tokens,
    count_entities,
    count_stray_tags,
)
from mner.data.columns import ColumnFile
from mner.data.dataset import Dataset, Source, rename_labels
from mner.data.findings import judge_split, judge_splits, judge_whole
from mner.data.folders import common_scheme, find_splits, open_file, read_folder, understand
from mner.data.formats import split_of
from mner.data.pictures import PictureFolder, find_pictures
from mner.data.report import Audit, Finding, Severity, SplitReport
from mner.errors import DataError, UsageError
from mner.posts import Post
from mner.progress import Reporter, silent
from mner.tags import Convention, Scheme, scheme_named

if TYPE_CHECKING:
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase


def audit(
    source: Dataset | Path | str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_length: int | None = None,
    images: Path | str | None = None,
    format: str | None = None,
    scheme: Scheme | str | None = None,
    label_map: Mapping[str, str] | None = None,
    against: Dataset | Path | str | None = None,
    progress: Reporter = silent,
) -> Audit:
    """Look a data set over.

    A split whose file cannot be read is a finding; the others are looked at all the same.

    Args:
        source: A data set, its folder, or a single file.
        tokenizer: The fast tokenizer of the encoder to be used; nothing is said about sub-words without.
        max_length: How many sub-words, special ones included, the encoder takes; the tokenizer's own limit
            where None.
        images: The folder of the pictures; looked for beside the files where None. Pictures that are there
            are opened. Like `format` and `scheme` it is for files alone.
        format: The name of the files' format; recognised where None.
        scheme: The scheme of the tags; recognised where None.
        label_map: New names of types by old ones.
        against: Another data set, whose posts should not stand in this one's train split.
        progress: Told about the slow steps.

    Raises:
        DataError: There is no such folder or file, or nothing in it is called like a split.
        UsageError: There is no such format or scheme.
    """
    findings: list[Finding] = []
    whole = True
    if isinstance(source, Dataset):
        if images is not None or format is not None or scheme is not None:
            raise UsageError(
                "images, format and scheme say how files are read, and this data set is read already.",
                hint="Give them to read_folder.",
            )
        dataset = source
    else:
        path = Path(source)
        if not path.exists():
            raise DataError(f"There is no folder or file {path}.", hint="Check the path.")
        whole = path.is_dir()
        paths = find_splits(path, format) if whole else {split_of(path.name) or "posts": path}
        wanted = scheme_named(scheme) if isinstance(scheme, str) else scheme
        dataset = _read(path, paths, format, images, wanted, findings, progress)
    if label_map:
        renamed = {split: rename_labels(posts, label_map) for split, posts in dataset.splits.items()}
        dataset = Dataset(dataset.name, renamed, dataset.sources)
    limit = max_length if max_length is not None else _limit_of(tokenizer)
    recurrence, duplicates = check_recurrence(dataset.splits)
    reports = {
        split: _report(
            posts, split, dataset.sources.get(split), duplicates[split], tokenizer, limit, progress
        )
        for split, posts in dataset.splits.items()
    }
    overlaps = {}
    if against is not None and dataset.splits.get("train"):
        other = against if isinstance(against, Dataset) else read_folder(against, progress=progress)
        for split, posts in other.splits.items():
            if split != "train":
                overlaps[f"{other.name}/{split}"] = check_overlap(dataset.splits["train"], posts)
    for split, posts in dataset.splits.items():
        findings += judge_split(split, reports[split], posts, dataset.sources.get(split))
    if whole:
        unreadable = {finding.split for finding in findings if finding.check == "unreadable"}
        findings += judge_splits(dataset, unreadable)
    if tokenizer is None:
        findings.append(
            Finding(Severity.NOTE, "tokens", "Sub-words were not looked at: there is no tokenizer.")
        )
    conflicts = check_conflicts([post for posts in dataset.splits.values() for post in posts])
    findings += judge_whole(recurrence, conflicts, overlaps)
    worst_first = list(Severity)
    return Audit(
        name=dataset.name,
        labels=dataset.labels,
        fingerprint=dataset.fingerprint,
        splits=reports,
        recurrence=recurrence,
        conflicts=conflicts,
        against=overlaps,
        findings=tuple(sorted(findings, key=lambda finding: worst_first.index(finding.severity))),
    )


def _read(
    path: Path,
    paths: Mapping[str, Path],
    format: str | None,
    images: Path | str | None,
    scheme: Scheme | None,
    findings: list[Finding],
    progress: Reporter,
) -> Dataset:
    folder = path if path.is_dir() else path.parent
    given = PictureFolder(Path(images)) if images is not None else None
    beside = given if given is not None else find_pictures(folder)
    files: dict[str, ColumnFile | Path] = {}
    splits: dict[str, list[Post]] = {}
    sources: dict[str, Source] = {}

    def failed(split: str, error: DataError) -> None:
        findings.append(Finding(Severity.ERROR, "unreadable", str(error), split))

    with progress(f"reading {path.name}", len(paths)) as advance:
        for split, file in paths.items():
            try:
                files[split] = open_file(file, format)
            except DataError as error:
                failed(split, error)
            advance(split=split)
    if scheme is None:
        scheme = common_scheme([file for file in files.values() if isinstance(file, ColumnFile)])
    for split, opened in files.items():
        try:
            pictures = beside if isinstance(opened, ColumnFile) else given
            splits[split], sources[split] = understand(opened, pictures, scheme, folder)
        except DataError as error:
            failed(split, error)
    return Dataset(path.resolve().name if path.is_dir() else path.name, splits, sources)


def _limit_of(tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    # Tokenizers without a limit say so by a number with thirty digits.
    if tokenizer is None or tokenizer.model_max_length > 10**9:
        return None
    return int(tokenizer.model_max_length)


def _report(
    posts: list[Post],
    split: str,
    source: Source | None,
    duplicates: int,
    tokenizer: PreTrainedTokenizerBase | None,
    limit: int | None,
    progress: Reporter,
) -> SplitReport:
    by_type = {convention.value: count_entities(posts, convention) for convention in Convention}
    ids = [post.id for post in posts if post.id]
    documents = source.documents if source is not None else 0
    return SplitReport(
        file=str(source.path) if source is not None else None,
        format=source.format if source is not None else None,
        scheme=source.scheme if source is not None else None,
        posts=len(posts),
        documents=documents,
        blocks=len(posts) + documents,
        words=sum(len(post.words) for post in posts),
        annotated=sum(post.is_annotated for post in posts),
        empty=sum(not post.words for post in posts),
        repeated_ids=len(ids) - len(set(ids)),
        duplicates=duplicates,
        stray_tags=count_stray_tags(posts),
        entities={convention: sum(counts.values()) for convention, counts in by_type.items()},
        entities_by_type=by_type,
        alignment=check_alignment(posts),
        tokens=check_tokens(posts, tokenizer, limit, progress, f"tokenising {split}") if tokenizer else None,
        pictures=_pictures(posts, split, progress),
    )


def _pictures(posts: list[Post], split: str, progress: Reporter) -> PictureReport | None:
    # A set none of whose pictures is there has no pictures at hand: that is one note, not 4000 missing ones.
    if all(post.image is None for post in posts):
        return None
    return check_pictures(posts, progress, f"opening pictures of {split}")
