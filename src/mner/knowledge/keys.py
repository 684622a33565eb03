"""What an answer depends on, as a key: who was asked, with which settings, and what was shown.

A `Source` is everything that shapes a provider's answers besides the post. The key of an answer is the
SHA-256 of the canonical JSON of the source and of exactly those parts of the post that the source sees:
change a prompt, a model's revision, a picture's bytes or a letter of the text, and the key is another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mner.errors import MnerError, shown
from mner.images import READING
from mner.knowledge.provider import Provider
from mner.posts import Knowledge, Post, Region

_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"})


def canonical_json(document: Any) -> str:
    """A document as the one JSON text that it has here: sorted keys, no spaces, ASCII.

    Raises:
        MnerError: The document holds something that JSON has not.
    """
    try:
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MnerError(
            "A provider's settings cannot be written as JSON, and so have no key.",
            expected="strings, finite numbers, booleans, None, lists and mappings with string keys",
            got=f"{shown(document)} ({error})",
        ) from error


def digest(document: Any) -> str:
    """SHA-256 of a document's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(document).encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Source:
    """Who answers, and everything besides the post that shapes the answers.

    Args:
        provider: The provider's name.
        kind: The kind of knowledge.
        settings: The provider's settings.
        sees_text: Whether the post's text belongs to the key.
        sees_picture: Whether the picture's bytes belong to the key.
        sees_name: Whether the post's name belongs to the key.
        sees_alt: Whether the picture's alternative text belongs to the key.
        sees_knowledge: The kinds of knowledge that belong to the key.
        key: SHA-256 of all that.
    """

    provider: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sees_text: bool = False
    sees_picture: bool = False
    sees_name: bool = False
    sees_alt: bool = False
    sees_knowledge: tuple[str, ...] = ()
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", digest(self.description()))

    @classmethod
    def of(cls, provider: Provider | Source) -> Source:
        """The source that a provider is."""
        if isinstance(provider, Source):
            return provider
        return cls(
            provider=provider.name,
            kind=provider.kind,
            settings=json.loads(canonical_json(dict(provider.settings()))),
            sees_text=bool(provider.sees_text),
            sees_picture=bool(provider.sees_picture),
            sees_name=bool(getattr(provider, "sees_name", False)),
            sees_alt=bool(getattr(provider, "sees_alt", False)),
            sees_knowledge=tuple(getattr(provider, "sees_knowledge", ())),
        )

    def description(self) -> dict[str, Any]:
        """The source as JSON writes it; `from_description` reads it back."""
        return {
            "provider": self.provider,
            "kind": self.kind,
            "settings": dict(self.settings),
            "sees_text": self.sees_text,
            "sees_picture": self.sees_picture,
            "sees_name": self.sees_name,
            "sees_alt": self.sees_alt,
            "sees_knowledge": list(self.sees_knowledge),
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Source:
        """The source of which `description` was written."""
        return cls(**{**description, "sees_knowledge": tuple(description["sees_knowledge"])})

    def keys_of(self, post: Post, picture_key: str | None = None) -> tuple[str, ...]:
        """The keys under which an answer for a post may stand, the likeliest first.

        There is one, but for sources that go by name: a post may be called by its picture's file or by its
        id. There is none where the post lacks what the source needs: see `lacks`.

        Args:
            post: The post.
            picture_key: SHA-256 of its picture's bytes, or None.
        """
        names = names_of(post) if self.sees_name else ()
        if self._lacks(post, picture_key, names) is not None:
            return ()
        seen: dict[str, Any] = {"source": self.key}
        if self.sees_text:
            seen["text"] = post.text
        if self.sees_picture:
            seen["picture"] = picture_key
            seen["reading"] = READING
        if self.sees_alt:
            seen["alt"] = post.alt
        if self.sees_knowledge:
            seen["knowledge"] = [
                [kind, None if (known := post.known(kind)) is None else knowledge_record(known)]
                for kind in self.sees_knowledge
            ]
        if not self.sees_name:
            return (digest(seen),)
        return tuple(digest({**seen, "name": name}) for name in names)

    def lacks(self, post: Post, picture_key: str | None = None) -> str | None:
        """What the post lacks so that this source cannot be asked about it, or None."""
        return self._lacks(post, picture_key, names_of(post) if self.sees_name else ())

    def _lacks(self, post: Post, picture_key: str | None, names: Sequence[str]) -> str | None:
        if self.sees_picture and picture_key is None:
            return "a picture"
        if self.sees_alt and not post.alt:
            return "an alternative text"
        if self.sees_name and not names:
            return "a name"
        return None

    def label(self) -> str:
        """The source in a few words: provider and, where it says so, model."""
        model = self.settings.get("model")
        return f"{self.provider} ({model})" if isinstance(model, str) and model else self.provider


def plain_name(name: str) -> str:
    """A file's or post's name as files of knowledge are matched by: no folder, no picture's suffix."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    dot = last.rfind(".")
    return last[:dot] if dot > 0 and last[dot:].lower() in _PICTURE_SUFFIXES else last


def names_of(post: Post) -> tuple[str, ...]:
    """What a post may be called in a file of knowledge: its picture's file first, then its id."""
    names = []
    if isinstance(post.image, str | Path):
        names.append(plain_name(str(post.image)))
    if post.id:
        names.append(plain_name(post.id))
    return tuple(dict.fromkeys(name for name in names if name))


def mended(value: Any) -> Any:
    """A JSON value whose halves of surrogate pairs are U+FFFD; a pair in two halves becomes its character.

    JSON can bring such halves (a text that was cut inside an emoji), but they are no characters: UTF-8
    cannot hold them, and tokenizers refuse them.
    """
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {mended(name): mended(item) for name, item in value.items()}
    if isinstance(value, list):
        return [mended(item) for item in value]
    return tuple(mended(item) for item in value) if isinstance(value, tuple) else value


def knowledge_record(knowledge: Knowledge) -> dict[str, Any]:
    """A piece of knowledge as JSON writes it: only what it has."""
    record: dict[str, Any] = {"kind": knowledge.kind}
    if knowledge.text is not None:
        record["text"] = knowledge.text
    if knowledge.steps:
        record["steps"] = list(knowledge.steps)
    if knowledge.regions:
        record["regions"] = [list(region) for region in knowledge.regions]
    if knowledge.score is not None:
        record["score"] = knowledge.score
    if knowledge.origin:
        record["origin"] = knowledge.origin
    if knowledge.problem is not None:
        record["problem"] = knowledge.problem
    return record


def knowledge_from_record(record: Mapping[str, Any]) -> Knowledge:
    """The piece of knowledge of which `record` was written."""
    steps, regions = record.get("steps"), record.get("regions")
    return Knowledge(
        kind=record["kind"],
        text=record.get("text"),
        steps=tuple(steps) if steps else (),
        regions=tuple(Region(*region) for region in regions) if regions else (),
        score=record.get("score"),
        origin=record.get("origin", ""),
        problem=record.get("problem"),
    )
