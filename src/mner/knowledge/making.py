"""Making knowledge: asking a provider about posts, once each, and keeping every answer as it comes.

The engine asks only what the store does not have, asks identical questions once, claims what it is about
to ask so that another process does not, and commits every answer when it arrives. A run may be killed at
any moment: at most the answers under way are lost, and the next run asks for the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mner.errors import MnerError, UsageError
from mner.images import open_picture
from mner.knowledge.attaching import attach
from mner.knowledge.claims import LEASE
from mner.knowledge.keys import Source, names_of
from mner.knowledge.provider import Answer, Provider, ProviderError, Question
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.posts import Post
from mner.progress import Advance, Reporter, silent

GIVE_UP_AFTER = 25
"""So many failures in a row end a run: the provider is down, not the posts bad."""

_CHUNK = 2000  # posts looked up at once
_EXAMPLES = 5  # posts named for each reason
_POLL = 0.5  # seconds between looks at what another process is asking


@dataclass
class MakingReport:
    """What a run did.

    Args:
        source: Who was asked.
        posts: Posts gone through.
        known: Posts of which the store had the answer, or another process gave it meanwhile.
        repeated: Posts that asked the same question as an earlier one of this run.
        answered: Questions answered now.
        failed: Questions that failed now.
        failed_before: Posts whose question failed in an earlier run and was not asked again.
        without: Posts that lack what the provider needs, by reason.
        examples: The first few of those posts, by reason.
        problems: The failures of now, by reason.
        input_tokens: Tokens read, where the provider says so.
        output_tokens: Tokens written, where the provider says so.
        cost: Price, where the provider knows it.
        seconds: How long the run took.
    """

    source: Source
    posts: int = 0
    known: int = 0
    repeated: int = 0
    answered: int = 0
    failed: int = 0
    failed_before: int = 0
    without: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON writes it."""
        record = {
            "provider": self.source.provider,
            "kind": self.source.kind,
            "source": self.source.key,
            "without": dict(self.without.most_common()),
            "examples": self.examples,
            "problems": dict(self.problems.most_common(20)),
        }
        for name in ("posts", "known", "repeated", "answered", "failed", "failed_before"):
            record[name] = getattr(self, name)
        for name in ("input_tokens", "output_tokens", "cost", "seconds"):
            record[name] = round(getattr(self, name), 6)
        return record

    def _lacks(self, post: Post, reason: str) -> None:
        self.without[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(post.id or next(iter(names_of(post)), post.text[:40]))

    def _add(self, answer: Answer) -> None:
        if answer.problem is None:
            self.answered += 1
        else:
            self.failed += 1
            self.problems[answer.problem] += 1
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        self.cost += answer.cost or 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question on its way: what it is about, and under which key its answer will stand."""

    key: str
    post: Post
    picture_key: str | None


def make_knowledge(
    posts: Iterable[Post],
    provider: Provider,
    store: KnowledgeStore,
    *,
    retry_failed: bool = False,
    using: Sequence[str | Provider | Source] | None = None,
    may_send: bool = False,
    give_up_after: int = GIVE_UP_AFTER,
    progress: Reporter = silent,
) -> MakingReport:
    """Ask a provider about every post that the store has no answer for.

    Args:
        posts: Any number of posts; they are gone through once, in pieces.
        provider: Whom to ask.
        store: Where the answers are looked up and kept.
        retry_failed: Whether to ask again what failed in an earlier run.
        using: For a provider that reads other knowledge (a chain that reads captions): where that comes
            from, as `attach` takes it; the provider's `sees_knowledge` where None.
        may_send: Whether posts and pictures may be sent to the provider's destination. It is enough to have
            confirmed that once in this store.
        give_up_after: So many failures in a row, pictures that cannot be opened apart, end the run.
        progress: Told how far it is.

    Raises:
        UsageError: The provider sends posts away, and nobody allowed it.
        ProviderError: The provider cannot be reached or fails at everything.
        StoreError: The store cannot be read or written.
    """
    destination = getattr(provider, "destination", None) or provider.name
    if provider.leaves_machine and not may_send and not store.is_confirmed(destination):
        raise UsageError(
            f"The provider {provider.name!r} sends posts or pictures to {destination}; nobody allowed that.",
            hint="Confirm it when asked, or give --yes-send-to-endpoint (in Python: may_send=True).",
        )
    run = _Run(provider, store, retry_failed=retry_failed, using=using, give_up_after=give_up_after)
    total = len(posts) if isinstance(posts, Sized) else None
    with progress(f"{run.source.kind} by {run.source.label()}", total) as advance:
        return run(posts, advance)


class _Run:
    """One run of `make_knowledge`; the store is touched by the calling thread alone."""

    def __init__(
        self,
        provider: Provider,
        store: KnowledgeStore,
        *,
        retry_failed: bool,
        using: Sequence[str | Provider | Source] | None,
        give_up_after: int,
    ) -> None:
        self.provider = provider
        self.store = store
        self.source = Source.of(provider)
        self.retry_failed = retry_failed
        self.using = self.source.sees_knowledge if using is None else using
        self.give_up_after = give_up_after
        self.report = MakingReport(self.source)
        self.seen: set[str] = set()
        self.deferred: list[_Asked] = []
        self.running: dict[Future[list[Answer]], list[_Asked]] = {}
        self.failures_in_a_row = 0
        self.renewed = self.looked = time.monotonic()

    def __call__(self, posts: Iterable[Post], advance: Advance) -> MakingReport:
        started = time.monotonic()
        self.advance = advance
        workers = max(1, self.provider.concurrency)
        questions = self._questions(posts)
        with ThreadPoolExecutor(workers, thread_name_prefix="mner-provider") as pool:
            try:
                while True:
                    for batch in self._batches(questions, workers - len(self.running)):
                        self.running[pool.submit(_answers, self.provider, self.source, batch)] = batch
                    if self.running:
                        self._collect()
                    elif self.deferred:
                        time.sleep(_POLL)
                    else:
                        break
            except BaseException:
                # Nothing more is asked; what is under way is waited for, paid for and kept.
                self._finish()
                raise
        self.report.seconds = time.monotonic() - started
        return self.report

    # What to ask

    def _questions(self, posts: Iterable[Post]) -> Iterator[_Asked]:
        """The questions that the store cannot answer, each once; the rest is counted."""
        remaining = iter(posts)
        while chunk := list(islice(remaining, _CHUNK)):
            self.report.posts += len(chunk)
            if self.source.sees_knowledge:
                chunk = list(attach(chunk, self.store, self.using))
            asked = self._askable(chunk)
            states = self.store.states(key for keys, _ in asked for key in keys)
            done = len(chunk) - len(asked)
            pending = []
            for keys, question in asked:
                # An answer may stand under the post's own name or one before it, where it is found first. An
                # answer under a later name may be another post's, of another set with the same ids; and a
                # failure says nothing about another name, as two pictures may be called alike.
                first = keys[: keys.index(question.key) + 1]
                answered = any(states.get(key) for key in first)
                state = True if answered else states.get(question.key)
                if state is None and question.key in self.seen:
                    self.report.repeated += 1
                elif state is True:
                    self.report.known += 1
                elif state is False and (not self.retry_failed or question.key in self.seen):
                    self.report.failed_before += 1
                else:
                    self.seen.add(question.key)
                    pending.append(question)
                    continue
                done += 1
            self._advance(done)
            yield from pending

    def _askable(self, posts: list[Post]) -> list[tuple[tuple[str, ...], _Asked]]:
        pictures: list[tuple[str | None, str | None]] = [(None, None)] * len(posts)
        if self.source.sees_picture:
            pictures = self.store.picture_keys([post.image for post in posts])
        askable = []
        for post, (picture_key, problem) in zip(posts, pictures, strict=True):
            keys = self.source.keys_of(post, picture_key)
            if keys:
                askable.append((keys, _Asked(self._own_key(post, keys), post, picture_key)))
                continue
            lacking = self.source.lacks(post, picture_key)
            if lacking == "a picture":
                reason = problem if post.image is not None else post.image_problem or problem
                self.report._lacks(post, f"picture: {reason}")
            else:
                self.report._lacks(post, f"the post has not {lacking}")
        return askable

    def _own_key(self, post: Post, keys: tuple[str, ...]) -> str:
        """The key to keep a post's answer under: that of the name by which it is found, or of its id.

        Two pictures may be called ``image.jpg``, in two folders. What was found by one post's id must not
        stand under that name, or the other post is given it.
        """
        if not self.source.sees_name:
            return keys[0]
        names = names_of(post)  # one for each key
        name_for = getattr(self.provider, "name_for", None)
        name = name_for(post) if name_for is not None else None
        return keys[names.index(name)] if name in names else keys[-1]

    def _batches(self, questions: Iterator[_Asked], slots: int) -> list[list[_Asked]]:
        """Batches for the free workers; when no question is left, of those that others gave up."""
        batches = self._claimed(questions, slots)
        if not batches and self.deferred and time.monotonic() - self.looked > _POLL / 2:
            self.looked = time.monotonic()
            waiting = iter(self._unsettled())
            self.deferred = []
            batches = self._claimed(waiting, slots)
            self.deferred += waiting
        return batches

    def _claimed(self, questions: Iterator[_Asked], slots: int) -> list[list[_Asked]]:
        """Batches for so many workers, claimed; what others have claimed is put off."""
        size = max(1, self.provider.batch_size)
        batches: list[list[_Asked]] = []
        while len(batches) < slots:
            wanted = list(islice(questions, (slots - len(batches)) * size))
            if not wanted:
                break
            granted = self.store.claim([one.key for one in wanted], retry_failed=self.retry_failed)
            self.deferred += [one for one in wanted if one.key not in granted]
            mine = [one for one in wanted if one.key in granted]
            batches += [mine[start : start + size] for start in range(0, len(mine), size)]
        return batches

    def _unsettled(self) -> list[_Asked]:
        """The questions put off that nobody has answered yet; the others are counted."""
        states = self.store.states(one.key for one in self.deferred)
        waiting = []
        for one in self.deferred:
            if states.get(one.key) is True:
                self.report.known += 1
            # With `retry_failed` a failure may be the old one, which another process is asking again.
            elif states.get(one.key) is False and not self.retry_failed:
                self.report.failed_before += 1
            else:
                waiting.append(one)
        self._advance(len(self.deferred) - len(waiting))
        return waiting

    # What came

    def _collect(self) -> None:
        """Wait for the next answers and keep them; keep the claims on the others alive."""
        done, _ = (
            wait(self.running, timeout=LEASE / 4, return_when=FIRST_COMPLETED)
            if self.running
            else (set(), ())
        )
        self._keep(done)
        if self.running and time.monotonic() - self.renewed > LEASE / 4:
            self.renewed = time.monotonic()
            self.store.renew([one.key for batch in self.running.values() for one in batch])
        if self.failures_in_a_row >= self.give_up_after:
            latest = next(reversed(self.report.problems), "")
            raise ProviderError(
                f"The last {self.failures_in_a_row} answers of {self.source.label()} in a row were failures;"
                " the run ends here. What was answered is kept.",
                got=latest,
                hint="Put right what is wrong, then run again with --retry-failed.",
            )

    def _keep(self, done: Iterable[Future[list[Answer]]]) -> None:
        rows = []
        error: BaseException | None = None
        for outcome in done:
            batch = self.running.pop(outcome)
            error = error or outcome.exception()
            if outcome.exception() is not None:
                self.store.release([one.key for one in batch])
                continue
            for one, answer in zip(batch, outcome.result(), strict=True):
                rows.append(
                    StoredAnswer(
                        key=one.key,
                        source=self.source,
                        answer=answer,
                        picture=one.picture_key if self.source.sees_picture else None,
                        post=one.post.id or next(iter(names_of(one.post)), ""),
                    )
                )
        if rows:
            self.store.save(rows)
        for row in rows:
            self.report._add(row.answer)
            if not row.failed:
                self.failures_in_a_row = 0
            elif not str(row.answer.problem).startswith("picture: "):
                self.failures_in_a_row += 1
        self._advance(len(rows))
        if error is not None:
            raise error

    def _finish(self) -> None:
        """Keep what is under way, and give up the claims on the rest."""
        wait(self.running)
        try:
            self._keep([outcome for outcome in self.running if outcome.exception() is None])
            self.store.release([one.key for batch in self.running.values() for one in batch])
        except MnerError:
            # The store itself has failed, which is the error that is under way already. Claims expire.
            return

    def _advance(self, count: int) -> None:
        report = self.report
        notes: dict[str, object] = {"known": report.known + report.repeated, "failed": report.failed}
        if report.cost:
            notes["cost"] = f"{report.cost:.4f}"
        self.advance(count, **notes)


def _answers(provider: Provider, source: Source, batch: Sequence[_Asked]) -> list[Answer]:
    """One answer a question, in order; pictures are opened here, for this batch alone."""
    questions: list[Question] = []
    answers: dict[int, Answer] = {}
    places = []
    for place, one in enumerate(batch):
        if not source.sees_picture:
            questions.append(Question(one.post))
        else:
            picture = open_picture(one.post.image)
            problem = picture.problem
            if problem is None and picture.key != one.picture_key:
                problem = "the file changed while it was read"
            if problem is not None:
                answers[place] = Answer(None, problem=f"picture: {problem}")
                continue
            questions.append(Question(one.post, picture.image, picture.key))
        places.append(place)
    answers.update(zip(places, _asked(provider, source, questions), strict=True))
    return [answers[place] for place in range(len(batch))]


def _asked(provider: Provider, source: Source, questions: list[Question]) -> list[Answer]:
    if not questions:
        return []
    try:
        answers = provider.answer(questions)
    except MnerError:
        raise
    except Exception as error:  # One bad post must not cost the batch, nor a batch the run.
        if len(questions) > 1:
            return [answer for question in questions for answer in _asked(provider, source, [question])]
        return [Answer(None, problem=f"{type(error).__name__}: {error}"[:500])]
    if len(answers) != len(questions):
        raise ProviderError(
            f"The provider {provider.name!r} does not answer each question once.",
            expected=f"{len(questions)} answers",
            got=f"{len(answers)}",
        )
    return [_checked(answer, source) for answer in answers]


def _checked(answer: Answer, source: Source) -> Answer:
    knowledge = answer.knowledge
    if answer.problem is not None:
        return answer
    if knowledge is None:
        return Answer(
            None, answer.raw, answer.request, "the provider gave no result", duration=answer.duration
        )
    if knowledge.kind != source.kind or knowledge.problem is not None:
        problem = knowledge.problem or f"the provider gave {knowledge.kind!r}, not {source.kind!r}"
        return Answer(None, answer.raw, answer.request, problem, duration=answer.duration)
    return answer
