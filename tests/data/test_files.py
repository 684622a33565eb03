"""Files: read strictly, written whole or not at all."""

from __future__ import annotations

import pytest

from mner.data.files import decode, read_text, writing
from mner.errors import DataError, UsageError


def test_a_byte_order_mark_is_no_part_of_the_text_and_only_one_is_taken_off(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfa\tO\n")
    assert read_text(path) == "\ufeffa\tO\n"


def test_a_byte_that_is_not_utf8_is_named_by_file_line_and_offset(tmp_path):
    path = tmp_path / "latin.txt"
    content = "Zoë\tB-PER\nwon\tO\nCafé\tO\n".encode()[:17] + "Café\tO\n".encode("latin-1")
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_text(path)
    message = str(caught.value)
    assert f"{path}, line 3" in message
    assert f"byte {content.index(0xE9)}" in message
    assert "UTF-8" in message
    assert "iconv" in message


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32"])
def test_other_unicode_encodings_are_refused_with_a_way_out(tmp_path, codec):
    path = tmp_path / "wide.txt"
    path.write_bytes("a\tO\n".encode(codec))
    with pytest.raises(DataError, match="UTF-16"):
        read_text(path)


def test_a_nul_character_is_named_by_its_line(tmp_path):
    path = tmp_path / "damaged.txt"
    path.write_bytes(b"a\tO\nb\0\tO\n")
    with pytest.raises(DataError, match=r"line 2: a NUL"):
        read_text(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" \t\r\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "empty.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is empty"):
        read_text(path)


def test_lines_that_end_in_carriage_returns_alone_are_refused(tmp_path):
    path = tmp_path / "mac.txt"
    path.write_bytes(b"a\tO\rb\tO\r")
    with pytest.raises(DataError, match="carriage returns alone"):
        read_text(path)


def test_a_missing_file_names_what_lies_beside(tmp_path):
    (tmp_path / "trian.txt").write_text("x")
    with pytest.raises(DataError, match=r"trian\.txt"):
        read_text(tmp_path / "train.txt")
    with pytest.raises(DataError, match="folder"):
        read_text(tmp_path)


def test_a_later_piece_of_a_stream_counts_on():
    with pytest.raises(DataError, match=r"stdin, line 7: byte 101"):
        decode(b"a\xff", "stdin", line=7, offset=100)


def break_off(path, **options):
    """Stop in the middle of writing, as a full disk or Ctrl-C would."""
    with writing(path, **options) as file:
        file.write(b"half")
        raise ZeroDivisionError


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path):
    path = tmp_path / "deep" / "out.txt"
    with pytest.raises(ZeroDivisionError):
        break_off(path)
    assert list(path.parent.iterdir()) == []


def test_what_was_there_stays_until_the_new_file_is_complete(tmp_path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists already"):
        break_off(path)
    with pytest.raises(ZeroDivisionError):
        break_off(path, overwrite=True)
    assert path.read_bytes() == b"old"
    with writing(path, overwrite=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [child.name for child in tmp_path.iterdir()] == ["out.txt"]


def test_a_file_in_the_place_of_a_folder_is_said_to_be_so(tmp_path):
    (tmp_path / "file").write_text("there")
    with pytest.raises(DataError, match="cannot be written"), writing(tmp_path / "file" / "new") as file:
        file.write(b"never")
    assert (tmp_path / "file").read_text() == "there"
