"""Opening a picture safely, once, for everyone.

Whatever a data set, a user or an upload hands in, the outcome is a `Picture`: the picture itself (RGB,
upright, on white where it was transparent) or the reason why there is none. Nothing here raises because
of what a file contains, and memory stays bounded: size and dimensions are read before anything is
decoded. A missing or broken picture is a value; it is never replaced by another one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        GifImagePlugin.GifImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
"""The formats that are opened; everything else is refused, whatever its name says."""

MAX_BYTES = 64 * 2**20
"""The largest file that is read, in bytes."""

MAX_PIXELS = 50_000_000
"""The most pixels that are decoded: 150 MB as RGB."""

READING = "rgb-upright-white-1"
"""Names the way in which bytes become pixels here; part of the key of every answer made from a picture."""

# A baseline JPEG can be decoded at an eighth of its width and height without ever being held in full;
# up to this many times `max_pixels` that takes seconds, beyond it the file is refused.
_DRAFT_FACTOR = 16

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, or why there is none.

    Args:
        image: The picture in mode RGB, turned upright; None where there is a problem.
        problem: What is wrong, in words for people; None where there is a picture.
        key: SHA-256 of the bytes in hexadecimal; None where no bytes could be read.
    """

    image: Image.Image | None
    problem: str | None = None
    key: str | None = None


def open_picture(
    source: Path | str | bytes | None,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    max_side: int | None = None,
    allow_symlinks: bool = True,
) -> Picture:
    """Open a picture: right, or with the reason why not; never an exception.

    The first frame of an animation is taken, EXIF rotation is respected, sixteen bits become eight,
    transparent pictures are laid on white. A JPEG beyond `max_pixels` is decoded at a fraction of its size
    where that is possible; any other picture beyond it is refused by its header.

    Args:
        source: A local path, or the bytes of a file. A URL is refused: see `mner.fetching`.
        max_pixels: The most pixels to decode.
        max_bytes: The largest file to read.
        max_side: Where given, a larger picture is shrunk so that no side is longer.
        allow_symlinks: Whether a symbolic link to a regular file is followed.
    """
    content, problem = read_picture(source, max_bytes=max_bytes, allow_symlinks=allow_symlinks)
    if content is None:
        return Picture(None, problem)
    key = hashlib.sha256(content).hexdigest()
    try:
        image = _decode(content, max_pixels, max_side)
    except _RefusedError as error:
        return Picture(None, str(error), key)
    except MemoryError:
        return Picture(None, "not enough memory to decode it", key)
    except Exception as error:  # Decoders raise whatever a damaged file leads them to.
        return Picture(None, f"cannot be decoded: {_reason(error)}", key)
    return Picture(image, None, key)


def read_picture(
    source: Path | str | bytes | None, *, max_bytes: int = MAX_BYTES, allow_symlinks: bool = True
) -> tuple[bytes | None, str | None]:
    """The bytes of a picture, or None and the reason; nothing is decoded.

    Only regular files are read: a directory, a pipe or a device is refused without being opened for
    longer than it takes to see what it is.
    """
    if source is None:
        return None, "there is no picture"
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        if len(content) > max_bytes:
            return None, _too_large(len(content), max_bytes)
    else:
        if is_url(source):
            return None, "it is a URL, and pictures are not fetched unless that is allowed"
        found, problem = _read_file(source, max_bytes, allow_symlinks)
        if found is None:
            return None, problem
        content = found
    if not content:
        return None, "the file is empty"
    return content, None


def is_url(source: object) -> bool:
    """Whether a source names something to fetch rather than a local file."""
    # A URL that went through Path has lost one of its slashes.
    return str(source).lower().startswith(("http:/", "https:/", "ftp:/", "data:", "file:/"))


class _RefusedError(Exception):
    """A picture is refused for a reason of ours."""


def _read_file(path: Path | str, max_bytes: int, allow_symlinks: bool) -> tuple[bytes | None, str | None]:
    name = os.fspath(path)
    if not name:
        return None, "its path is empty"
    # Not blocking: opening a pipe that nobody writes to would otherwise wait for ever.
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    if not allow_symlinks:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        # Before opening (a device may act on being opened) and after (the file may have been exchanged).
        problem = _not_a_file(Path(name).stat(follow_symlinks=allow_symlinks))
        if problem is not None:
            return None, problem
        descriptor = os.open(name, flags)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(descriptor)
            problem = _not_a_file(status)
            if problem is not None:
                return None, problem
            if status.st_size > max_bytes:
                return None, _too_large(status.st_size, max_bytes)
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        return None, _unreadable(error)
    if len(content) > max_bytes:
        return None, _too_large(len(content), max_bytes)
    return content, None


def _not_a_file(status: os.stat_result) -> str | None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if stat.S_ISLNK(mode):
        return "it is a symbolic link, and links are not followed here"
    return "it is not a regular file (a pipe, a socket or a device)"


def _unreadable(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENOTDIR):
        return "the file does not exist"
    if number == errno.ELOOP:
        return "it is a symbolic link that leads nowhere or is not followed here"
    if number in (errno.EACCES, errno.EPERM):
        return "reading the file is not permitted"
    if number == errno.ENAMETOOLONG:
        return "its name is too long"
    return f"cannot be read: {_reason(error)}"


def _too_large(size: int, limit: int) -> str:
    return f"the file is too large: {size} bytes or more, at most {limit} are read"


def _reason(error: Exception) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:200] or type(error).__name__


def _decode(content: bytes, max_pixels: int, max_side: int | None) -> Image.Image:
    image = _identified(content)
    width, height = image.size
    if width < 1 or height < 1:
        raise _RefusedError(f"it has no pixels ({width} x {height})")
    if width * height > max_pixels:
        _draft(image, max_pixels)
    image.load()
    orientation = _orientation(image)
    picture = _rgb(image)
    if max_side is not None and max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    return picture


def _identified(content: bytes) -> ImageFile.ImageFile:
    """The picture with its header read and nothing decoded.

    `Image.open` would do, but for its own limit: a process-wide setting that warns, or raises before a
    large photograph can be drafted. The limit here is `max_pixels`, and the caller applies it.
    """
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(content[:16]) is True:
            try:
                return factory(io.BytesIO(content), "")
            except (SyntaxError, IndexError, TypeError, KeyError) as error:
                raise _RefusedError(f"it begins like {name} and is damaged: {_reason(error)}") from error
    raise _RefusedError(f"it is not a picture in a known format ({', '.join(FORMATS)})")


def _draft(image: ImageFile.ImageFile, max_pixels: int) -> None:
    """Have a large JPEG decoded at a fraction of its size, or refuse the picture."""
    width, height = image.size
    refusal = _RefusedError(f"it has too many pixels ({width} x {height}), at most {max_pixels} are decoded")
    # A progressive JPEG is held in full whatever the scale.
    if image.format not in ("JPEG", "MPO") or "progressive" in image.info:
        raise refusal
    if width * height > _DRAFT_FACTOR * max_pixels:
        raise refusal
    for scale in (2, 4, 8):
        if -(-width // scale) * -(-height // scale) <= max_pixels:
            image.draft(None, (-(-width // scale), -(-height // scale)))
            break
    if image.size[0] * image.size[1] > max_pixels:
        raise refusal


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Damaged EXIF is no reason to lose a good picture.
        return 1
    return found if isinstance(found, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    """The loaded picture in mode RGB: eight bits, on white where it is transparent."""
    if image.mode == "RGB" and "transparency" not in image.info:
        # A plain copy of the data, without the file behind it.
        return image.copy() if isinstance(image, ImageFile.ImageFile) else image
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    elif image.has_transparency_data:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, transparent).convert("RGB")
    if image.mode == "LAB":
        image = _from_lab(image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits or of floating-point numbers as one of 8 bits.

    Sixteen bits are the full range; wider numbers have none, so their own least and greatest become
    black and white. (Pillow's own conversion cuts everything above 255 to white.)
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode == "I" and finite.min() >= 0 and finite.max() <= 65535:
        scale, least = (256.0 if finite.max() > 255 else 1.0), 0.0
    else:
        least = float(finite.min())
        scale = max((float(finite.max()) - least) / 255, 1e-12)
    return Image.fromarray(np.clip((finite - least) / scale, 0, 255).astype(np.uint8))


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    to_rgb = ImageCms.buildTransformFromOpenProfiles(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, to_rgb)
    return image.convert("L") if converted is None else converted


def count_reason(counts: Counter[str], reason: str, most: int, other: str = "other reasons") -> None:
    """Count why a picture was not used, in bounded memory.

    Reasons may name files, and a stream has any number of those.

    Args:
        counts: The counts so far.
        reason: The reason.
        most: How many counts there may be before further reasons are taken together.
        other: What they are counted as then.
    """
    counts[other if reason not in counts and len(counts) >= most else reason] += 1


def listed_reasons(counts: Counter[str]) -> str:
    """The five most frequent reasons with their counts, and how many others there are."""
    named = "; ".join(f"{reason or 'none given'} ({count})" for reason, count in counts.most_common(5))
    return named + (f"; {len(counts) - 5} other reasons" if len(counts) > 5 else "")
