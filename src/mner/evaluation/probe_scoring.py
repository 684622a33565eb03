"""What a recogniser makes of the image probe: does it read the picture, follow it, and leave it alone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mner.data import read_folder
from mner.evaluation.probe import FORMS, STORE_FILE, Question, read_key
from mner.evaluation.probe_swapping import MODES, Predictor, with_picture_of, without_picture
from mner.evaluation.scores import Scores, score_posts
from mner.knowledge.supplying import KnowledgeSettings
from mner.posts import Entity, Post
from mner.progress import Reporter, silent

TEXT_MOST = 0.30
"""What a recogniser that reads the text alone may reach on ambiguous names; 0.25 is chance."""

OWN_LEAST = 0.95
"""What one that reads pictures must reach there, and on pairs."""

FOLLOWED_LEAST = 0.90
"""How often it must follow another picture."""

LOSS_MOST = 0.01
"""How much F1 it may lose to the text alone where the picture has nothing to do with the post."""


class Probed(Predictor, Protocol):
    """A recogniser with its settings of knowledge."""

    knowledge: KnowledgeSettings


@dataclass(frozen=True)
class FormResult:
    """Posts of one form.

    Args:
        posts: How many there are.
        own: Share of them whose asked names all are right.
        swapped: The same, with the picture of another post, which shows another type.
        followed: Share whose asked names are what that other picture says.
        none: Share that is right without any picture.
        told: Share whose names of types that the text tells are right; 1 where there are none.
        told_swapped: The same, with the other picture.
    """

    posts: int
    own: float
    swapped: float
    followed: float
    none: float
    told: float = 1.0
    told_swapped: float = 1.0

    def as_dict(self) -> dict[str, float | int]:
        """As JSON writes it; fractions from 0 to 1."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __add__(self, other: FormResult) -> FormResult:
        """The result of both together."""
        total = self.posts + other.posts
        shares = {
            name: (getattr(self, name) * self.posts + getattr(other, name) * other.posts) / total
            for name in self.__dataclass_fields__
            if name != "posts"
        }
        return FormResult(total, **shares)


@dataclass(frozen=True)
class ProbeResult:
    """What a recogniser made of the probe.

    Args:
        forms: The posts on which the picture matters, by form: ``alone``, ``aside``, ``pair``.
        unrelated: Scores of the posts whose pictures have nothing to do with them.
    """

    forms: dict[str, FormResult]
    unrelated: Scores

    @property
    def ambiguous(self) -> FormResult:
        """All names whose type only the picture tells: those alone and those with an aside."""
        return self.forms["alone"] + self.forms["aside"]

    @property
    def pairs(self) -> FormResult:
        """The pairs, both names of which have to be right."""
        return self.forms["pair"]

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it; fractions from 0 to 1."""
        return {
            "ambiguous": self.ambiguous.as_dict(),
            **{form: result.as_dict() for form, result in self.forms.items()},
            "unrelated": self.unrelated.as_dict(),
        }

    def shortcomings(self, text_f1: float | None = None) -> list[str]:
        """What a recogniser that reads pictures should do and does not, in sentences; none where all is well.

        Args:
            text_f1: The F1 on the unrelated posts of one that was trained alike and reads the text alone.
        """
        found = []
        for name, result in (("ambiguous names", self.ambiguous), ("pairs", self.pairs)):
            for what, value, least in (
                ("right with the own picture", result.own, OWN_LEAST),
                ("follow another picture", result.followed, FOLLOWED_LEAST),
            ):
                if value < least:
                    found.append(
                        f"{name}: {100 * value:.1f} % {what}, and {100 * least:.0f} % should be reached."
                    )
        f1 = self.unrelated.overall.f1
        if text_f1 is not None and f1 < text_f1 - LOSS_MOST:
            found.append(
                f"unrelated pictures: F1 {100 * f1:.2f}, more than {100 * LOSS_MOST:.0f} point "
                f"below the {100 * text_f1:.2f} of the text alone."
            )
        return found


def evaluate_probe(
    recognizer: Probed,
    folder: str | Path,
    split: str = "test",
    *,
    seed: int = 1,
    progress: Reporter = silent,
) -> ProbeResult:
    """Put a recogniser to the probe.

    Args:
        recognizer: The recogniser; it is given the knowledge it was trained with.
        folder: The probe, as `mner.evaluation.probe.write_probe` writes it.
        split: Which split.
        seed: Decides whose picture a post is given in exchange.
        progress: Told of every post that is done.

    Raises:
        UsageError: The folder holds no probe.
    """
    folder = Path(folder)
    key = read_key(folder)
    posts = read_folder(folder).split(split)
    posts = list(recognizer.knowledge.supply(posts, folder / STORE_FILE))
    questions = [key[post.id] for post in posts]
    donors = exchanged(posts, questions, seed)
    asking = [index for index, question in enumerate(questions) if question.asked]
    variants = {
        "own": posts,
        "swapped": [with_picture_of(posts[index], posts[donors[index]]) for index in asking],
        "none": [without_picture(posts[index]) for index in asking],
    }
    predicted = {mode: recognizer.predict(variants[mode], progress=progress) for mode in MODES}
    answers = {mode: dict(zip(asking, predicted[mode], strict=True)) for mode in MODES[1:]}
    answers["own"] = {index: predicted["own"][index] for index in asking}
    forms = {}
    for form in FORMS:
        chosen = [index for index in asking if questions[index].form == form]
        if chosen:
            forms[form] = _form_result(chosen, posts, questions, donors, answers)
    unrelated = [index for index, question in enumerate(questions) if not question.asked]
    scores = score_posts(
        [posts[index] for index in unrelated], [predicted["own"][index] for index in unrelated]
    )
    return ProbeResult(forms, scores)


def exchanged(posts: Sequence[Post], questions: Sequence[Question], seed: int) -> dict[int, int]:
    """For each post that asks something, another one of its form, of another text, that shows another type.

    For a pair it is one that shows the other of its two types.

    Args:
        posts: The posts.
        questions: What they ask.
        seed: Decides which of those there are.
    """
    random = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[int]] = {}
    for index, question in enumerate(questions):
        groups.setdefault((question.form, question.shown), []).append(index)
    donors = {}
    for index, (post, question) in enumerate(zip(posts, questions, strict=True)):
        if not question.asked:
            continue
        types = sorted({shown for form, shown in groups if form == question.form})
        if question.form == "pair":
            types = [entity.label for entity in post.gold()]
        others = [
            other
            for shown in types
            if shown != question.shown
            for other in groups[question.form, shown]
            if posts[other].text != post.text
        ]
        donors[index] = others[random.integers(len(others))]
    return donors


def _form_result(
    chosen: Sequence[int],
    posts: Sequence[Post],
    questions: Sequence[Question],
    donors: dict[int, int],
    answers: dict[str, dict[int, list[Entity]]],
) -> FormResult:
    rows = []
    for index in chosen:
        question = questions[index]
        gold = {(entity.start, entity.end): entity.label for entity in posts[index].gold()}
        asked = {place: gold[place] for place in question.asked}
        told = {place: label for place, label in gold.items() if place not in asked}
        # What the other picture says: the shown name is what it shows; of a pair, the other is the rest.
        shown = questions[donors[index]].shown
        other = {
            place: shown if number == 0 else question.shown for number, place in enumerate(question.asked)
        }
        said = {
            mode: {(entity.start, entity.end): entity.label for entity in found[index]}
            for mode, found in answers.items()
        }
        rows.append(
            (
                _agrees(said["own"], asked),
                _agrees(said["swapped"], asked),
                _agrees(said["swapped"], other),
                _agrees(said["none"], asked),
                _agrees(said["own"], told),
                _agrees(said["swapped"], told),
            )
        )
    return FormResult(len(rows), *(float(share) for share in np.mean(rows, axis=0)))


def _agrees(said: dict[tuple[int, int], str], wanted: dict[tuple[int, int], str]) -> bool:
    return all(said.get(place) == label for place, label in wanted.items())
