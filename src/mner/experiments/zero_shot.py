"""Entities by a language model that was not trained for them, as MGIPS-CL's table 2 compares with.

Every post is asked about once, through the machinery of knowledge: answers are kept as they come, an
interrupted run goes on, equal questions are asked once. Reading the answers is a step of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mner.errors import UsageError
from mner.evaluation.scores import Scores, score_posts
from mner.knowledge.attaching import attach
from mner.knowledge.making import MakingReport, make_knowledge
from mner.knowledge.mentions import UNREADABLE, read_mentions
from mner.knowledge.providers.endpoint import EndpointEntities
from mner.knowledge.store import KnowledgeStore
from mner.posts import Entity, Post
from mner.progress import Reporter, silent

UNANSWERED = "no answer"


@dataclass
class ZeroShot:
    """What a language model found.

    Args:
        predicted: The entities of each post.
        read: Posts whose answer could be read.
        refused: What was refused of the answers, by reason.
        reports: What was asked: one for each way of asking.
    """

    predicted: list[tuple[Entity, ...]] = field(default_factory=list)
    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    reports: list[MakingReport] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Posts without an answer that could be read; they have no entities, and their gold is missed."""
        return self.refused[UNANSWERED] + self.refused[UNREADABLE]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the entities, as JSON writes it."""
        return {
            "posts": len(self.predicted),
            "read": self.read,
            "refused": dict(self.refused.most_common()),
            "runs": [report.as_dict() for report in self.reports],
        }


def predict_zero_shot(
    posts: Sequence[Post],
    provider: EndpointEntities,
    store: KnowledgeStore,
    *,
    without_picture: EndpointEntities | None = None,
    retry_failed: bool = False,
    may_send: bool = False,
    progress: Reporter = silent,
) -> ZeroShot:
    """Ask a language model for the entities of posts.

    Args:
        posts: The posts; their gold is not looked at.
        provider: Whom to ask.
        store: Where answers are looked up and kept.
        without_picture: Whom to ask about posts without a picture, where `provider` shows pictures.
        retry_failed: Ask again what failed in an earlier run.
        may_send: Whether posts may be sent to the provider's destination: see `make_knowledge`.
        progress: Told how far it is.

    Raises:
        UsageError: `provider` shows pictures, and nobody is named to ask about posts without one.
        ProviderError: The endpoint cannot be reached or fails at everything; what was answered is kept.
    """
    if provider.sees_picture and without_picture is None:
        raise UsageError(
            "Posts without a picture would not be asked about.", hint="Name whom to ask about them."
        )
    result = ZeroShot()
    askers = [provider] if without_picture is None else [provider, without_picture]
    pictured = _with_picture(posts, store) if provider.sees_picture else [True] * len(posts)
    groups = [
        [place for place, there in enumerate(pictured) if there is (asker is provider)] for asker in askers
    ]
    answers: list[str | None] = [None] * len(posts)
    for asker, places in zip(askers, groups, strict=True):
        asked = [posts[place].with_fields(knowledge=()) for place in places]
        result.reports.append(
            make_knowledge(
                asked, asker, store, retry_failed=retry_failed, may_send=may_send, progress=progress
            )
        )
        for place, post in zip(places, attach(asked, store, [asker]), strict=True):
            known = post.known(asker.kind)
            answers[place] = known.text if known is not None else None
    labels = tuple(provider.prompt.domain.types)
    for post, answer in zip(posts, answers, strict=True):
        if answer is None:
            result.refused[UNANSWERED] += 1
            result.predicted.append(())
            continue
        mentions = read_mentions(answer, post, labels)
        result.read += mentions.readable
        result.refused += mentions.refused
        result.predicted.append(mentions.entities)
    return result


def score_zero_shot(posts: Sequence[Post], found: ZeroShot, convention: str = "conll") -> Scores:
    """The score of what was found, as of any other system; a post without an answer counts as missed.

    Raises:
        DataError: A post is not annotated.
    """
    return score_posts(posts, found.predicted, convention)


def _with_picture(posts: Sequence[Post], store: KnowledgeStore) -> list[bool]:
    return [key is not None for key, _ in store.picture_keys([post.image for post in posts])]
