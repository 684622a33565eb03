"""The command line: the only room, with `serving`, that prints or reads the environment.

Results go to stdout, progress and messages to stderr. The exit status is 0 where all is done, 1 where
the data or the result is bad, 2 where the command was used wrongly. `--debug` anywhere on the line
shows the traceback of an error.
"""

from __future__ import annotations

import io
import os
import sys


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    Args:
        arguments: The words after the program's name; those of the process where None.
    """
    # Threads that spin while they wait slow everything down many times over on a machine that has other
    # work to do. This has to be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from mner.cli.app import run

    if isinstance(sys.stdout, io.TextIOWrapper):
        # Half a surrogate pair, which JSON and command lines can bring, has no UTF-8; JSON writes it escaped.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
