"""Pictures out of requests: bytes that are a picture within the limits, or a refusal that says why not."""

from __future__ import annotations

import base64
import binascii

from mner.images import FORMATS, Picture, is_url, open_picture
from mner.serving.refusals import too_large, unreadable

_FORMATS = f"Send the bytes of a file in one of the formats {', '.join(FORMATS)}."


def decoded(text: str, where: str) -> bytes:
    """The bytes behind a picture in base64.

    Args:
        text: Base64, in either alphabet; the beginning of a `data:` URL with base64 may stand before it.
        where: The field, for messages.

    Raises:
        Refusal: It is something else, such as a path or a URL, which are not opened.
    """
    given = text
    head, comma, rest = text.partition(",")
    if comma and head.lower().startswith("data:") and head.lower().endswith(";base64"):
        text = rest
    text = text.strip().replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        kind = "a URL" if is_url(given) else "not base64"
        raise unreadable(
            where, f"the picture is {kind}", f"Neither paths nor URLs are opened. {_FORMATS}"
        ) from None


def opened(content: bytes, where: str, max_pixels: int) -> Picture:
    """The picture that bytes of a request are.

    Args:
        content: The bytes of the file.
        where: The field, for messages.
        max_pixels: The most pixels.

    Raises:
        Refusal: It is damaged, of another format, or too large.
    """
    picture = open_picture(content, max_pixels=max_pixels, max_bytes=max(len(content), 1))
    if picture.problem is None:
        return picture
    if "too many pixels" in picture.problem:
        raise too_large(f"{where}: the picture is too large: {picture.problem}.", "Send a smaller one.")
    raise unreadable(where, f"the picture cannot be used: {picture.problem}", _FORMATS)
