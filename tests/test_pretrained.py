from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import huggingface_hub
import pytest

from mner.errors import BackboneError
from mner.nn.backbones import load_tokenizer
from mner.pretrained import DEFAULT, folder_digest, locate, revision_of, sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text('{"model_type": "bert"}')
    (place / "model.safetensors").write_bytes(bytes(range(256)))
    (place / "README.md").write_text("a model")
    return place


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc" * 1000)
    assert sha256_of(file) == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_digest_depends_on_content_and_not_on_place_or_readme(folder: Path, tmp_path: Path) -> None:
    before = folder_digest(folder)
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied)
    (copied / "README.md").write_text("other words")
    assert folder_digest(copied) == before
    assert revision_of(str(folder)) == f"sha256:{before}"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_digest_changes_with_every_shaping_file(folder: Path, name: str) -> None:
    before = folder_digest(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + b"!")  # as long as before
    assert folder_digest(folder) != before


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="is not a model"):
        folder_digest(tmp_path)


def test_a_path_that_does_not_exist_is_no_hub_name() -> None:
    with pytest.raises(BackboneError, match="no model folder"):
        locate("./nowhere")


def test_a_hub_name_that_is_not_cached_is_refused_by_name() -> None:
    with pytest.raises(BackboneError, match="nobody/no-such-model"):
        revision_of("nobody/no-such-model")


def test_the_embedded_encoder_is_an_ordinary_folder() -> None:
    place = Path(locate(DEFAULT))
    assert (place / "config.json").is_file()
    assert revision_of(DEFAULT) == revision_of(str(place))


def test_a_folder_that_is_not_there_is_not_only_called_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="no folder of that name") as raised:
        load_tokenizer("runs/nowhere")
    assert not str(raised.value).rstrip().endswith("..")
