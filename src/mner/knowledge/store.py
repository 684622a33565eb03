"""The store of knowledge: one SQLite file, one row an answer, committed as it arrives.

The file is in WAL mode: several processes on one machine read and write it at once, and what was
committed outlives ``kill -9`` and a loss of power. (WAL needs a local disk: on a cluster let each worker
write a store of its own and `KnowledgeStore.merge` them.) Nothing that is loaded from it can run code.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mner.errors import UsageError
from mner.images import is_url, read_picture
from mner.knowledge.claims import LEASE, is_dead, new_owner
from mner.knowledge.database import BUSY_SECONDS, StoreFile
from mner.knowledge.keys import Source, canonical_json, knowledge_from_record, knowledge_record, mended
from mner.knowledge.provider import Answer
from mner.posts import Knowledge

_CHUNK = 10_000  # keys in one query
_SECRETS = frozenset({"authorization", "proxy-authorization", "api-key", "apikey", "x-api-key", "cookie"})

_COLUMNS = (
    *("key", "source", "kind", "picture", "post", "status", "problem", "raw", "request", "result"),
    *("made_at", "duration", "input_tokens", "output_tokens", "cost", "attempts"),
)
# An answer replaces a failure, and a later failure counts as one more attempt; a failure never replaces
# an answer. Whether a later answer replaces an answer is the caller's to say.
_UPSERT = f"""
INSERT INTO answers ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
ON CONFLICT(key) DO UPDATE SET
    source = excluded.source, picture = excluded.picture, post = excluded.post, status = excluded.status,
    problem = excluded.problem, raw = excluded.raw, request = excluded.request, result = excluded.result,
    made_at = excluded.made_at, duration = excluded.duration, input_tokens = excluded.input_tokens,
    output_tokens = excluded.output_tokens, cost = excluded.cost,
    attempts = answers.attempts + {{more}}
WHERE answers.status = 'failed' OR ({{replace}} AND excluded.status = 'answered')
"""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A row of the store.

    Args:
        key: The key of the answer.
        source: Who was asked.
        answer: What was said.
        picture: SHA-256 of the picture that was shown, or None.
        post: The id or name of the post that asked first; for people, not part of the key.
        made_at: When, as ISO 8601 in UTC; empty means now.
        attempts: How often it was asked.
    """

    key: str
    source: Source
    answer: Answer
    picture: str | None = None
    post: str = ""
    made_at: str = ""
    attempts: int = 1

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return self.answer.problem is not None


class KnowledgeStore(StoreFile):
    """A store of knowledge in one SQLite file. A context manager; safe to share between threads.

    Args:
        path: The file; made where it is not there, unless `read_only`.
        read_only: Whether nothing may be written.
        busy_seconds: How long to wait for another process that is writing.

    Raises:
        StoreError: The file is not a store, or cannot be opened.
    """

    def __init__(
        self, path: Path | str, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.owner = new_owner()
        self._sources: dict[str, Source] = {}
        super().__init__(path, read_only=read_only, busy_seconds=busy_seconds)

    # Answers

    def lookup(self, keys: Iterable[str]) -> dict[str, Knowledge]:
        """What is known under the keys; a failure is knowledge with a problem, an absent key is absent."""
        found = {}
        for chunk in _chunks(list(keys)):
            rows = self._select(
                "SELECT key, result FROM answers WHERE key IN (SELECT value FROM json_each(?))",
                json.dumps(chunk),
            )
            answered = [row for row in rows if row[1] is not None]
            # One list: loaded one by one, most of the time of a short text is spent around it.
            records = _loaded(f"[{','.join(result for _, result in answered)}]")
            for (key, _), record in zip(answered, records, strict=True):
                found[key] = knowledge_from_record(record)
            if len(answered) < len(rows):
                found.update(self._failures([key for key, result in rows if result is None]))
        return found

    def _failures(self, keys: list[str]) -> dict[str, Knowledge]:
        rows = self._select(
            "SELECT a.key, a.kind, s.provider, a.problem FROM answers a JOIN sources s USING (source)"
            " WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(keys),
        )
        return {
            key: Knowledge(kind=kind, origin=provider, problem=problem)
            for key, kind, provider, problem in rows
        }

    def states(self, keys: Iterable[str]) -> dict[str, bool]:
        """For each key that the store has: True where it is answered, False where it failed."""
        found: dict[str, bool] = {}
        for chunk in _chunks(list(keys)):
            found.update(
                (key, status == "answered")
                for key, status in self._select(
                    "SELECT key, status FROM answers WHERE key IN (SELECT value FROM json_each(?))",
                    json.dumps(chunk),
                )
            )
        return found

    def save(self, answers: Iterable[StoredAnswer], *, replace: bool = False) -> int:
        """Write answers in one transaction and give up the claims on them.

        Args:
            answers: What came. An answer replaces an earlier failure, a failure never an answer.
            replace: Whether an answer replaces an earlier answer too.

        Returns:
            How many rows were written.
        """
        rows = list(answers)
        with self._transaction() as connection:
            self._write_sources(row.source for row in rows)
            before = connection.total_changes
            statement = _UPSERT.format(more=1, replace=int(replace))
            connection.executemany(statement, (_row(stored) for stored in rows))
            written = connection.total_changes - before
            connection.executemany("DELETE FROM claims WHERE key = ?", ((row.key,) for row in rows))
        return written

    def replace_sources(self, sources: Iterable[Source], answers: Iterable[StoredAnswer]) -> int:
        """Write answers, and forget everything that some sources said, in one transaction.

        Returns:
            How many rows were written.
        """
        rows = list(answers)
        with self._transaction() as connection:
            for source in sources:
                connection.execute("DELETE FROM answers WHERE source = ?", (source.key,))
                connection.execute("DELETE FROM sources WHERE source = ?", (source.key,))
                self._sources.pop(source.key, None)
            self._write_sources(row.source for row in rows)
            before = connection.total_changes
            connection.executemany(_UPSERT.format(more=1, replace=1), (_row(stored) for stored in rows))
            return connection.total_changes - before

    def _write_sources(self, sources: Iterable[Source]) -> None:
        new = {source.key: source for source in sources if source.key not in self._sources}
        for source in new.values():
            # A provider is called after its file, whose name need not be UTF-8; the description is ASCII.
            row = (source.key, source.provider, source.kind, canonical_json(source.description()), _now())
            self._connection.execute("INSERT OR IGNORE INTO sources VALUES (?, ?, ?, ?, ?)", mended(row))

    def sources(self, kind: str | None = None) -> list[Source]:
        """Everyone who was ever asked, the latest first."""
        rows = self._select(
            "SELECT source, description FROM sources WHERE ? IS NULL OR kind = ?"
            " ORDER BY first_used DESC, rowid DESC",
            *mended((kind, kind)),
        )
        return [self._source(key, description) for key, description in rows]

    def _source(self, key: str, description: str) -> Source:
        if key not in self._sources:
            self._sources[key] = Source.from_description(json.loads(description))
        return self._sources[key]

    def answers(
        self,
        *,
        keys: Sequence[str] | None = None,
        picture: str | None = None,
        post: str | None = None,
        kind: str | None = None,
        key_start: str | None = None,
    ) -> Iterator[StoredAnswer]:
        """Whole rows, in the order of their keys.

        They are chosen by any of: keys, picture's hash, post's name, kind, beginning of the key.
        Rows are read in pieces, so that a store larger than the memory can be gone through.
        """
        conditions = {"a.key > ?": ""}
        if keys is not None:
            conditions["a.key IN (SELECT value FROM json_each(?))"] = json.dumps(list(keys))
        for column, value in (("picture", picture), ("post", post), ("kind", kind)):
            if value is not None:
                conditions[f"a.{column} = ?"] = value
        if key_start is not None:
            # Keys are hexadecimal, and "g" comes after all digits.
            conditions |= {"a.key >= ?": key_start, "a.key < ?": key_start + "g"}
        query = (
            f"SELECT {', '.join('a.' + column for column in _COLUMNS)}, s.description"
            f" FROM answers a JOIN sources s USING (source) WHERE {' AND '.join(conditions)}"
            " ORDER BY a.key LIMIT 1000"
        )
        while True:
            rows = self._select(query, *mended(tuple(conditions.values())))
            for row in rows:
                yield self._stored(row)
            if len(rows) < 1000:
                return
            conditions["a.key > ?"] = rows[-1][0]

    def _stored(self, row: Sequence[Any]) -> StoredAnswer:
        (key, source, _, picture, post, _, problem, raw, request, result, made_at, duration) = row[:12]
        input_tokens, output_tokens, cost, attempts, description = row[12:]
        return StoredAnswer(
            key=key,
            source=self._source(source, description),
            answer=Answer(
                knowledge=None if result is None else knowledge_from_record(_loaded(result)),
                raw=raw,
                request=_loaded(request),
                problem=problem,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cost=cost,
                duration=duration,
            ),
            picture=picture,
            post=post or "",
            made_at=made_at,
            attempts=attempts,
        )

    def counts(self) -> list[dict[str, Any]]:
        """One record a source: how much it answered, how often it failed, what that took and cost."""
        rows = self._select(
            "SELECT s.source, s.description, count(a.key), coalesce(sum(a.status = 'failed'), 0),"
            " sum(a.duration), sum(a.input_tokens), sum(a.output_tokens), sum(a.cost), max(a.made_at)"
            " FROM sources s LEFT JOIN answers a USING (source)"
            " GROUP BY s.source ORDER BY s.first_used, s.rowid"
        )
        names = ("failed", "seconds", "input_tokens", "output_tokens", "cost", "last")
        records = []
        for key, description, total, *values in rows:
            source = self._source(key, description)
            record = {"source": key, "provider": source.provider, "kind": source.kind, "answers": total}
            records.append(
                {**record, **dict(zip(names, values, strict=True)), "settings": dict(source.settings)}
            )
        return records

    def __len__(self) -> int:
        return int(self._select("SELECT count(*) FROM answers")[0][0])

    # Claims

    def claim(self, keys: Sequence[str], *, retry_failed: bool = False, lease: float = LEASE) -> set[str]:
        """Say that this store's owner is about to ask; the keys that nobody else asks or has answered.

        Args:
            keys: What is to be asked.
            retry_failed: Whether a key that failed may be claimed.
            lease: Seconds until the claims expire, unless `renew`ed.
        """
        now = time.time()
        wanted = json.dumps(list(keys))
        with self._transaction() as connection:
            taken = {
                row[0]
                for row in connection.execute(
                    "SELECT key FROM answers WHERE key IN (SELECT value FROM json_each(?))"
                    " AND (status = 'answered' OR NOT ?)",
                    (wanted, retry_failed),
                )
            }
            others = connection.execute(
                "SELECT key, owner, expires FROM claims WHERE key IN (SELECT value FROM json_each(?))",
                (wanted,),
            ).fetchall()
            dead = {owner for owner in {row[1] for row in others} if is_dead(owner)}
            taken |= {
                key
                for key, owner, expires in others
                if expires > now and owner not in dead and owner != self.owner
            }
            granted = [key for key in dict.fromkeys(keys) if key not in taken]
            connection.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                ((key, self.owner, now + lease) for key in granted),
            )
        return set(granted)

    def renew(self, keys: Iterable[str], *, lease: float = LEASE) -> None:
        """Keep claims of this owner alive."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE claims SET expires = ? WHERE key = ? AND owner = ?",
                ((time.time() + lease, key, self.owner) for key in keys),
            )

    def release(self, keys: Iterable[str]) -> None:
        """Give up claims of this owner."""
        with self._transaction() as connection:
            connection.executemany(
                "DELETE FROM claims WHERE key = ? AND owner = ?", ((key, self.owner) for key in keys)
            )

    # Pictures

    def picture_keys(
        self, pictures: Sequence[Path | str | bytes | None]
    ) -> list[tuple[str | None, str | None]]:
        """For each picture SHA-256 of its bytes, or None and the reason.

        A file is read once: its hash is kept with its size and time of change.
        """
        found: list[tuple[str | None, str | None]] = [(None, None)] * len(pictures)
        files: dict[str, list[int]] = {}
        for index, picture in enumerate(pictures):
            if isinstance(picture, str | Path) and not is_url(picture):
                files.setdefault(str(Path(picture).absolute()), []).append(index)
            else:
                found[index] = _hash(picture)
        known: dict[str, tuple[int, int, str]] = {}
        for chunk in _chunks(list(files)):
            rows = self._select(
                "SELECT path, size, changed, picture FROM pictures"
                " WHERE path IN (SELECT value FROM json_each(?))",
                json.dumps(chunk),
            )
            known.update((path, (size, changed, key)) for path, size, changed, key in rows)
        new = []
        for path, indices in files.items():
            status = _status(path)
            if status is not None and known.get(path, (None, None))[:2] == status:
                outcome: tuple[str | None, str | None] = (known[path][2], None)
            else:
                outcome = _hash(path)
                # A file that changed just now may change again within the same tick of its clock.
                settled = status is not None and status[1] < time.time_ns() - 2_000_000_000
                if status is not None and settled and outcome[0] is not None and _status(path) == status:
                    new.append((path, *status, outcome[0]))
            for index in indices:
                found[index] = outcome
        if new and not self.read_only:
            with self._transaction() as connection:
                connection.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", mended(new))
        return found

    # Consent

    def is_confirmed(self, destination: str) -> bool:
        """Whether a user has allowed posts and pictures to be sent there."""
        return bool(self._select("SELECT 1 FROM confirmed WHERE destination = ?", destination))

    def confirm(self, destination: str) -> None:
        """Remember that a user has allowed posts and pictures to be sent there."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO confirmed VALUES (?, ?)", (destination, _now()))

    # Merging

    def merge(self, other: Path | str) -> int:
        """Take over what another store has and this one has not; an answer replaces a failure.

        Returns:
            How many answers were taken over.

        Raises:
            StoreError: The other file is not a store.
        """
        if Path(other).resolve() == self.path.resolve():
            raise UsageError(f"The store {self.path} cannot be merged into itself.")
        written = 0
        with KnowledgeStore(other, read_only=True) as theirs:
            for chunk in _in_chunks(theirs.answers(), 1000):
                written += self.add(chunk)
        return written

    def add(self, answers: Iterable[StoredAnswer]) -> int:
        """Take over rows of another store, as they are but for what this one knows better.

        Returns:
            How many were taken over.
        """
        rows = list(answers)
        with self._transaction() as connection:
            self._write_sources(row.source for row in rows)
            before = connection.total_changes
            states = {
                key: status == "answered"
                for key, status in connection.execute(
                    "SELECT key, status FROM answers WHERE key IN (SELECT value FROM json_each(?))",
                    (json.dumps([row.key for row in rows]),),
                )
            }
            wanted = [
                row for row in rows if row.key not in states or (not states[row.key] and not row.failed)
            ]
            connection.executemany(_UPSERT.format(more=0, replace=0), (_row(stored) for stored in wanted))
            return connection.total_changes - before


def _row(stored: StoredAnswer) -> tuple[Any, ...]:
    answer = stored.answer
    result = None
    if answer.problem is None:
        if answer.knowledge is None:
            raise ValueError("an answer without a problem needs knowledge")
        result = json.dumps(mended(knowledge_record(answer.knowledge)), allow_nan=False)
    row = (
        stored.key,
        stored.source.key,
        stored.source.kind,
        stored.picture,
        stored.post,
        "failed" if stored.failed else "answered",
        answer.problem,
        answer.raw,
        canonical_json(mended(_without_secrets(answer.request))),
        result,
        stored.made_at or _now(),
        float(answer.duration),
        answer.input_tokens,
        answer.output_tokens,
        answer.cost,
        stored.attempts,
    )
    return tuple(mended(row))


def _loaded(text: str) -> Any:
    # Stores of earlier versions hold halves of surrogate pairs, as JSON's escapes.
    return mended(json.loads(text)) if "\\ud" in text else json.loads(text)


def _without_secrets(value: Any) -> Any:
    """A request without what looks like a credential, should a provider have left it in."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {
            str(name): _without_secrets(item)
            for name, item in value.items()
            if str(name).lower().replace("_", "-") not in _SECRETS
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value


def _status(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _hash(picture: Path | str | bytes | None) -> tuple[str | None, str | None]:
    content, problem = read_picture(picture)
    return (None, problem) if content is None else (hashlib.sha256(content).hexdigest(), None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _chunks(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _in_chunks(items: Iterable[StoredAnswer], size: int) -> Iterator[list[StoredAnswer]]:
    chunk: list[StoredAnswer] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
