"""Pictures by post id: found once, never outside their folder, never opened."""

from __future__ import annotations

import pytest

from mner.data.pictures import PictureFolder, find_pictures
from mner.errors import DataError


def test_a_picture_is_found_by_id_and_a_missing_one_says_its_name(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("1.jpg", "2.png", "故-3宫10.jpg"):
        (folder / name).write_bytes(b"")
    pictures = PictureFolder(folder)
    assert pictures.find("1") == (folder / "1.jpg", None)
    assert pictures.find("2") == (folder / "2.png", None)
    assert pictures.find("故-3宫10") == (folder / "故-3宫10.jpg", None)
    assert pictures.find("123") == (None, "no file images/123.jpg")


def test_an_id_can_name_nothing_outside_the_folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    assert PictureFolder(folder).find("../secret")[0] is None
    assert PictureFolder(folder).find(str(tmp_path / "secret"))[0] is None


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no folder of pictures"):
        PictureFolder(tmp_path / "images")


@pytest.mark.parametrize("name", ["set/images", "set/img", "set/set_images", "set_images"])
def test_customary_folders_beside_the_files(tmp_path, name):
    (tmp_path / "set").mkdir()
    (tmp_path / name).mkdir(exist_ok=True)
    found = find_pictures(tmp_path / "set")
    assert found is not None
    assert found.folder.samefile(tmp_path / name)


def test_no_such_folder(tmp_path):
    assert find_pictures(tmp_path) is None
