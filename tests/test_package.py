"""What `import mner` costs and gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mner
from tests.machine import PATIENCE, at_usual_speed

HEAVY = ["torch", "transformers", "tokenizers", "datasets", "accelerate", "PIL", "pandas", "pyarrow", "scipy",
         "sklearn", "matplotlib", "openai", "httpx", "rapidocr", "onnxruntime", "pydantic"]  # fmt: skip


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=PATIENCE
    ).stdout


@pytest.mark.parametrize("module", ["mner", "mner.evaluation.scores", "mner.cli.app"])
def test_light_modules_bring_nothing_heavy(module):
    loaded = python(f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))")
    assert not set(loaded.split()) & set(HEAVY)


def test_the_command_answers_without_loading_what_only_models_need():
    code = "import sys; from mner.cli.app import run; run(['--help']); print('!', *sys.modules)"
    loaded = python(code).rpartition("!")[2].split()
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "transformers", "datasets", "rapidocr"}


def test_import_takes_under_three_tenths_of_a_second():
    code = "import time; t = time.process_time(); import mner; print(time.process_time() - t)"
    assert at_usual_speed(lambda: float(python(code)), rounds=5) < 0.3


def test_public_names():
    for name in mner.__all__:
        if name != "Recognizer":  # brings torch; its own tests import it
            assert getattr(mner, name) is not None
    with pytest.raises(AttributeError, match="Recogniser"):
        mner.Recogniser  # noqa: B018
