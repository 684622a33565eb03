"""`mner experiment zero-shot`: the row of a language model that was not trained for the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mner.cli import options
from mner.cli.console import bars, err, print_json, print_whole
from mner.cli.experiment import app
from mner.cli.inputs import Source, convention_named
from mner.cli.knowledge import KEY_VARIABLE, endpoint_key, may_be_sent
from mner.errors import UsageError

if TYPE_CHECKING:
    from mner.knowledge.providers.endpoint import EndpointEntities
    from mner.posts import Entity, Post


@app.command("zero-shot")
def zero_shot(
    data: Annotated[Path, typer.Option(help="Data folder.")],
    endpoint: Annotated[
        str, typer.Option(help="Base URL of an OpenAI-compatible endpoint, such as http://host:8000/v1.")
    ],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    output: Annotated[Path, typer.Option(help="Where the entities go, a JSON object a line.")],
    split: Annotated[str, typer.Option(help="Which posts.")] = "test",
    domain: Annotated[
        str, typer.Option(help="What the posts are about, and the types: see `mner knowledge prompts`.")
    ] = "twitter",
    prompt: Annotated[str, typer.Option(help="What is asked: a prompt's name or a TOML file.")] = "entities",
    label_map: Annotated[
        list[str] | None, typer.Option(help="Rename a type of the data, as OTHER=MISC.")
    ] = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="Show the model the pictures, too.")] = False,
    images: options.Images = None,
    store: Annotated[
        Path | None, typer.Option(help="Where answers are kept; beside --output by default.")
    ] = None,
    limit: options.Limit = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 600,
    convention: Annotated[str, typer.Option(help="What stray tags mean: conll or strict.")] = "conll",
    retry_failed: options.RetryFailed = False,
    may_send: options.MaySend = False,
    key_variable: options.KeyVariable = KEY_VARIABLE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Ask a language model for the entities of a data set, and score them as any other system's.

    Every answer is kept as it comes, so an interrupted run goes on when it is repeated. A mention that is
    not in the text is refused and counted.
    """
    from mner.cli.results import score_table
    from mner.experiments.zero_shot import predict_zero_shot, score_zero_shot
    from mner.knowledge.providers.endpoint import EndpointEntities
    from mner.knowledge.store import KnowledgeStore

    stray = convention_named(convention)
    key = endpoint_key(key_variable)
    posts = Source(data, split, images=images, label_map=label_map or ()).posts()[:limit]

    def asker(with_pictures: bool) -> EndpointEntities:
        return EndpointEntities(
            endpoint,
            model,
            pictures=with_pictures,
            domain=domain,
            prompt=prompt,
            key=key,
            concurrency=concurrency,
            max_tokens=max_tokens,
        )

    first = asker(pictures)
    _check_types(posts, first, stray)
    if store is None:
        store = output.with_suffix(".sqlite")
        store.parent.mkdir(parents=True, exist_ok=True)
    with KnowledgeStore(store) as opened:
        found = predict_zero_shot(
            posts,
            first,
            opened,
            without_picture=asker(False) if pictures else None,
            retry_failed=retry_failed,
            may_send=may_be_sent(first, opened, may_send),
            progress=bars,
        )
    _write(output, posts, found.predicted)
    scores = score_zero_shot(posts, found, stray)
    if as_json:
        print_json({"predictions": str(output), **found.as_dict(), "scores": scores.as_dict()})
    else:
        print_whole(score_table(scores, f"{model}, zero-shot, on {split} of {data.name}"))
        for reason, count in found.refused.most_common():
            err.print(f"Refused {count} times: {reason}.", markup=False, soft_wrap=True)
        err.print(f"Written: {output}", markup=False, soft_wrap=True)
    if found.lost:
        err.print(
            f"{found.lost} of {len(posts)} posts have no readable answer; their gold counts as missed.",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def _check_types(posts: list[Post], provider: EndpointEntities, convention: str) -> None:
    """Refuse to ask for types that the data does not have: every answer would be wrong."""
    asked = provider.prompt.domain.types
    there = {entity.label for post in posts for entity in post.gold(convention)}
    unknown = sorted(there - set(asked))
    if unknown:
        raise UsageError(
            f"The data has types that the domain {provider.prompt.domain.name!r} does not define: "
            f"{', '.join(unknown)}.",
            expected=", ".join(asked),
            hint="Rename them with --label-map OLD=NEW, or name a domain (or a file) that defines them.",
        )


def _write(path: Path, posts: list[Post], predicted: list[tuple[Entity, ...]]) -> None:
    from mner.bulk import prediction_record
    from mner.data.files import writing

    with writing(path, overwrite=True) as file:
        for post, entities in zip(posts, predicted, strict=True):
            file.write(json.dumps(prediction_record(post, entities)).encode() + b"\n")
