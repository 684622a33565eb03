"""Pictures of every kind of oddness: a right picture or a recorded reason, never an exception."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mner.images import FORMATS, is_url, open_picture
from tests.machine import PATIENCE


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def striped() -> Image.Image:
    """Red above blue, twice as wide as high, so that every turn can be told."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10, :, 0] = 255
    pixels[10:, :, 2] = 255
    return Image.fromarray(pixels)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size, with hardly any data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def assert_picture(found: object, size: tuple[int, int] | None = None) -> Image.Image:
    assert found.problem is None, found.problem
    assert found.image.mode == "RGB"
    assert len(found.key) == 64
    if size is not None:
        assert found.image.size == size
    return found.image


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_by_path_and_by_bytes(tmp_path: Path, form: str) -> None:
    data = encoded(striped(), form)
    file = tmp_path / f"any.{form.lower()}"
    file.write_bytes(data)
    by_path, by_bytes = open_picture(file), open_picture(data)
    image = assert_picture(by_path, (40, 20))
    assert by_path.key == by_bytes.key == hashlib.sha256(data).hexdigest()
    assert np.array_equal(np.asarray(image), np.asarray(by_bytes.image))
    top, bottom = np.asarray(image)[2, 20].astype(int), np.asarray(image)[17, 20].astype(int)
    assert top[0] > 200 > 60 > top[2]
    assert bottom[2] > 200 > 60 > bottom[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_respected(form: str, orientation: int) -> None:
    """A picture stored turned comes back as it was before: the inverse turns are written out here."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = (255, 0, 0)
    pixels[:8, 16:] = (0, 255, 0)
    pixels[8:, :16] = (0, 0, 255)
    pixels[8:, 16:] = (255, 255, 0)
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = (
        {"quality": 100, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    )
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **options)
    image = assert_picture(open_picture(data), (32, 16))
    assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 8


def test_damaged_exif_loses_no_picture() -> None:
    data = encoded(striped(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 7)
    assert_picture(open_picture(data), (40, 20))


def test_transparent_pictures_are_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    grey = Image.new("LA", (4, 4), (0, 0))
    assert np.asarray(open_picture(encoded(clear, "PNG")).image).min() == 255
    assert np.asarray(open_picture(encoded(half, "PNG")).image)[0, 0].tolist() == [255, 127, 127]
    assert np.asarray(open_picture(encoded(palette, "PNG")).image)[0, 0].tolist() == [0, 0, 255]
    assert np.asarray(open_picture(encoded(palette, "PNG", transparency=1)).image).min() == 255
    assert np.asarray(open_picture(encoded(grey, "PNG")).image).min() == 255
    keyed = encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert np.asarray(open_picture(keyed).image).min() == 255


def test_sixteen_bits_are_scaled_not_cut() -> None:
    ramp = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    for form in ("PNG", "TIFF"):
        image = assert_picture(open_picture(encoded(Image.fromarray(ramp), form)), (16, 16))
        assert np.array_equal(np.asarray(image)[:, :, 0], np.arange(256, dtype=np.uint8).reshape(16, 16))


def test_wide_numbers_are_stretched() -> None:
    values = np.array([[-1.0, 0.0], [1.0, np.nan]], np.float32)
    image = assert_picture(open_picture(encoded(Image.fromarray(values), "TIFF")))
    assert np.asarray(image)[:, :, 0].tolist() == [[0, 127], [255, 127]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_modes(mode: str) -> None:
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF" if mode == "LAB" else "PNG"
    image = Image.new("RGB", (8, 8), "white").convert("L" if mode == "LAB" else mode)
    if mode == "LAB":
        image = Image.frombytes("LAB", (8, 8), bytes([255, 0, 0]) * 64)
    found = assert_picture(open_picture(encoded(image, form)), (8, 8))
    assert np.asarray(found).min() > 250


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "green", "blue")]
    for form in ("GIF", "WEBP", "TIFF"):
        data = encoded(
            frames[0],
            form,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if form == "WEBP" else {}),
        )
        assert np.asarray(assert_picture(open_picture(data)))[3, 3].tolist() == [255, 0, 0]


def test_names_in_chinese_and_with_spaces(tmp_path: Path) -> None:
    for name in ("千里江山图 局部.png", " a b .png", "ünï.png", "-rf.png", "100%.png"):
        (tmp_path / name).write_bytes(encoded(striped(), "PNG"))
        assert_picture(open_picture(tmp_path / name), (40, 20))
        assert_picture(open_picture(str(tmp_path / name)), (40, 20))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"this is a text and no picture", "known format"),
        (b"\xff\xd8\xff", "damaged"),
        (b"GIF89a", "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "known format"),
        (b"P6 9 9 255\n" + bytes(243), "known format"),
        (png_header(30_000, 30_000), "too many pixels (30000 x 30000)"),
        (png_header(0, 5), ""),
        (png_header(50, 50), "decoded"),
    ],
)
def test_what_is_no_picture_has_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "named.jpg"
    file.write_bytes(content)
    for found in (open_picture(file), open_picture(content)):
        assert found.image is None
        assert said in found.problem
        assert (found.key is None) == (not content)


@pytest.mark.parametrize("form", FORMATS)
def test_cut_at_any_place_gives_a_reason(form: str) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)), form)
    for share in (0.02, 0.1, 0.3, 0.5, 0.8):
        found = open_picture(data[: int(len(data) * share)])
        assert found.image is None
        assert found.problem
        assert found.key is not None


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    good = tmp_path / "good.png"
    good.write_bytes(encoded(striped(), "PNG"))
    (tmp_path / "link.png").symlink_to(good)
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    assert "directory" in open_picture(tmp_path / "folder.jpg").problem
    assert "pipe" in open_picture(tmp_path / "pipe.jpg").problem
    assert "device" in open_picture("/dev/zero").problem
    assert "device" in open_picture(tmp_path / "device.png").problem
    assert "does not exist" in open_picture(tmp_path / "missing.jpg").problem
    assert "does not exist" in open_picture(good / "below.jpg").problem
    assert "does not exist" in open_picture(tmp_path / "nowhere.png").problem
    assert "leads nowhere" in open_picture(tmp_path / "round.png").problem
    assert "too long" in open_picture(tmp_path / ("x" * 300)).problem
    assert open_picture("a\0b").problem
    assert open_picture("").problem
    assert open_picture(None).problem
    assert_picture(open_picture(tmp_path / "link.png"), (40, 20))
    assert "symbolic link" in open_picture(tmp_path / "link.png", allow_symlinks=False).problem


def test_urls_are_refused() -> None:
    for url in ("http://127.0.0.1/a.jpg", "https://example.com/a.png", "HTTP://x/y", "file:///etc/passwd"):
        assert is_url(url)
        assert is_url(Path(url))
        assert "URL" in open_picture(url).problem
        assert "URL" in open_picture(Path(url)).problem


def test_limits_of_size(tmp_path: Path) -> None:
    data = encoded(striped(), "PNG")
    file = tmp_path / "a.png"
    file.write_bytes(data)
    assert "too large" in open_picture(file, max_bytes=len(data) - 1).problem
    assert "too large" in open_picture(data, max_bytes=len(data) - 1).problem
    assert_picture(open_picture(file, max_bytes=len(data)))
    assert "too many pixels" in open_picture(file, max_pixels=799).problem
    assert_picture(open_picture(file, max_pixels=800), (40, 20))
    assert_picture(open_picture(file, max_side=10), (10, 5))
    assert_picture(open_picture(file, max_side=100), (40, 20))


def test_a_large_jpeg_is_drafted_and_a_progressive_one_refused() -> None:
    plain = Image.new("RGB", (4000, 3000), (10, 200, 30))
    found = assert_picture(open_picture(encoded(plain, "JPEG"), max_pixels=1_000_000), (1000, 750))
    assert np.abs(np.asarray(found)[300, 300].astype(int) - (10, 200, 30)).max() < 4
    assert "too many" in open_picture(encoded(plain, "JPEG", progressive=True), max_pixels=1_000_000).problem
    assert "too many" in open_picture(encoded(plain, "JPEG"), max_pixels=100_000).problem


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_memory_stays_bounded_for_a_bomb(tmp_path: Path) -> None:
    """A picture that would fill 2.7 GB is refused with far less memory than that."""
    bomb = tmp_path / "bomb.png"
    row = zlib.compressobj(9)
    body = b"".join(row.compress(bytes(90_001) * 100) for _ in range(5)) + row.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    code = (
        "import sys; from mner.images import open_picture; p = open_picture(sys.argv[1]); print(p.problem);"
        # What `getrusage` says of a process includes the one it was forked from.
        "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bomb)], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    problem, peak = done.stdout.splitlines()
    assert "too many pixels (30000 x 30000)" in problem
    assert int(peak) * 1024 < 300 * 2**20


@settings(max_examples=60)
@given(data=st.data())
def test_any_damage_gives_a_picture_or_a_reason(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(FORMATS))
    content = bytearray(encoded(striped(), form))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = open_picture(bytes(content))
    assert (found.image is None) != (found.problem is None)
    if found.image is not None:
        assert found.image.mode == "RGB"


@pytest.mark.data
def test_real_odd_pictures(real_data: Path) -> None:
    truncated = 0
    for file in sorted((real_data / "odd_images").iterdir()):
        found = open_picture(file)
        if file.suffix not in (".png", ".jpg"):
            assert "known format" in found.problem
        elif file.name == "truncated.jpg":
            truncated += 1
            assert found.image is None
            assert "decoded" in found.problem
        else:
            reference = Image.open(file)
            image = assert_picture(found, reference.size)
            if reference.mode in ("L", "RGB", "P"):
                assert np.array_equal(np.asarray(image), np.asarray(reference.convert("RGB")))
    assert truncated == 1


@pytest.mark.data
def test_real_pictures_of_tweets(real_data: Path) -> None:
    files = sorted((real_data / "twitter_mini" / "images").iterdir())
    assert len(files) == 30
    for file in files:
        assert_picture(open_picture(file))
