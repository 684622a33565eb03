"""The command `mner`: its sub-commands put together, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from rich.text import Text

from mner import __version__
from mner.cli.console import err
from mner.errors import MnerError

app = typer.Typer(
    name="mner",
    help="Multimodal named entity recognition: posts, text and picture, go in; entities come out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

# Wrong use as typer's parser reports it. Its classes moved from click into typer itself in the course of
# typer's versions; what typer exports descends from the right ones in all of them.
_UsageProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

# What the shell shows for a program that was stopped with Ctrl-C.
_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Options of the whole program; `--debug`, taken anywhere on the line, shows tracebacks."""


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit status."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    _add_commands()
    try:
        status = app(args=arguments, prog_name="mner", standalone_mode=False)
        sys.stdout.flush()
    except MnerError as error:
        if debug:
            raise
        _say_error(str(error))
        return error.exit_status
    except _UsageProblem as error:
        error.show()
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except SystemExit as leaving:
        # What typer makes of a reader that left, also when it is not asked to leave by itself.
        if isinstance(leaving.__context__, BrokenPipeError):
            return _reader_left()
        raise
    except Exception as error:
        if debug:
            raise
        _say_error(f"something failed that should not have: {type(error).__name__}: {error}")
        err.print("Run the same command with --debug to see where, and report it please.")
        return 1
    if status == _INTERRUPTED:
        err.print("Stopped. What was already written is kept.")
    return status if isinstance(status, int) else 0


def _reader_left() -> int:
    # Whoever read the results has read enough. Python flushes stdout once more when it leaves.
    if sys.__stdout__ is not None:
        sys.stdout = sys.__stdout__
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _say_error(message: str) -> None:
    # Messages quote what users wrote, which may look like markup; a quoted path must stay in one piece.
    err.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def _add_commands() -> None:
    # Each module adds its commands to `app`; what is heavy is imported inside the commands.
    import mner.cli.backbone
    import mner.cli.bulk
    import mner.cli.data
    import mner.cli.demo
    import mner.cli.errors
    import mner.cli.experiment
    import mner.cli.experiment_report
    import mner.cli.experiment_search
    import mner.cli.exporting
    import mner.cli.exposing
    import mner.cli.knowledge
    import mner.cli.plot
    import mner.cli.predicting
    import mner.cli.probe
    import mner.cli.published
    import mner.cli.serving
    import mner.cli.training
    import mner.cli.zero_shot  # noqa: F401
