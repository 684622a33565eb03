"""`mner knowledge make`, `show`, `import`, `export` and `prompts`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from mner.cli import options
from mner.cli.app import app as root
from mner.cli.console import bars, err, out, print_json
from mner.cli.knowledge_results import (
    print_counts,
    print_import,
    print_providers,
    print_report,
    print_row,
    row_record,
)
from mner.errors import DataError, UsageError, did_you_mean
from mner.posts import Entity, Post

if TYPE_CHECKING:
    from mner.knowledge.provider import Provider
    from mner.knowledge.store import KnowledgeStore, StoredAnswer

app = typer.Typer(
    no_args_is_help=True,
    help="What pictures and lexicons say about posts: captions, OCR, reasoning; made once and kept.",
)
root.add_typer(app, name="knowledge")

KEY_VARIABLE = "MNER_API_KEY"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"})

_Store = Annotated[Path, typer.Option(help="The knowledge store, an SQLite file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Format = Annotated[str | None, typer.Option("--format", help="Format of the posts.")]
_Images = options.Images


@app.command()
def make(
    posts: Annotated[
        Path | None, typer.Argument(help="A data folder, a file of posts, or a folder of pictures.")
    ] = None,
    store: _Store = Path("knowledge.sqlite"),
    provider: Annotated[
        list[str] | None, typer.Option(help="Whom to ask; may be given more than once. See --list.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Base URL of an OpenAI-compatible endpoint, such as http://host:8000/v1."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model: a name there, a hub name, or a folder.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="What the posts are about: see `prompts`.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Another option of the provider, as concurrency=16.")
    ] = None,
    using: Annotated[
        list[str] | None, typer.Option("--with", help="Whose knowledge a chain reads: a kind or a provider.")
    ] = None,
    images: _Images = None,
    file_format: _Format = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split of a folder; repeatable.")] = None,
    limit: options.Limit = None,
    retry_failed: options.RetryFailed = False,
    may_send: options.MaySend = False,
    key_variable: options.KeyVariable = KEY_VARIABLE,
    allow_urls: Annotated[
        bool,
        typer.Option(
            "--allow-urls",
            help="Fetch pictures that JSONL posts name by an address, and write posts that name the files.",
        ),
    ] = False,
    list_providers: Annotated[bool, typer.Option("--list", help="List the providers and leave.")] = False,
    as_json: _Json = False,
) -> None:
    """Ask providers about posts, and keep every answer as it comes.

    Only what the store does not have is asked; a run that was interrupted goes on when it is repeated.
    """
    if list_providers:
        print_providers(as_json)
        return
    if posts is None:
        raise UsageError("Which posts?", hint="Name a data folder, a file of posts, or a folder of pictures.")
    from mner.knowledge.making import make_knowledge
    from mner.knowledge.store import KnowledgeStore

    names = provider or ["ocr"]
    shared = {"endpoint": endpoint, "model": model, "domain": domain}
    _check_shared(names, shared)
    chosen = [_provider(name, shared, option or [], key_variable) for name in names]
    chosen_posts = _read(posts, file_format, images, split)[:limit]
    with KnowledgeStore(store) as opened:
        local = None
        if allow_urls:
            from mner.cli.fetched_pictures import with_fetched_pictures

            chosen_posts, local = with_fetched_pictures(chosen_posts, posts, images, store)
        reports = []
        for one in chosen:
            report = make_knowledge(
                chosen_posts,
                one,
                opened,
                retry_failed=retry_failed,
                using=using,
                may_send=may_be_sent(one, opened, may_send),
                progress=bars,
            )
            reports.append(report)
            if not as_json:
                print_report(report)
    if as_json:
        document: dict[str, Any] = {"store": str(store), "runs": [report.as_dict() for report in reports]}
        print_json(document if local is None else {**document, "posts": str(local)})
    elif local is not None:
        err.print(
            f"The posts with their fetched pictures stand in {local}: read those with this store.",
            markup=False,
            soft_wrap=True,
        )
    if any(report.failed for report in reports):
        raise typer.Exit(1)


@app.command()
def show(
    subject: Annotated[
        str | None,
        typer.Argument(help="A post's id, a picture, or the beginning of a key; all where left out."),
    ] = None,
    store: _Store = Path("knowledge.sqlite"),
    posts: Annotated[
        Path | None, typer.Option(help="The posts, to find by its id everything about a post.")
    ] = None,
    images: _Images = None,
    file_format: _Format = None,
    as_json: _Json = False,
) -> None:
    """Show what the store knows: about one post or picture, or in all."""
    from mner.knowledge.store import KnowledgeStore

    with KnowledgeStore(store, read_only=True) as opened:
        if subject is None:
            print_counts(opened, as_json)
            return
        rows = _rows_about(subject, opened, posts, images, file_format)
    if as_json:
        print_json([row_record(row) for row in rows])
    elif rows:
        for row in rows:
            print_row(row)
    else:
        err.print(f"The store knows nothing about {subject!r}.", markup=False)
    if not rows:
        raise typer.Exit(1)


@app.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(help="Captions, texts, scores or boxes by name; exports; other stores.")
    ],
    store: _Store = Path("knowledge.sqlite"),
    posts: Annotated[
        list[Path] | None, typer.Option(help="The posts that it is about, to tell what does not match.")
    ] = None,
    images: _Images = None,
    file_format: _Format = None,
    kind: Annotated[str | None, typer.Option(help="What it is, where the format does not say so.")] = None,
    name: Annotated[
        str | None, typer.Option(help="What the source is called; the file's name by default.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="For JSONL, the field that holds what is said.")] = None,
    drop_placeholders: Annotated[
        bool,
        typer.Option("--drop-placeholders", help="Texts that stand suspiciously often are no knowledge."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Take knowledge from files into the store, by picture's name or post's id."""
    from mner.knowledge.exchange import ImportReport, import_file
    from mner.knowledge.store import KnowledgeStore

    about = [post for path in posts for post in _read(path, file_format, images, None)] if posts else None
    reports = []
    with KnowledgeStore(store) as opened:
        for file in files:
            if _is_store(file):
                with KnowledgeStore(file, read_only=True) as other:
                    entries = len(other)
                report = ImportReport(file, None, entries, opened.merge(file))
            else:
                report = import_file(
                    opened,
                    file,
                    posts=about,
                    kind=kind,
                    name=name,
                    content=field,
                    drop_placeholders=drop_placeholders,
                )
            reports.append(report)
            if not as_json:
                print_import(report)
    if as_json:
        print_json([report.as_dict() for report in reports])


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")],
    store: _Store = Path("knowledge.sqlite"),
    kind: Annotated[str | None, typer.Option(help="Only knowledge of this kind.")] = None,
    as_json: _Json = False,
) -> None:
    """Write the store's rows as JSONL or Parquet; `import` reads them back."""
    from mner.knowledge.exchange import export as write
    from mner.knowledge.store import KnowledgeStore

    if output.suffix.lower() not in (".jsonl", ".parquet"):
        raise UsageError(
            f"{output} is neither JSONL nor Parquet.", expected="a name ending in .jsonl or .parquet"
        )
    with KnowledgeStore(store, read_only=True) as opened:
        rows = write(opened, output, kind=kind, progress=bars)
    if as_json:
        print_json({"file": str(output), "rows": rows})
    else:
        err.print(f"{rows} rows written to {output}", markup=False, soft_wrap=True)


@app.command()
def prompts(
    name: Annotated[str | None, typer.Argument(help="A prompt, such as caption; all where left out.")] = None,
    domain: Annotated[str, typer.Option(help="A domain, such as politics, or a TOML file.")] = "twitter",
    as_json: _Json = False,
) -> None:
    """List the prompts and domains, or show the words of one prompt for a domain."""
    from mner.knowledge.prompts import domain_names, load_domain, load_prompt, prompt_names

    if name is not None:
        prompt = load_prompt(name, domain)
        if as_json:
            print_json(prompt.as_settings())
            return
        out.print(Text(f"{prompt.name}, version {prompt.version}, for {prompt.domain.name}", style="bold"))
        words = prompt.as_settings()
        if words["system"]:
            out.print(Text("system", style="cyan"))
            out.print(words["system"], markup=False, soft_wrap=True)
        for number, step in enumerate(words["steps"], 1):
            out.print(Text("step " + str(number) if len(words["steps"]) > 1 else "user", style="cyan"))
            out.print(step.strip(), markup=False, soft_wrap=True)
        return
    domains = [load_domain(one) for one in domain_names()]
    known = [load_prompt(one, domain) for one in prompt_names()]
    if as_json:
        print_json(
            {
                "prompts": [{"name": p.name, "version": p.version, "steps": len(p.steps)} for p in known],
                "domains": [
                    {"name": d.name, "version": d.version, "cue_words": d.cue_words, "types": dict(d.types)}
                    for d in domains
                ],
            }
        )
        return
    table = Table("prompt", "version", "steps")
    for prompt in known:
        table.add_row(prompt.name, str(prompt.version), str(len(prompt.steps)))
    out.print(table)
    table = Table("domain", "version", "types", "cue words")
    for one in domains:
        table.add_row(one.name, str(one.version), ", ".join(one.types), ", ".join(one.cue_words))
    out.print(table)


# What commands share


def _provider(
    name: str, shared: dict[str, str | None], options: Iterable[str], key_variable: str
) -> Provider:
    """A provider with those of the shared options that it knows, and the user's own."""
    from mner.knowledge.registry import provider_named, provider_options

    known = provider_options(name)
    given: dict[str, Any] = {
        key: value for key, value in shared.items() if value is not None and key in known
    }
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"{option!r} is not an option of a provider.", expected="NAME=VALUE")
        if key == "key":
            raise UsageError(
                "A key on the command line would stay in the shell's history.",
                hint="Put it into an environment variable and name that: --api-key-variable.",
            )
        given[key] = value
    if "key" in known:
        given["key"] = endpoint_key(key_variable)
    if "load_tagger" in known:
        given["load_tagger"] = _load_tagger
    return provider_named(name, **given)


def endpoint_key(variable: str) -> str | None:
    """The key that an environment variable holds; None where it is the usual one and not set.

    Raises:
        UsageError: A variable of the user's own is not set.
    """
    key = os.environ.get(variable) or None
    if key is None and variable != KEY_VARIABLE:
        raise UsageError(f"The environment variable {variable} is not set.")
    return key


def _load_tagger(folder: Path) -> Callable[[Sequence[Post]], list[list[Entity]]]:
    # Providers stand below the recogniser, and are handed what opens one.
    from mner.recognizer import Recognizer

    return Recognizer.from_pretrained(folder).predict


def _check_shared(names: list[str], shared: dict[str, str | None]) -> None:
    """Refuse an option that none of the providers would read."""
    from mner.knowledge.registry import provider_entries, provider_options

    for option, value in shared.items():
        if value is not None and not any(option in provider_options(name) for name in names):
            those = [entry.name for entry in provider_entries() if entry.name.startswith("endpoint-")]
            raise UsageError(
                f"--{option} means nothing to {' or '.join(names)}.",
                hint=f"Providers of an endpoint: {', '.join(those)}." if option == "endpoint" else None,
            )


def may_be_sent(provider: Provider, store: KnowledgeStore, flag: bool) -> bool:
    """Whether posts may be sent away: by the flag, by an earlier yes, or by a yes now."""
    if not provider.leaves_machine:
        return False
    destination = getattr(provider, "destination", None) or provider.name
    if store.is_confirmed(destination):
        return True
    if not flag:
        if not sys.stdin.isatty():
            raise UsageError(
                f"Posts or pictures would be sent to {destination}, and nobody is there to be asked.",
                hint="If that is right, say so with --yes-send-to-endpoint.",
            )
        sent = " and ".join(
            what
            for what, sees in (("texts of posts", provider.sees_text), ("pictures", provider.sees_picture))
            if sees
        )
        if not typer.confirm(f"Send the {sent} to {destination}?", default=False, err=True):
            raise UsageError(f"Nothing was sent to {destination}.")
    store.confirm(destination)
    return True


def _read(path: Path, file_format: str | None, images: Path | None, splits: list[str] | None) -> list[Post]:
    """The posts of a file, of a folder's splits, or one for each picture of a folder."""
    from mner.data import read_folder, read_posts

    if not path.is_dir():
        return read_posts(path, file_format, images)
    try:
        data = read_folder(path, file_format, images, progress=bars)
    except DataError:
        pictures = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not pictures or splits:
            raise
        return [Post.from_text("", id=picture.stem, image=picture) for picture in pictures]
    for split in splits or ():
        if split not in data.splits:
            raise UsageError(f"{path} has no split {split!r}.", hint=did_you_mean(split, data.splits))
    return [post for split in splits or data.splits for post in data.splits[split]]


def _is_store(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _rows_about(
    subject: str, store: KnowledgeStore, posts: Path | None, images: Path | None, file_format: str | None
) -> list[StoredAnswer]:
    from mner.images import open_picture
    from mner.knowledge.keys import plain_name

    if posts is not None:
        found = [post for post in _read(posts, file_format, images, None) if post.id == subject]
        if not found:
            raise UsageError(f"{posts} has no post with the id {subject!r}.")
        keys = []
        for post in found:
            picture_key = store.picture_keys([post.image])[0][0]
            keys += [key for source in store.sources() for key in source.keys_of(post, picture_key)]
        return list(store.answers(keys=keys))
    rows: dict[str, StoredAnswer] = {}
    if Path(subject).is_file() and (key := open_picture(subject).key):
        rows.update((row.key, row) for row in store.answers(picture=key))
    for name in dict.fromkeys((subject, plain_name(subject))):
        rows.update((row.key, row) for row in store.answers(post=name))
    if not rows and len(subject) >= 6:
        rows.update((row.key, row) for row in store.answers(key_start=subject))
    return sorted(rows.values(), key=lambda row: (row.source.kind, row.made_at))
