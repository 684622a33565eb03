"""The command's frame: exit statuses, where messages go, and what users never see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer

from mner import __version__
from mner.cli import app as frame
from mner.errors import DataError, MissingExtraError, RecipeError
from tests.machine import PATIENCE


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`run`, over commands that fail in every way a command can."""
    # The real commands register themselves when they are first imported, which must not be now.
    frame._add_commands()
    program = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

    @program.command()
    def add(left: int, right: int, double: bool = False) -> None:
        typer.echo((left + right) * (2 if double else 1))

    @program.command()
    def fail(kind: str) -> int:
        if kind == "status":
            return 1
        raise {
            "data": DataError(
                "File [bold]x.txt[/], line 3 :warning: is odd.", got="[/red]", hint="See \\[a]."
            ),
            "long": DataError(f"/{'folder/' * 40}file.txt is not there."),
            "recipe": RecipeError("No such key."),
            "extra": MissingExtraError("Reading", "knowledge"),
            "bug": ZeroDivisionError("[red]division[/]"),
            "usage": typer.BadParameter("must be even"),
            "exit": typer.Exit(1),
            "abort": typer.Abort(),
            "interrupt": KeyboardInterrupt(),
        }[kind]

    monkeypatch.setattr(frame, "app", program)
    return lambda *arguments: frame.run(list(arguments))


def test_a_command_that_works(run, capfd):
    assert run("add", "1", "2") == 0
    assert capfd.readouterr() == ("3\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ad", "1", "2"),
        ("add", "1"),
        ("add", "1", "two"),
        ("add", "1", "2", "3"),
        ("add", "1", "2", "--duble"),
        ("--unknown",),
        ("fail", "usage"),
    ],
)
def test_wrong_use_leaves_with_two_and_says_how_to_go_on(run, capfd, arguments):
    assert run(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "mner" in err
    assert "Traceback" not in err
    assert "--debug" not in err


def test_no_command_shows_what_there_is(run, capfd):
    assert run() == 2
    assert "Usage: mner" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("kind", "status"), [("data", 1), ("long", 1), ("recipe", 2), ("extra", 2), ("status", 1), ("exit", 1)]
)
def test_a_users_error_leaves_with_its_own_status(run, capfd, kind, status):
    assert run("fail", kind) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err


def test_messages_are_shown_as_they_are(run, capfd):
    """Brackets and colons in a file are no markup, and a long path stays in one piece to be copied."""
    run("fail", "data")
    assert capfd.readouterr().err == (
        "error: File [bold]x.txt[/], line 3 :warning: is odd. Got: [/red]. See \\[a].\n"
    )
    run("fail", "long")
    assert "folder/" * 40 + "file.txt is not there." in capfd.readouterr().err


def test_an_unexpected_error_is_one_line_and_debug_shows_it(run, capfd):
    assert run("fail", "bug") == 1
    err = capfd.readouterr().err
    assert "ZeroDivisionError: [red]division[/]" in err
    assert "--debug" in err
    assert "Traceback" not in err
    with pytest.raises(ZeroDivisionError):
        run("fail", "--debug", "bug")
    with pytest.raises(DataError):
        run("--debug", "fail", "data")


@pytest.mark.parametrize("kind", ["abort", "interrupt"])
def test_stopping_is_no_error(run, capfd, kind):
    assert run("fail", kind) == 130
    assert "already written is kept" in capfd.readouterr().err


@pytest.mark.parametrize("module", ["mner", "mner.cli"])
def test_the_real_program_runs_as_a_module(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert (done.stdout, done.stderr) == (f"mner {__version__}\n", "")


def test_help_names_the_program_and_leaves_with_zero():
    done = subprocess.run(
        [sys.executable, "-m", "mner", "--help"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    assert "Usage: mner" in done.stdout
    assert done.stderr == ""


def test_a_reader_that_leaves_early_is_no_error():
    """As in `mner ... | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mner", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")


def test_an_argument_that_is_no_text_is_no_traceback():
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"mner", b"\xff"], capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
