"""What an audit looks at, check by check; `audit` puts them together and judges them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from mner.posts import Post
from mner.progress import Reporter, silent
from mner.tags import OUTSIDE, Convention, is_stray

if TYPE_CHECKING:
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

SHOWN = 10
"""How many examples a report holds."""

_URL = re.compile(r"(?:https?:|www\.)\S*")
_ENOUGH_WORDS = 1000


def count_entities(posts: Sequence[Post], convention: Convention) -> dict[str, int]:
    """How many entities of each type the gold has, by name.

    Args:
        posts: Posts; those without gold have none.
        convention: What stray tags mean.
    """
    counts: Counter[str] = Counter()
    for post in posts:
        if post.entities is not None:
            counts.update(entity.label for entity in post.entities)
        elif post.tags is not None:
            counts.update(span.label for span in post.gold_spans(convention))
    return dict(sorted(counts.items()))


def count_stray_tags(posts: Sequence[Post]) -> int:
    """How many tags break their scheme where they stand."""
    verdicts: dict[tuple[str, str, str], bool] = {}
    count = 0
    for post in posts:
        for previous, tag in pairwise(chain((OUTSIDE,), post.tags or ())):
            if tag == OUTSIDE:
                continue
            key = (previous, tag, post.scheme.name)
            if key not in verdicts:
                verdicts[key] = is_stray(previous, tag, post.scheme)
            count += verdicts[key]
    return count


@dataclass(frozen=True)
class Alignment:
    """How entities by characters sit on the words.

    Args:
        inside_words: Entities of which a border falls inside a word.
        without_words: Entities that cover no word at all.
        overlapping: Entities that overlap another, so that tags cannot write both.
    """

    inside_words: int = 0
    without_words: int = 0
    overlapping: int = 0


def check_alignment(posts: Sequence[Post]) -> Alignment:
    """How the entities by characters of these posts sit on their words."""
    inside = without = overlapping = 0
    for post in posts:
        if not post.entities:
            continue
        starts = {start for start, _ in post.offsets}
        ends = {end for _, end in post.offsets}
        reach = -1
        for entity in sorted(post.entities, key=lambda found: (found.start, found.end)):
            overlapping += entity.start < reach
            reach = max(reach, entity.end)
            if not any(start < entity.end and entity.start < end for start, end in post.offsets):
                without += 1
            elif entity.start not in starts or entity.end not in ends:
                inside += 1
    return Alignment(inside, without, overlapping)


@dataclass(frozen=True)
class TokenReport:
    """What a tokenizer makes of a split.

    Args:
        vanishing: Words (each place counts) for which the tokenizer gives no sub-word.
        vanishing_words: The most frequent of them, as code points, with their counts.
        unknown: Words that become nothing but the unknown token.
        longest: The most sub-words that a post has, special ones not counted.
        limit: How many sub-words, special ones included, the encoder takes; None where unknown.
        too_long: Posts that have more.
    """

    vanishing: int
    vanishing_words: dict[str, int]
    unknown: int
    longest: int
    limit: int | None
    too_long: int


def check_tokens(
    posts: Sequence[Post],
    tokenizer: PreTrainedTokenizerBase,
    limit: int | None,
    progress: Reporter = silent,
    description: str = "tokenising",
) -> TokenReport:
    """Look at every word of the posts with a tokenizer, alone, as the encoding does.

    Args:
        posts: The posts.
        tokenizer: A fast tokenizer.
        limit: How many sub-words, special ones included, the encoder takes.
        progress: Told about each batch of distinct words.
        description: What to call this.
    """
    distinct = list(dict.fromkeys(word for post in posts for word in post.words))
    lengths: dict[str, int] = {}
    unknown_words: set[str] = set()
    with progress(description, len(distinct)) as advance:
        for first in range(0, len(distinct), _ENOUGH_WORDS):
            batch = distinct[first : first + _ENOUGH_WORDS]
            encoded = tokenizer(
                [[word] for word in batch],
                is_split_into_words=True,
                add_special_tokens=False,
                # As the encoding: a word that is written like a special token is a word all the same.
                split_special_tokens=True,
                verbose=False,
            )["input_ids"]
            for word, ids in zip(batch, encoded, strict=True):
                lengths[word] = len(ids)
                if ids and all(piece == tokenizer.unk_token_id for piece in ids):
                    unknown_words.add(word)
            advance(len(batch))
    special = tokenizer.num_special_tokens_to_add()
    vanishing: Counter[str] = Counter()
    unknown = longest = too_long = 0
    for post in posts:
        length = 0
        for word in post.words:
            pieces = lengths[word]
            length += pieces
            if not pieces:
                vanishing[word] += 1
            elif word in unknown_words:
                unknown += 1
        longest = max(longest, length)
        too_long += limit is not None and length + special > limit
    return TokenReport(
        vanishing=vanishing.total(),
        vanishing_words={code_points(word): count for word, count in vanishing.most_common(SHOWN)},
        unknown=unknown,
        longest=longest,
        limit=limit,
        too_long=too_long,
    )


def code_points(word: str) -> str:
    """A word that cannot be seen, as its code points: ``U+FE0F``."""
    return " ".join(f"U+{ord(character):04X}" for character in word[:8])


@dataclass(frozen=True)
class PictureReport:
    """The pictures of a split.

    Args:
        expected: Posts that name a picture.
        good: Pictures that are there, and that could be opened.
        missing: Pictures whose file is not there.
        broken: Pictures whose file cannot be opened.
        examples: Some of the ``missing`` and of the ``broken`` ones: the post's id and what is wrong.
    """

    expected: int
    good: int
    missing: int
    broken: int
    examples: dict[str, dict[str, str]]


def check_pictures(
    posts: Sequence[Post], progress: Reporter = silent, description: str = "opening pictures"
) -> PictureReport:
    """Open every picture of the posts.

    Args:
        posts: The posts.
        progress: Told about each picture.
        description: What to call this.
    """
    # Here, not above: reading a data set needs no library of pictures.
    from mner.images import open_picture

    concerned = [post for post in posts if post.image is not None or post.image_problem is not None]
    missing = broken = 0
    examples: dict[str, dict[str, str]] = {"missing": {}, "broken": {}}
    with progress(description, len(concerned)) as advance:
        for number, post in enumerate(concerned, start=1):
            problem = post.image_problem
            if post.image is None:
                missing += 1
            else:
                problem = open_picture(post.image).problem
                broken += problem is not None
            kind = examples["missing" if post.image is None else "broken"]
            if problem is not None and len(kind) < SHOWN:
                kind[post.id or f"picture {number}"] = problem
            advance(1, missing=missing, broken=broken)
    return PictureReport(len(concerned), len(concerned) - missing - broken, missing, broken, examples)


def bare_text(post: Post) -> str:
    """A post's text without addresses, case and runs of spaces: what makes it the same post again."""
    return " ".join(_URL.sub(" ", post.text.casefold()).split())


@dataclass(frozen=True)
class Recurrence:
    """Texts that stand in several splits.

    Args:
        texts: How many texts do.
        posts: How many posts have one of them.
        between: For each set of splits, such as ``train+test``, how many texts stand in just these.
        examples: Some of the texts.
    """

    texts: int
    posts: int
    between: dict[str, int]
    examples: list[str]


def check_recurrence(splits: Mapping[str, Sequence[Post]]) -> tuple[Recurrence, dict[str, int]]:
    """Texts that stand in several splits, and for each split the posts whose text came earlier in it.

    Addresses and case are left out of account, and so are posts that consist of nothing else.
    """
    places: dict[str, Counter[str]] = defaultdict(Counter)
    duplicates = {}
    for split, posts in splits.items():
        texts = [text for text in map(bare_text, posts) if text]
        duplicates[split] = len(texts) - len(set(texts))
        for text in texts:
            places[text][split] += 1
    shared = {text: counts for text, counts in places.items() if len(counts) > 1}
    between = Counter("+".join(counts) for counts in shared.values())
    recurrence = Recurrence(
        texts=len(shared),
        posts=sum(counts.total() for counts in shared.values()),
        between=dict(between),
        examples=list(shared)[:SHOWN],
    )
    return recurrence, duplicates


@dataclass(frozen=True)
class Conflicts:
    """Mentions that have several types in different places.

    Args:
        mentions: How many mentions (case left out of account) do.
        all_mentions: How many different mentions there are.
        most: Those that disagree most often, with how often they have which type.
    """

    mentions: int
    all_mentions: int
    most: dict[str, dict[str, int]]


def check_conflicts(posts: Sequence[Post], convention: Convention = Convention.CONLL) -> Conflicts:
    """Mentions that have several types in different places."""
    types: dict[str, Counter[str]] = defaultdict(Counter)
    for post in posts:
        if post.is_annotated:
            for entity in post.gold(convention):
                types[entity.text.casefold()][entity.label] += 1
    mixed = {mention: counts for mention, counts in types.items() if len(counts) > 1}
    # How often a mention has another type than its usual one.
    worst = sorted(mixed, key=lambda mention: max(mixed[mention].values()) - mixed[mention].total())[:SHOWN]
    return Conflicts(
        len(mixed), len(types), {mention: dict(mixed[mention].most_common()) for mention in worst}
    )


@dataclass(frozen=True)
class Overlap:
    """Posts of another data set's split that stand in this one's train split.

    Args:
        posts: How many posts that split has.
        by_id: How many of them have the id of a training post.
        by_text: How many have the text of one, addresses, case and spaces left out of account.
        either: How many have one or the other.
    """

    posts: int
    by_id: int
    by_text: int
    either: int


def check_overlap(train: Sequence[Post], others: Sequence[Post]) -> Overlap:
    """How many of `others` a model trained on `train` would have seen."""
    ids = {post.id for post in train if post.id}
    # Sets differ in how they split '@name' into words, so spaces say nothing here.
    texts = {bare_text(post).replace(" ", "") for post in train} - {""}
    by_id = [post.id in ids for post in others]
    by_text = [bare_text(post).replace(" ", "") in texts for post in others]
    either = sum(left or right for left, right in zip(by_id, by_text, strict=True))
    return Overlap(len(others), sum(by_id), sum(by_text), either)
