"""Pictures by address: over real HTTP on loopback, where the rule about addresses is handed in."""

from __future__ import annotations

import json
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from mner.cli.fetched_pictures import with_fetched_pictures
from mner.data import read_folder, read_posts
from mner.errors import DataError
from mner.fetching import fetch_bytes
from mner.knowledge.attaching import attach
from mner.knowledge.keys import Source
from mner.knowledge.provider import Answer
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.posts import Knowledge
from tests.test_fetching import png, server  # noqa: F401

fetch = partial(fetch_bytes, is_allowed=lambda _: True)


@pytest.fixture
def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def written(folder: Path, *records: dict[str, object], name: str = "posts.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("\ufeff" + "\n\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return file


def test_the_picture_is_fetched_and_no_other_address(
    tmp_path: Path,
    server: ThreadingHTTPServer,
    address: str,
) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "1.png").write_bytes(png())
    picture = f"{address}/picture.png"
    file = written(
        tmp_path / "given",
        {"id": f"{address}/a/status/1", "text": "hi", "image": picture},
        {"id": "2", "text": picture, "author": picture},
        {"id": "3", "text": "own", "image": "1.png"},
        {"id": "4", "text": "gone", "image": f"{address}/gone.png"},
        {"id": "5", "text": "again", "image": picture},
        {"id": "6", "text": "missing", "image": "6.png"},
        {"id": "7", "text": "beyond the limit", "image": f"{address}/picture.png?7"},
    )
    store = tmp_path / "made" / "k.sqlite"
    posts, local = with_fetched_pictures(read_posts(file)[:6], file, None, store, fetch)
    assert server.asked == ["/picture.png", "/gone.png"]  # type: ignore[attr-defined]
    assert [post.image is not None for post in posts] == [True, False, True, False, True, False]
    assert posts[0].image is not None
    assert Path(posts[0].image).read_bytes() == png()
    assert "404" in str(posts[3].image_problem)
    again = read_posts(local)
    assert [post.id for post in again] == [post.id for post in read_posts(file)]
    assert [post.image is not None for post in again] == [True, False, True, False, True, False, False]
    assert "not a file" in str(again[6].image_problem)


def test_what_was_made_is_found_when_the_written_posts_are_read(tmp_path: Path, address: str) -> None:
    file = written(tmp_path, {"id": "1", "text": "hi", "image": f"{address}/picture.png"})
    source = Source("reader", "ocr", sees_picture=True)
    with KnowledgeStore(tmp_path / "k.sqlite") as store:
        posts, local = with_fetched_pictures(read_posts(file), file, None, store.path, fetch)
        (key,) = source.keys_of(posts[0], store.picture_keys([posts[0].image])[0][0])
        store.save([StoredAnswer(key, source, Answer(Knowledge("ocr", text="writing")))])
        (post,) = attach(read_posts(local), store)
    assert [known.text for known in post.knowledge] == ["writing"]


def test_a_picture_stands_under_its_name_only_when_it_is_whole(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, {"id": "1", "text": "hi", "image": f"{address}/picture.png"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DataError, match="cannot be written"):
            with_fetched_pictures(read_posts(file), file, None, tmp_path / "k.sqlite", fetch)
    assert list((tmp_path / "k.sqlite.pictures").iterdir()) == []
    posts, _ = with_fetched_pictures(read_posts(file), file, None, tmp_path / "k.sqlite", fetch)
    assert posts[0].image is not None


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><title>Log in</title>", png()[:30]])
def test_what_is_no_picture_is_not_kept_and_asked_for_again(
    tmp_path: Path, server: ThreadingHTTPServer, address: str, content: bytes
) -> None:
    file = written(tmp_path, {"id": "1", "text": "hi", "image": f"{address}/picture.png"})

    def first(url: str) -> tuple[bytes | None, str | None]:
        fetch(url)
        return content, None

    store = tmp_path / "k.sqlite"
    (post,), local = with_fetched_pictures(read_posts(file), file, None, store, first)
    assert post.image is None
    assert "no picture" in str(post.image_problem)
    assert read_posts(local)[0].image is None
    (post,), local = with_fetched_pictures(read_posts(file), file, None, store, fetch)
    assert Path(str(post.image)).read_bytes() == png()
    assert read_posts(local)[0].image is not None
    assert server.asked == ["/picture.png"] * 2  # type: ignore[attr-defined]


def test_files_of_one_name_in_two_folders_are_kept_apart(tmp_path: Path) -> None:
    files = [written(tmp_path / name, {"id": name, "text": "hi"}) for name in ("a", "b")]
    for file in files:
        with_fetched_pictures(read_posts(file), file, None, tmp_path / "k.sqlite", fetch)
    found = (tmp_path / "k.sqlite.pictures").glob("*/*.jsonl")
    assert sorted(post.id for one in found for post in read_posts(one)) == ["a", "b"]


def test_the_copies_of_a_data_folder_are_a_data_folder(tmp_path: Path, address: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "own.png").write_bytes(png())
    (tmp_path / "link").symlink_to(data)
    found = [{"text": "hi", "image": f"{address}/picture.png"}, {"text": "own", "image": "own.png"}]
    for split, folder in (("train", data), ("valid", tmp_path / "link")):
        entities = [{"start": 0, "end": 2, "label": "PER"}]
        records = [{**record, "id": split, "entities": entities} for record in found]
        file = written(data, *records, name=f"{split}.jsonl")
        given = folder / file.name
        _, local = with_fetched_pictures(read_posts(given), given, None, tmp_path / "k.sqlite", fetch)
    read = read_folder(local.parent)
    assert set(read.splits) == {"train", "valid"}
    for split, posts in read.splits.items():
        assert [post.id for post in posts] == [split] * 2
        assert [post.image and Path(post.image).read_bytes() for post in posts] == [png()] * 2
        assert [post.gold() for post in posts] == [
            post.gold() for post in read_posts(data / f"{split}.jsonl")
        ]
