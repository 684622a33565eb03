"""What the server accepts, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from mner.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """The most that is accepted; what is beyond is refused with a message that names the limit.

    Args:
        body_bytes: Bytes of a request's body.
        bodies_bytes: Bytes of all bodies that are held at the same time.
        pixels: Pixels of a picture.
        request_pixels: Pixels of all pictures of a request together.
        posts: Posts of a request.
        post_characters: Characters of a post.
        characters: Characters of all posts of a request together.
        queue_posts: Posts that wait or are computed, of all requests together.
        seconds: Time for receiving a request's body, and again for answering it.
    """

    body_bytes: int = 16 * 2**20
    bodies_bytes: int = 256 * 2**20
    pixels: int = 20_000_000
    request_pixels: int = 100_000_000
    posts: int = 256
    post_characters: int = 5_000
    characters: int = 50_000
    queue_posts: int = 1024
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(f"A limit of the server is not positive: {name}.", got=str(value))


@dataclass(frozen=True)
class ServingSettings:
    """How the server works.

    Args:
        limits: The most that is accepted.
        batch_posts: Most posts computed at once.
        batch_characters: Most characters computed at once, unless a single post has more.
        batch_wait: Seconds that a batch waits for as many posts as the last one had.
        api_key: What requests have to show; everybody is served where None.
        page: Whether the page is served besides.
        read_pictures: Whether the text in pictures is read for recognisers that were trained to read it.
    """

    limits: Limits = field(default_factory=Limits)
    batch_posts: int = 32
    batch_characters: int = 8_000
    batch_wait: float = 0.005
    api_key: str | None = field(default=None, repr=False)
    page: bool = True
    read_pictures: bool = True

    def __post_init__(self) -> None:
        if min(self.batch_posts, self.batch_characters) < 1:
            raise UsageError(
                "A batch needs at least one post.", got=str(min(self.batch_posts, self.batch_characters))
            )
        if self.batch_wait < 0:
            raise UsageError("A batch cannot wait less than no time.", got=str(self.batch_wait))
        if self.api_key is not None and not self.api_key.strip():
            raise UsageError("The API key is empty.", hint="Leave it out to serve everybody.")
