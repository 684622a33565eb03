"""Where the pictures of a data set lie. Nothing is opened here."""

from __future__ import annotations

from pathlib import Path

from mner.errors import DataError, shown

# What a folder of pictures is called beside the files that speak of them; {} is the data folder's name.
FOLDER_NAMES = ("images", "image", "imgs", "img", "pictures", "{}_images", "../{}_images")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


class PictureFolder:
    """A folder of pictures named by posts' ids.

    The folder is listed once, so that a hundred thousand posts cost no hundred thousand questions to
    the disk, and an id can name nothing outside it.

    Args:
        folder: The folder.

    Raises:
        DataError: It is not a folder that can be listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._names = frozenset(path.name for path in folder.iterdir())
        except OSError as error:
            raise DataError(
                f"There is no folder of pictures {folder}.",
                expected="a folder with a file <id>.jpg for each post",
                got=error.strerror or str(error),
            ) from error

    def find(self, identity: str, extension: str = ".jpg") -> tuple[Path | None, str | None]:
        """The picture of the post with that id, or why there is none.

        Args:
            identity: The post's id.
            extension: The usual end of the files' names; others are tried after it.
        """
        for ending in (extension, *EXTENSIONS):
            if identity + ending in self._names:
                return self.folder / (identity + ending), None
        return None, f"no file {self.folder.name}/{shown_name(identity)}{extension}"


def shown_name(identity: str) -> str:
    """An id for a message: as it stands where it can be printed, quoted and shortened otherwise."""
    return identity if identity.isprintable() and len(identity) <= 80 else shown(identity)


def find_pictures(folder: Path) -> PictureFolder | None:
    """The folder of pictures beside the files of a data folder, if there is one."""
    for name in FOLDER_NAMES:
        candidate = folder / name.format(folder.resolve().name)
        if candidate.is_dir():
            return PictureFolder(candidate)
    return None
