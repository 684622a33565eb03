"""What the server counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_POSTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one server; two servers in a process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "mner_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "mner_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "mner_refused", "Requests refused, by reason.", ["reason"], registry=self.registry
        )
        self.posts = Counter("mner_posts", "Posts recognised.", registry=self.registry)
        self.entities = Counter("mner_entities", "Entities found.", ["label"], registry=self.registry)
        self.batches = Histogram(
            "mner_batch_posts", "Posts computed at once.", buckets=_POSTS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "mner_batch_seconds", "Time to compute a batch.", buckets=_SECONDS, registry=self.registry
        )
        self.reading_seconds = Histogram(
            "mner_picture_reading_seconds",
            "Time to read the text in a picture.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._held = Gauge("mner_posts_held", "Posts that wait or are computed.", registry=self.registry)

    def watch(self, held: Callable[[], int]) -> None:
        """Ask `held` for the number of posts that wait or are computed whenever the metrics are read."""
        self._held.set_function(held)

    def batch(self, posts: int, seconds: float) -> None:
        """Count a batch."""
        self.posts.inc(posts)
        self.batches.observe(posts)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
