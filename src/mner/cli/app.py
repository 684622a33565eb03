"""The command `mner`: its sub-commands put together, and what becomes of errors."""

from __future__ import annotations

import click
import typer

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
    try:
        status = app(args=arguments, prog_name="mner", standalone_mode=False)
    except MnerError as error:
        if debug:
            raise
        err.print(f"[bold red]error:[/] {_plain(str(error))}")
        return error.exit_status
    except click.exceptions.ClickException as error:
        error.show()
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        err.print("Stopped. What was already written is kept.")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            raise
        err.print(
            f"[bold red]error:[/] something failed that should not have: "
            f"{type(error).__name__}: {_plain(str(error))}"
        )
        err.print("Run the same command with --debug to see where, and report it please.")
        return 1
    return status if isinstance(status, int) else 0


def _plain(text: str) -> str:
    # Messages quote what users wrote, which may look like console markup.
    return text.replace("[", "\\[")
