"""The judgement of an audit: which of its numbers are errors, warnings or notes, and in which words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from mner.data.checks import Conflicts, Overlap, PictureReport, Recurrence, TokenReport
from mner.data.dataset import Dataset, Source, labels_of
from mner.data.report import Finding, Severity, SplitReport
from mner.errors import shown
from mner.posts import Post

# From this share of unknown words on, an encoder does not know the writing it is given.
_FOREIGN = 0.1


def judge_split(
    split: str, report: SplitReport, posts: Sequence[Post], source: Source | None
) -> list[Finding]:
    """What is wrong within one split.

    Args:
        split: Its name.
        report: What was counted in it.
        posts: Its posts.
        source: Where they came from.
    """
    found: list[Finding] = []

    def say(severity: Severity, check: str, count: int, message: str) -> None:
        if count:
            found.append(Finding(severity, check, message, split, count))

    unannotated = report.posts - report.annotated
    if unannotated and split == "train" and not report.annotated:
        say(Severity.ERROR, "gold", unannotated, "No post of the train split is annotated.")
    else:
        say(Severity.WARNING, "gold", unannotated, f"Posts without annotation: {unannotated}.")
    both = report.entities
    say(
        Severity.WARNING,
        "stray tags",
        report.stray_tags,
        f"Tags that break their scheme: {report.stray_tags}. With them as starts there are {both['conll']} "
        f"entities (conll), without them {both['strict']} (strict).",
    )
    alignment = report.alignment
    say(
        Severity.WARNING,
        "alignment",
        alignment.inside_words,
        f"Entities with a border inside a word: {alignment.inside_words}; training takes such words whole.",
    )
    say(
        Severity.WARNING,
        "alignment",
        alignment.without_words,
        f"Entities that cover no word: {alignment.without_words}; they can be neither learnt nor found.",
    )
    say(
        Severity.WARNING,
        "overlap",
        alignment.overlapping,
        f"Entities that overlap another: {alignment.overlapping}; training leaves one of two out.",
    )
    say(Severity.NOTE, "empty posts", report.empty, f"Posts without words: {report.empty}.")
    say(
        Severity.NOTE,
        "repeated ids",
        report.repeated_ids,
        f"Posts with the id of an earlier one: {report.repeated_ids}.",
    )
    say(
        Severity.NOTE,
        "duplicates",
        report.duplicates,
        f"Posts with the text of an earlier one, addresses and case aside: {report.duplicates}.",
    )
    for key, count in (source.ignored if source is not None else {}).items():
        say(
            Severity.NOTE,
            "ignored keys",
            count,
            f"Records with the key {shown(key)}, which is not read: {count}.",
        )
    if report.tokens is not None:
        found += _judge_tokens(split, report.tokens, report.words)
    found += _judge_pictures(split, report.pictures, posts)
    return found


def _judge_tokens(split: str, tokens: TokenReport, words: int) -> list[Finding]:
    found = []
    if tokens.vanishing:
        most = ", ".join(f"{word} {count}" for word, count in tokens.vanishing_words.items())
        message = f"Words that vanish in the tokenizer: {tokens.vanishing} ({most})."
        found.append(Finding(Severity.WARNING, "vanishing words", message, split, tokens.vanishing))
    if tokens.unknown:
        share = tokens.unknown / words
        severity = Severity.WARNING if share > _FOREIGN else Severity.NOTE
        message = f"Words unknown to the tokenizer: {tokens.unknown} ({share:.1%})."
        found.append(Finding(severity, "unknown words", message, split, tokens.unknown))
    if tokens.too_long:
        message = (
            f"Posts longer than the encoder's {tokens.limit} sub-words: {tokens.too_long} "
            f"(the longest has {tokens.longest}); they are read in windows."
        )
        found.append(Finding(Severity.NOTE, "long posts", message, split, tokens.too_long))
    return found


def _judge_pictures(split: str, pictures: PictureReport | None, posts: Sequence[Post]) -> list[Finding]:
    if pictures is None:
        without = Counter(post.image_problem for post in posts if post.image_problem is not None)
        if not without:
            return []
        reason, _ = without.most_common(1)[0]
        message = (
            f"Pictures at hand: 0 of {without.total()} ({reason}); name their folder to have them checked."
        )
        return [Finding(Severity.NOTE, "pictures", message, split, without.total())]
    found = []
    for count, what in ((pictures.missing, "missing"), (pictures.broken, "broken")):
        if count:
            identity, problem = next(iter(pictures.examples[what].items()))
            example = f", such as that of {identity}: {problem}"
            message = f"Pictures {what}: {count} of {pictures.expected}{example}."
            found.append(Finding(Severity.WARNING, f"{what} pictures", message, split, count))
    return found


def judge_splits(dataset: Dataset, unreadable: Collection[str | None]) -> list[Finding]:
    """What is wrong with the splits beside each other: one is absent, or has other types than the rest.

    Args:
        dataset: The data set.
        unreadable: The splits that have a file, and one that cannot be read.
    """
    found = []
    lacks = {
        "train": (Severity.ERROR, "nothing can be trained"),
        "valid": (Severity.WARNING, "no checkpoint can be chosen"),
        "test": (Severity.WARNING, "no score can be given"),
    }
    for split, (severity, consequence) in lacks.items():
        if split not in dataset.splits and split not in unreadable:
            there = ", ".join(dataset.splits) or "none"
            message = f"There is no split {split!r}: {consequence}. Splits that are there: {there}."
            found.append(Finding(severity, "missing split", message, split))
    formats = {split: source.format for split, source in dataset.sources.items()}
    if len(set(formats.values())) > 1:
        message = "The splits are in different formats: " + ", ".join(
            f"{split} is {name}" for split, name in formats.items()
        )
        found.append(Finding(Severity.WARNING, "formats", f"{message}. Were they meant to be?"))
    train = dataset.splits.get("train")
    if train is None:
        return found
    known = labels_of(train)
    for split, posts in dataset.splits.items():
        own = labels_of(posts)
        unseen = [label for label in own if label not in known]
        if unseen:
            message = f"Types that the train split never saw: {', '.join(unseen)}. Map or leave them out."
            found.append(Finding(Severity.ERROR, "unseen types", message, split, len(unseen)))
        absent = [label for label in known if label not in own]
        if absent and any(post.is_annotated for post in posts):
            message = f"Types of the train split that do not occur: {', '.join(absent)}."
            found.append(Finding(Severity.NOTE, "absent types", message, split, len(absent)))
    return found


def judge_whole(
    recurrence: Recurrence, conflicts: Conflicts, overlaps: Mapping[str, Overlap]
) -> list[Finding]:
    """What is wrong with the set as a whole, and with it beside another one.

    Args:
        recurrence: Texts that stand in several splits.
        conflicts: Mentions that have several types.
        overlaps: For each split of another set, how much of it stands in the train split.
    """
    found = []
    if recurrence.texts:
        between = ", ".join(f"{splits} {count}" for splits, count in recurrence.between.items())
        message = (
            f"Texts that stand in several splits, addresses and case aside: {recurrence.texts} ({between}), "
            f"in {recurrence.posts} posts."
        )
        found.append(Finding(Severity.WARNING, "recurring texts", message, None, recurrence.texts))
    if conflicts.mentions:
        most = "; ".join(
            f"{mention} ({', '.join(f'{label} {count}' for label, count in counts.items())})"
            for mention, counts in list(conflicts.most.items())[:3]
        )
        message = f"Mentions with several types: {conflicts.mentions} of {conflicts.all_mentions}: {most}."
        found.append(Finding(Severity.NOTE, "conflicting types", message, None, conflicts.mentions))
    for name, overlap in overlaps.items():
        if overlap.either:
            message = (
                f"The train split holds {overlap.either} of the {overlap.posts} posts of {name} "
                f"({overlap.by_id} by id, {overlap.by_text} by text): do not test on them."
            )
            found.append(
                Finding(Severity.WARNING, "training on another's test", message, None, overlap.either)
            )
    return found
