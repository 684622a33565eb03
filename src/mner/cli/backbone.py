"""`mner backbone`: text encoders for what no encoder at hand can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mner.cli import options
from mner.cli.app import app as root
from mner.cli.console import err, print_json

app = typer.Typer(no_args_is_help=True, help="New text encoders, to be trained from nothing.")
root.add_typer(app, name="backbone")


@app.callback()
def _group() -> None:
    # With one command alone, typer would leave its name out.
    pass


@app.command()
def make(
    folder: Annotated[Path, typer.Argument(help="The folder to write; a recipe names it as its backbone.")],
    data: Annotated[Path, typer.Option(help="Data folder, or one file: where the characters come from.")],
    split: options.Split = "train",
    file_format: options.Format = None,
    rarest: Annotated[int, typer.Option(min=1, help="How often a character must occur to be known.")] = 2,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Throw case away.")] = False,
    width: Annotated[int, typer.Option(min=8, help="Width of the encoder's states.")] = 128,
    layers: Annotated[int, typer.Option(min=1, help="Number of its layers.")] = 3,
    heads: Annotated[int, typer.Option(min=1, help="Heads of its attention.")] = 4,
    positions: Annotated[
        int, typer.Option(min=16, help="Characters it reads at once; longer posts are read in windows.")
    ] = 256,
    seed: Annotated[int, typer.Option(help="Decides the weights.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Write a small text encoder with random weights that reads the characters of a data set.

    For languages and writing whose characters are unknown to the encoders at hand; `mner data check` says
    how many are.
    """
    from mner.data import read_folder, read_posts
    from mner.encoding import Vocabulary
    from mner.nn.new_backbones import (
        character_pieces,
        piece_tokenizer,
        refuse_to_replace,
        small_text_config,
        write_backbone,
    )

    refuse_to_replace([folder], overwrite)
    if data.is_dir():
        posts = read_folder(data, format=file_format).split(split)
    else:
        posts = list(read_posts(data, format=file_format))
    characters = Vocabulary.of_posts(posts, rarest_character=rarest).characters
    tokenizer = piece_tokenizer(
        character_pieces(characters, lowercase=lowercase), positions, lowercase=lowercase
    )
    config = small_text_config(len(tokenizer), width=width, layers=layers, heads=heads, positions=positions)
    write_backbone(folder, config, seed, tokenizer=tokenizer)
    sizes = [len(post.words) for post in posts]
    document = {
        "folder": str(folder),
        "characters": len(characters),
        "pieces": len(tokenizer),
        "positions": positions,
        "posts": len(posts),
        "longest_post": max(sizes, default=0),
    }
    if as_json:
        print_json(document)
        return
    err.print(
        f"{folder}: {len(characters)} characters of {len(posts)} posts, {positions} positions. "
        f"A recipe takes it as model.backbone.",
        markup=False,
        soft_wrap=True,
    )
