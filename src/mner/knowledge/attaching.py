"""Handing posts what the store knows about them: the step between making knowledge and encoding it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from pathlib import Path

from mner.errors import UsageError, did_you_mean
from mner.knowledge.keys import Source
from mner.knowledge.provider import Provider
from mner.knowledge.store import KnowledgeStore
from mner.posts import Knowledge, Post

KINDS = ("caption", "auxiliary", "reasoning", "ocr", "regions", "relevance")
"""The kinds of knowledge there are."""

_CHUNK = 2000


def attach(
    posts: Iterable[Post],
    store: KnowledgeStore | Path | str,
    wanted: Sequence[str | Provider | Source] = KINDS,
) -> Iterator[Post]:
    """Posts with what the store knows about them in `Post.knowledge`, after what they already have.

    For each item of `wanted` a post gets at most one piece of knowledge: the first result that one of the
    item's sources has, or, where all failed, the first failure. Nothing is asked and nothing is made here.

    Args:
        posts: Any number of posts; they are gone through in pieces, so a stream stays a stream.
        store: The store, or its file.
        wanted: Kinds (``caption``), names of providers (``rapidocr``), beginnings of a source's key as
            `mner knowledge show` prints them, providers, or sources. A name may stand for several
            sources; the latest that was added to the store comes first.

    Raises:
        UsageError: A name fits nothing in the store and is no kind.
        StoreError: The store cannot be read.
    """
    if not isinstance(store, KnowledgeStore):
        with KnowledgeStore(store, read_only=True) as opened:
            yield from attach(posts, opened, wanted)
        return
    groups = [select_sources(store, item) for item in wanted]
    remaining = iter(posts)
    while chunk := list(islice(remaining, _CHUNK)):
        yield from _attached(chunk, store, groups)


def select_sources(store: KnowledgeStore, item: str | Provider | Source) -> list[Source]:
    """The sources that an item of `attach`'s `wanted` stands for.

    Raises:
        UsageError: A name fits nothing in the store and is no kind.
    """
    if not isinstance(item, str):
        return [Source.of(item)]
    sources = store.sources()
    found = [source for source in sources if item in (source.kind, source.provider)]
    if not found and len(item) >= 6:
        found = [source for source in sources if source.key.startswith(item.lower())]
    if not found and item not in KINDS:
        names = dict.fromkeys([*KINDS, *(source.provider for source in sources)])
        raise UsageError(
            f"The store {store.path} has no knowledge called {item!r}.", hint=did_you_mean(item, names)
        )
    return found


def _attached(posts: list[Post], store: KnowledgeStore, groups: Sequence[Sequence[Source]]) -> list[Post]:
    sources = list(dict.fromkeys(source for group in groups for source in group))
    needs_pictures = any(source.sees_picture for source in sources)
    pictures = (
        [key for key, _ in store.picture_keys([post.image for post in posts])] if needs_pictures else []
    )
    keys: dict[Source, list[tuple[str, ...]]] = {}
    for source in sources:
        variants = _variants(posts, store, source) if source.sees_knowledge else [[post] for post in posts]
        keys[source] = [
            tuple(
                key
                for variant in variants[index]
                for key in source.keys_of(variant, pictures[index] if needs_pictures else None)
            )
            for index in range(len(posts))
        ]
    known = store.lookup({key for of_source in keys.values() for of_post in of_source for key in of_post})
    attached = []
    for index, post in enumerate(posts):
        said = [
            _first([known.get(key) for source in group for key in keys[source][index]]) for group in groups
        ]
        new = tuple(knowledge for knowledge in said if knowledge is not None)
        attached.append(post.with_fields(knowledge=post.knowledge + new) if new else post)
    return attached


def _first(said: Sequence[Knowledge | None]) -> Knowledge | None:
    results = [knowledge for knowledge in said if knowledge is not None]
    return next((one for one in results if one.problem is None), results[0] if results else None)


def _variants(posts: list[Post], store: KnowledgeStore, source: Source) -> list[list[Post]]:
    """Each post with the other knowledge that the source may have been shown, the likeliest first.

    An answer that was made with one caption is found although the store has got another caption since.
    """
    choices: list[list[list[Knowledge | None]]] = [[] for _ in posts]
    for kind in source.sees_knowledge:
        told: list[list[Knowledge | None]] = [[post.known(kind)] for post in posts]
        for other in store.sources(kind):
            if kind not in other.sees_knowledge:
                for options, post in zip(told, _attached(posts, store, [[other]]), strict=True):
                    options.append(next((k for k in reversed(post.knowledge) if k.kind == kind), None))
        for chosen, options in zip(choices, told, strict=True):
            useful = [one for one in options if one is not None and one.problem is None]
            chosen.append([*dict.fromkeys(useful), None])
    return [
        [
            post.with_fields(knowledge=tuple(k for k in combination if k is not None))
            for combination in product(*chosen)
        ]
        for post, chosen in zip(posts, choices, strict=True)
    ]
