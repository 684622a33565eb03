"""The posts that experiments train and test on, and prints of them by which a change is noticed.

A print is a hash of what is read: of the text and gold of posts for systems that read the text alone, and of
pictures (name and size of the file), alternative texts and knowledge besides for the others.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mner.data import Dataset, read_folder
from mner.data.dataset import content_of
from mner.data.sampling import sample_posts, sample_shots
from mner.errors import DataError, MnerError, UsageError, did_you_mean, shown
from mner.evaluation.probe_swapping import swapped, without_picture
from mner.experiments.tables import DataEntry, Sample, TableFile, Whose
from mner.knowledge.attaching import attach
from mner.posts import Post

_SWAP_SEED = 1
_SHOWN_POSTS = 3


@dataclass(frozen=True)
class Place:
    """Where a data set lies and how it is read; all that another process needs to read it alike.

    Args:
        name: What the table calls it.
        folder: Its folder.
        format: Its format; recognised where None.
        images: Folder of its pictures; found beside the data where None.
        label_map: Types to rename.
        train: Name of the split to train on.
        valid: Name of the split that chooses.
        test: Name of the split that is scored.
        knowledge: Its knowledge store, or None.
    """

    name: str
    folder: str
    format: str | None = None
    images: str | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    train: str = "train"
    valid: str = "valid"
    test: str = "test"
    knowledge: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The place as JSON writes it."""
        return {**asdict(self), "label_map": dict(self.label_map)}

    @property
    def key(self) -> str:
        """A name for files: the set's, and how it is read."""
        how = [self.format, sorted(self.label_map.items()), self.train, self.valid, self.test]
        return f"{self.name}-{digest([json.dumps(how).encode()])[:8]}"


@dataclass(frozen=True)
class Material:
    """A data set that was read.

    Args:
        place: Where it lies.
        dataset: Its posts, without what a store knows about them.
    """

    place: Place
    dataset: Dataset

    @classmethod
    def read(cls, place: Place) -> Material:
        """Read a data set.

        Raises:
            DataError: It cannot be read; the message names the data set of the table.
        """
        try:
            dataset = read_folder(
                place.folder, format=place.format, images=place.images, label_map=place.label_map
            )
        except DataError as error:
            raise type(error)(
                f"The data set {place.name}: {error.what}",
                expected=error.expected,
                got=error.got,
                hint=error.hint
                if Path(place.folder).is_dir()
                else f"Name its folder with --data {place.name}=FOLDER, or the one above with --data FOLDER.",
            ) from error
        return cls(place, dataset)

    def posts(self, role: str, kinds: Sequence[str] | None, whose: Whose = "own") -> list[Post]:
        """The posts of a split with what is known about them.

        Args:
            role: ``train``, ``valid`` or ``test``.
            kinds: What to take from the knowledge store; None for nothing that is not in the text: no
                picture either.
            whose: Whose picture and knowledge they have.
        """
        plain = self.dataset.split(getattr(self.place, role))
        if kinds is None:
            return [without_picture(post) for post in plain]
        key = (role, tuple(kinds), whose)
        if key not in self._known:
            posts = plain
            if self.place.knowledge is not None and kinds:
                posts = list(attach(plain, self.place.knowledge, kinds))
            if whose == "another":
                posts = swapped(posts, _SWAP_SEED)
            elif whose == "none":
                posts = [without_picture(post) for post in posts]
            self._known[key] = posts
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[str, tuple[str, ...], Whose], list[Post]]:
        return {}

    def prints(self, role: str, kinds: Sequence[str] | None) -> list[str]:
        """The print of each post of a split, as a system sees it."""
        key = (role, None if kinds is None else tuple(kinds))
        if key not in self._prints:
            self._prints[key] = [print_of(post, kinds is not None) for post in self.posts(role, kinds)]
        return self._prints[key]

    @cached_property
    def _prints(self) -> dict[tuple[str, tuple[str, ...] | None], list[str]]:
        return {}

    def sampled(self, posts: Sequence[Post], sample: Sample | None, seed: int, convention: str) -> list[Post]:
        """The part of the training posts that is trained on."""
        if sample is None:
            return list(posts)
        try:
            if sample.shots is not None:
                return sample_shots(posts, sample.shots, seed, convention, sample.bound)
            return sample_posts(posts, count=sample.posts, share=sample.share, seed=seed)
        except MnerError as error:
            raise DataError(
                f"The data set {self.place.name}: {error.what}",
                expected=error.expected,
                got=error.got,
                hint=error.hint,
            ) from error


def print_of(post: Post, pictures: bool) -> str:
    """The print of a post.

    Args:
        post: The post.
        pictures: Whether its picture and what is known about it count.
    """
    parts = [content_of(without_picture(post))]
    if pictures:
        image: Any = None
        if isinstance(post.image, Path):
            # Reading every picture would take minutes; a picture that changed has hardly kept its size.
            image = [post.image.name, post.image.stat().st_size if post.image.is_file() else None]
        elif post.image is not None:
            image = hashlib.sha256(post.image).hexdigest()
        known = [asdict(one) for one in post.knowledge]
        parts.append(json.dumps([post.alt, image, known], sort_keys=True, default=list).encode())
    return digest(parts)[:16]


def digest(parts: Iterable[bytes | str]) -> str:
    """SHA-256 over parts, their borders included."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "big"))
        found.update(data)
    return found.hexdigest()


def places(file: TableFile, folders: Mapping[str, str], stores: Mapping[str, str]) -> dict[str, Place]:
    """Where each data set of a table lies.

    Args:
        file: The table.
        folders: Folders by data set; under "" a folder that has those of all others in it.
        stores: Knowledge stores alike; in the folder under "" that of a data set is called as the table says,
            NAME.sqlite, or as the set's folder, with .sqlite.

    Raises:
        UsageError: A folder or store is given for a data set that the table has not, or a folder of stores
            that has none of any.
    """
    for given in (folders, stores):
        for name in given:
            if name and name not in file.table.data:
                raise UsageError(
                    f"The table {file.path} has no data set {shown(name)}.",
                    hint=did_you_mean(name, file.table.data),
                )
    found = {
        name: _place(file.path.parent, name, entry, folders, stores)
        for name, entry in file.table.data.items()
    }
    if "" in stores and not any(place.knowledge and name not in stores for name, place in found.items()):
        above = Path(stores[""])
        raise UsageError(
            f"{above} is no folder with knowledge stores of this table's data sets.",
            expected=", ".join(
                " or ".join(_store_names(name, entry)) for name, entry in file.table.data.items()
            ),
            got="a file" if above.is_file() else "none of these" if above.is_dir() else "no such folder",
            hint="One store is given with its data set: --knowledge NAME=STORE.",
        )
    return found


def _place(
    base: Path, name: str, entry: DataEntry, folders: Mapping[str, str], stores: Mapping[str, str]
) -> Place:
    relative = entry.folder or name
    knowledge = None
    if name in stores:
        knowledge = stores[name]
    elif entry.knowledge is not None:
        knowledge = str(_under(Path(stores[""]) if "" in stores else base, entry.knowledge))
    elif "" in stores:
        there = (_under(Path(stores[""]), one) for one in _store_names(name, entry))
        knowledge = next((str(path) for path in there if path.is_file()), None)
    return Place(
        name=name,
        folder=folders.get(name) or str(_under(Path(folders[""]) if "" in folders else base, relative)),
        format=entry.format,
        images=None if entry.images is None else str(base / entry.images),
        label_map=entry.label_map,
        train=entry.train,
        valid=entry.valid,
        test=entry.test,
        knowledge=knowledge,
    )


def _store_names(name: str, entry: DataEntry) -> list[str]:
    """What the knowledge store of a data set may be called in a folder of stores."""
    if entry.knowledge is not None:
        return [entry.knowledge]
    folder = Path(entry.folder or name)
    # Elsewhere than below the folder of stores there is none of its stores.
    below = not folder.is_absolute() and ".." not in folder.parts
    return list(dict.fromkeys([f"{name}.sqlite", *([f"{folder}.sqlite"] if below else [])]))


def stores_read(
    materials: Mapping[str, Material], views: Mapping[str, Mapping[str, Sequence[str] | None]]
) -> dict[str, str | None]:
    """The knowledge store of each data set of which some system reads knowledge; None where it has none.

    Args:
        materials: The data sets.
        views: For each of them names of what systems see of it, with the kinds of knowledge.
    """
    return {
        name: material.place.knowledge
        for name, material in materials.items()
        if any(views.get(name, {}).values())
    }


def _under(root: Path, relative: str) -> Path:
    return root / relative


def what_changed(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two states of a data set differ, the likeliest cause first; none where they are the same.

    Args:
        name: What the data set is called.
        before: A state as `state_of` gave it.
        now: Another one; what only one of the two has looked at is left out.
    """
    found = []
    for view, splits in before["views"].items():
        for split, old in splits.items():
            new = now["views"].get(view, {}).get(split)
            if new is None or new == old:
                continue
            what = "text or gold" if view == "text" else f"text, pictures or knowledge ({view})"
            changed = [key for key in new if key in old and old[key] != new[key]]
            posts = ", ".join(changed[:_SHOWN_POSTS]) + (", …" if len(changed) > _SHOWN_POSTS else "")
            if old.keys() == new.keys():
                how = f"{len(changed)} of {len(old)} posts have other {what}: {posts}"
            else:
                added, gone = (
                    Counter(new.values()) - Counter(old.values()),
                    Counter(old.values()) - Counter(new.values()),
                )
                how = (
                    f"{len(old)} posts before, {len(new)} now; {what} of {added.total()} new or other, "
                    f"{gone.total()} gone" + (f" ({posts})" if posts else "")
                )
            found.append(f"{name}, {split}: {how}")
    for key, what in (("folder", "folder"), ("knowledge", "knowledge store")):
        if found and before[key] != now[key]:
            was, is_now = before[key] or "none", now[key] or "none"
            found.insert(0, f"{name}: the {what} was {was} before, and is {is_now} now")
    return found


def state_of(
    material: Material, views: Mapping[str, Sequence[str] | None], roles: Iterable[str]
) -> dict[str, Any]:
    """The prints of a data set's posts, to be compared with later ones.

    Args:
        material: The data set.
        views: Names of what systems see of it, with the kinds of knowledge (None: the text alone).
        roles: The splits that are used.
    """
    roles = list(roles)
    return {
        "folder": material.place.folder,
        "knowledge": material.place.knowledge,
        "views": {
            view: {role: _named(material.posts(role, kinds), material.prints(role, kinds)) for role in roles}
            for view, kinds in views.items()
        },
    }


def _named(posts: Sequence[Post], prints: Sequence[str]) -> dict[str, str]:
    # Ids need not be there, nor be different; the place in the file then tells posts apart.
    named: dict[str, str] = {}
    for number, (post, found) in enumerate(zip(posts, prints, strict=True), 1):
        key = post.id if post.id and post.id not in named else f"post {number}"
        named[key] = found
    return named
