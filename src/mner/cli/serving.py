"""`mner serve`: the recogniser over HTTP, and as a page."""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import err
from mner.errors import MissingExtraError, UsageError, shown

KEY_VARIABLE = "MNER_API_KEY"
"""The environment variable that may hold the API key."""


@app.command()
def serve(
    run: Annotated[
        str, typer.Argument(help="A run folder; without one, the recogniser that comes along.")
    ] = "default",
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for other machines too.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads of a computation; torch's choice without.")
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page besides.")] = True,
    read_pictures: Annotated[
        bool,
        typer.Option(
            "--read-pictures/--no-read-pictures", help="Read the text in pictures, for models that use it."
        ),
    ] = True,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help=f"A file with the API key; {KEY_VARIABLE} in the environment does the same."),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Most posts computed at once.")] = 32,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a batch waits for more posts.")
    ] = 5.0,
    max_posts: Annotated[int, typer.Option(min=1, help="Most posts of a request.")] = 256,
    max_characters: Annotated[int, typer.Option(min=1, help="Most characters of a post.")] = 5_000,
    max_total_characters: Annotated[int, typer.Option(min=1, help="Most characters of a request.")] = 50_000,
    max_body_mib: Annotated[float, typer.Option(min=0.01, help="Largest request, in MiB.")] = 16.0,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Largest picture, in megapixels.")] = 20.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Most posts that wait.")] = 1024,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds in which a request is answered.")] = 30.0,
    grace: Annotated[float, typer.Option(min=1, help="Seconds to finish in when told to stop.")] = 30.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    trusted_proxies: Annotated[
        str | None, typer.Option(help="Addresses of proxies whose X-Forwarded headers are believed.")
    ] = None,
) -> None:
    """Serve a recogniser: the page at /, the interface's description at /docs.

    Logs are lines of JSON on stderr. Ctrl-C or SIGTERM ends it once what is in flight is answered.
    """
    if log_level not in ("debug", "info", "warning", "error"):
        raise UsageError(
            "There is no such level of logs.", expected="debug, info, warning or error", got=shown(log_level)
        )
    key = _key(api_key_file)
    try:
        from mner.serving.application import create_application
        from mner.serving.server import bound, make_server
        from mner.serving.settings import Limits, ServingSettings
    except ImportError as error:
        raise MissingExtraError(f"Serving (no {error.name})", "serve") from error
    if page and find_spec("gradio") is None:
        raise MissingExtraError("The page (--no-page leaves it out)", "serve")
    import torch

    from mner.recognizer import Recognizer

    if threads is not None:
        torch.set_num_threads(threads)
    megapixel = 1_000_000
    settings = ServingSettings(
        limits=Limits(
            body_bytes=round(max_body_mib * 2**20),
            bodies_bytes=max(16 * round(max_body_mib * 2**20), 2**28),
            pixels=round(max_megapixels * megapixel),
            request_pixels=5 * round(max_megapixels * megapixel),
            posts=max_posts,
            post_characters=max_characters,
            characters=max(max_characters, max_total_characters),
            queue_posts=max_queue,
            seconds=timeout,
        ),
        batch_posts=max_batch,
        batch_wait=max_wait_ms / 1000,
        api_key=key,
        page=page,
        read_pictures=read_pictures,
    )
    # Before anything is loaded for nothing.
    listening = bound(host, port)
    recognizer = Recognizer.from_pretrained(run, device=device, dtype=dtype)
    server = make_server(
        create_application(recognizer, settings),
        grace=grace,
        log_level=log_level,
        forwarded_allow_ips=trusted_proxies,
    )
    if key is None and host not in ("127.0.0.1", "localhost", "::1"):
        err.print(
            f"Anybody who reaches {host} is served: there is no API key ({KEY_VARIABLE} or --api-key-file).",
            markup=False,
            soft_wrap=True,
        )
    # Ctrl-C ends the server in order; that is no command cut off in the middle.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE)
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The API key in {shown(file)} cannot be read.", got=str(error)) from error
    if not key:
        raise UsageError(f"The file {shown(file)} holds no API key.", expected="the key and nothing else")
    return key
