"""The built wheel, installed and tried away from the source tree: what users get is what is tested."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import mner
from tests.machine import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
JUNK = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.egg-info")


def done(*command: object, **options: object) -> str:
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        **options,  # type: ignore[call-overload]
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves files in the tree that would get into the next wheel."""
    source = tmp_path_factory.mktemp("source")
    # With everything beside the package that must stay out.
    for name in ("src", "tests", "examples", "recipes", "docs", "benchmarks"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=JUNK)
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy(file, source)
    out = tmp_path_factory.mktemp("dist")
    done(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel)
    return target


@pytest.fixture
def installed(site: Path, tmp_path: Path):
    """Runs a command in an empty folder, where `mner` is the installed wheel."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PATH": f"{site / 'bin'}:{os.environ['PATH']}"}
    return lambda *command: done(*command, cwd=tmp_path, env=environment)


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    package = {name for name in names if name.startswith("mner/")}
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "mner").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".pyo")
    }
    assert package == source
    assert "mner/py.typed" in package
    assert {name.split("/")[0] for name in names - package} == {f"mner-{mner.__version__}.dist-info"}


def test_the_metadata_says_what_the_project_says(wheel):
    with zipfile.ZipFile(wheel) as archive:
        information = f"mner-{mner.__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{information}/METADATA").decode())
        for name in ("LICENSE", "NOTICE"):
            assert archive.read(f"{information}/licenses/{name}") == (ROOT / name).read_bytes()
    assert metadata["Version"] == mner.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert len(str(metadata.get_payload())) > 1000  # the README
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in metadata.get_all("Classifier", [])


def test_the_installed_package_is_the_wheels(installed, site):
    where, version = installed(
        sys.executable, "-c", "import mner; print(mner.__file__, mner.__version__)"
    ).split()
    assert Path(where).is_relative_to(site)
    assert version == mner.__version__


def test_every_module_of_the_installed_package_can_be_imported(installed):
    """With every extra installed; what needs one that is missing must say so when used, not on import."""
    code = (
        "import importlib, pkgutil, mner\n"
        "found = pkgutil.walk_packages(mner.__path__, 'mner.')\n"
        "names = [module.name for module in found if '__main__' not in module.name]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names))"
    )
    assert int(installed(sys.executable, "-c", code)) > 5


def test_the_command_works_away_from_the_source(installed):
    assert installed("mner", "--version") == f"mner {mner.__version__}\n"
    assert "Usage: mner" in installed("mner", "--help")


def test_the_installed_command_knows_its_models(installed):
    assert "bert-crf" in installed("mner", "models").lower()


def test_versions_are_the_same_everywhere():
    assert f"\nversion: {mner.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{mner.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
