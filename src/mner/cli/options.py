"""Options that several commands have, said once: which posts, whose, how read, and where computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(help="A run folder.")]
Data = Annotated[Path, typer.Option(help="Data folder, or one file.")]
Split = Annotated[str, typer.Option(help="Which split of a folder.")]
Format = Annotated[str | None, typer.Option("--format", help="Format of the data.")]
Images = Annotated[Path | None, typer.Option(help="Folder of the pictures.")]
Store = Annotated[Path | None, typer.Option(help="Knowledge store, for models that read it.")]
LabelMap = Annotated[list[str] | None, typer.Option(help="Rename a type, as OTHER=MISC.")]
Stray = Annotated[str, typer.Option(help="What stray tags mean in gold: conll or strict.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many posts.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]

# Of whole files of posts, on one machine or on a cluster.
ReadPictures = Annotated[
    bool,
    typer.Option(
        "--read-pictures/--no-read-pictures",
        help="Read what stands in pictures of which nothing else is known, for models that want it.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run was stopped.")]
StartAgain = Annotated[bool, typer.Option("--overwrite", help="Start again although a run is unfinished.")]
MostCharacters = Annotated[int, typer.Option(min=1, help="Longer posts are refused.")]

# Of what is asked of an endpoint.
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again what failed before.")]
MaySend = Annotated[
    bool, typer.Option("--yes-send-to-endpoint", help="Posts and pictures may be sent to the endpoint.")
]
KeyVariable = Annotated[
    str, typer.Option("--api-key-variable", help="The environment variable that holds the endpoint's key.")
]
