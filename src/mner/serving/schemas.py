"""What requests and answers look like."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mner.serving.settings import Limits

_OFFSETS = (
    "counted in Unicode code points of `text`, as Python's `len` does. JavaScript counts UTF-16 units: "
    "use `Array.from(text)` there before cutting."
)

Identity = Annotated[str, Field(max_length=200)]
LONGEST_ALT = 5_000
"""Most characters of an alternative text."""


class PostIn(BaseModel):
    """A post to recognise entities in."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"text": "Kawhi Leonard wins in Toronto"}]},
    )

    text: str = Field(description="The text of the post; may be empty.")
    image: str | None = Field(
        None,
        description="The post's picture: the bytes of a JPEG, PNG, GIF, WebP, BMP or TIFF file in base64. "
        "Paths and URLs are not opened.",
        json_schema_extra={"contentEncoding": "base64"},
    )
    alt: str | None = Field(None, max_length=LONGEST_ALT, description="The picture's alternative text.")
    id: Identity | None = Field(None, description="A name of yours for the post; it comes back.")


class PostsIn(BaseModel):
    """Several posts."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"posts": [{"text": "Kawhi Leonard wins in Toronto"}, {"text": "so cold today"}]}]
        },
    )

    posts: list[PostIn] = Field(description="The posts; answered in this order.")


class EntityOut(BaseModel):
    """A named thing in a post: its text is that from `start` to `end`."""

    text: str
    label: str = Field(description="The type.")
    start: int = Field(description=f"Where it begins, {_OFFSETS}")
    end: int = Field(description=f"Where it ends, exclusive, {_OFFSETS}")
    score: float = Field(description="The probability of exactly this span with this type, 0 to 1.")


class KnowledgeOut(BaseModel):
    """Something that was read in the picture before the post was."""

    kind: str = Field(description="What it is, such as `ocr`.")
    text: str
    origin: str = Field(description="What read it.")


class PostOut(BaseModel):
    """A post with its entities."""

    id: str | None = None
    text: str
    entities: list[EntityOut] = Field(description="By ascending start; they do not overlap.")
    knowledge: list[KnowledgeOut] | None = Field(
        None, description="What was read in the picture, where this recogniser uses that."
    )


class PostsOut(BaseModel):
    """Posts with their entities, in the order of the request."""

    posts: list[PostOut]


class FaultOut(BaseModel):
    """What is wrong with one part of a request."""

    where: str = Field(description="The part, such as `posts.3.image`.")
    problem: str


class ErrorOut(BaseModel):
    """Why a request was not answered as asked."""

    status: int
    message: str
    hint: str | None = None
    details: list[FaultOut] | None = None


class ProblemOut(BaseModel):
    """The answer to a request that was refused."""

    error: ErrorOut


class HealthOut(BaseModel):
    """Whether the process answers at all."""

    status: str


class VersionOut(BaseModel):
    """What is running."""

    mner: str
    model: str = Field(description="The registered name of the system.")
    labels: list[str] = Field(description="The types that can be recognised.")
    reads_pictures: bool = Field(description="Whether the system looks at a post's picture or its text.")
    device: str
    dtype: str
    limits: dict[str, float]


def with_limits(document: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """An OpenAPI document whose schemas name this server's limits."""
    schemas = document["components"]["schemas"]
    schemas["PostIn"]["properties"]["text"]["maxLength"] = limits.post_characters
    schemas["PostsIn"]["properties"]["posts"]["maxItems"] = limits.posts
    for name, schema in schemas.items():
        if name.startswith("Body_"):
            schema["properties"]["text"]["maxLength"] = limits.post_characters
    return document
