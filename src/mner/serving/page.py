"""The page: a post typed or pasted, its picture dropped, its names shown; and files of many posts.

Built with Gradio and mounted beside the interface; `page_guard` stands before it. Nothing is sent elsewhere:
no analytics, no fonts or scripts of others, nothing kept in the browser.
"""

from __future__ import annotations

import html
import os
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount

from mner.images import read_picture
from mner.serving import markup, pictures
from mner.serving.examples import EXAMPLES, Example, drawn
from mner.serving.files import PostFile, read_posts, write_posts
from mner.serving.page_guard import PageGuard
from mner.serving.refusals import Refusal
from mner.serving.service import Draft, Recognised, RecognitionService

# Seconds after which what came up is deleted, and how often that is looked after.
_KEPT_SECONDS = 900
_CLEARING_SECONDS = 120
_ROOM = 2**30
_PREVIEWED = 20

_FOLDER_VARIABLE = "GRADIO_TEMP_DIR"
_TITLE = "mner: who and what a post is about"


def mount_page(app: FastAPI, service: RecognitionService) -> None:
    """Add the page to an application, at its root.

    Args:
        app: The application.
        service: What recognises.
    """
    folder = Path(tempfile.mkdtemp(prefix="mner-page-"))
    # Gradio reads these when it is loaded, and the folder whenever it handles a file.
    before = os.environ.get(_FOLDER_VARIABLE)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ[_FOLDER_VARIABLE] = str(folder)
    import gradio

    page = _Page(service, folder)
    blocks = page.build()
    gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=service.limits.body_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gradio.themes.Default(
            primary_hue="blue",
            font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
            font_mono=["ui-monospace", "Consolas", "monospace"],
        ).set(
            # White on the theme's own blue is hard to read.
            button_primary_background_fill="*primary_700",
            button_primary_background_fill_hover="*primary_800",
            button_primary_background_fill_dark="*primary_700",
            button_primary_background_fill_hover_dark="*primary_600",
        ),
        css=markup.style(service.recognizer.labels),
    )
    mount = next(
        route for route in app.routes if isinstance(route, Mount) and isinstance(route.app, gradio.routes.App)
    )
    inside: Any = mount.app
    methods: dict[str, set[str]] = {}
    for path, operations in app.openapi()["paths"].items():
        methods[path] = {method.upper() for method in operations}
    mount.app = PageGuard(
        inside,
        folder,
        {number: len(function.inputs) for number, function in blocks.fns.items()},
        _ROOM,
        methods,
    )
    app.state.stop_page = inside.stop_event.set
    _clear_at_the_end(app, folder, before)


def _clear_at_the_end(app: FastAPI, folder: Path, before: str | None) -> None:
    original = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        try:
            async with original(app) as state:
                yield state
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if before is None:
                os.environ.pop(_FOLDER_VARIABLE, None)
            else:
                os.environ[_FOLDER_VARIABLE] = before

    app.router.lifespan_context = lifespan


class _Page:
    def __init__(self, service: RecognitionService, folder: Path) -> None:
        self.service = service
        self.folder = folder.resolve()

    def build(self) -> Any:
        import gradio

        # Nothing is read by Gradio's own hand: the functions here get what the browser sent, as it is.
        raw: dict[str, Any] = {"preprocess": False, "api_visibility": "private", "show_progress": "minimal"}
        with gradio.Blocks(
            title=_TITLE, analytics_enabled=False, delete_cache=(_CLEARING_SECONDS, _KEPT_SECONDS)
        ) as blocks:
            gradio.HTML(self._heading(), js_on_load=None, elem_classes="mner-title")
            with gradio.Tab("One post"), gradio.Row():
                with gradio.Column():
                    text = gradio.Textbox(
                        label="Post",
                        placeholder="Type or paste a post",
                        lines=4,
                        max_lines=12,
                        autofocus=True,
                    )
                    image = gradio.Image(
                        label="Picture (optional)",
                        type="filepath",
                        sources=["upload", "clipboard"],
                        height=240,
                        buttons=[],
                    )
                    alt = gradio.Textbox(
                        label="What the picture shows (optional)",
                        placeholder="Its alternative text, if the post came with one",
                    )
                    with gradio.Row():
                        clear = gradio.Button("Clear")
                        start = gradio.Button("Find names", variant="primary", elem_id="find-names")
                    gradio.Markdown("Try one of these:")
                    with gradio.Row():
                        examples = [gradio.Button(example.name, size="sm") for example in EXAMPLES]
                with gradio.Column():
                    shown = gradio.HTML(self._nothing_yet(), js_on_load=None, elem_id="result")
            with gradio.Tab("Many posts"):
                gradio.Markdown(
                    "A file of posts: **.jsonl** (`text`, and perhaps `id`, `alt`, and `image` in base64), "
                    "**.csv** (the same columns without pictures), or **.txt** with a post a line; at most "
                    f"{self.service.limits.posts * 8} posts."
                )
                file = gradio.File(
                    label="File of posts", file_types=[".jsonl", ".csv", ".txt"], type="filepath", height=140
                )
                kind = gradio.Radio(
                    [("JSON lines", "jsonl"), ("CSV, a line an entity", "csv")],
                    value="jsonl",
                    label="Download as",
                )
                run = gradio.Button("Find names in all", variant="primary", elem_id="find-all")
                told = gradio.HTML("", js_on_load=None, elem_id="told")
                download = gradio.DownloadButton("Download", visible=False, elem_id="download")
            asked: dict[str, Any] = {"fn": self.one, "inputs": [text, image, alt], "outputs": shown, **raw}
            # On a phone the names are far below the button.
            asked["scroll_to_output"] = True
            start.click(**asked)
            text.submit(**asked)
            clear.click(lambda: ("", None, "", self._nothing_yet()), outputs=[text, image, alt, shown], **raw)
            for button, example in zip(examples, EXAMPLES, strict=True):
                button.click(self._filling(example), outputs=[text, image, alt], **raw).then(**asked)
            run.click(self.many, inputs=[file, kind], outputs=[told, download], **raw)
        blocks.queue(max_size=64, default_concurrency_limit=8)
        return blocks

    async def one(self, text: Any, image: Any, alt: Any) -> str:
        """A result for one post, or what is wrong with it."""
        labels = self.service.recognizer.labels
        try:
            content = self._content(image)
            found = (await self.service.recognise([Draft(_string(text), content, _string(alt))]))[0]
            explanation = await self.service.explain(found)
        except Refusal as refusal:
            return markup.problem(refusal)
        if explanation is None:
            return markup.result(found, labels)
        if content is None:
            # There is nothing to lay a look over, but what was said about the picture has been looked at.
            return markup.result(found, labels, None, explanation)

        def shown() -> str:
            picture = pictures.opened(content, "image", self.service.limits.pixels)
            return markup.result(found, labels, picture.image, explanation)

        # A large picture takes long to open and to write: meanwhile other clients are served.
        return await self.service.decoding(shown)

    async def many(self, file: Any, kind: Any) -> tuple[str, Any]:
        """What was found in a file of posts, and the file to download."""
        import gradio

        hidden = gradio.DownloadButton(visible=False)
        try:
            # A large file takes long to read and to write: meanwhile other clients are served.
            name, posts = await self.service.decoding(lambda: self._posts(file))
            found = await self._recognised(posts)
        except Refusal as refusal:
            return markup.problem(refusal), hidden
        kind = "csv" if kind == "csv" else "jsonl"
        target = await self.service.decoding(lambda: self._written(found, name, kind))
        size = f"{len(found)} posts" if len(found) != 1 else "1 post"
        return self._told(found, posts), gradio.DownloadButton(
            f"Download {size} as {kind.upper()}", value=str(target), visible=True
        )

    def _posts(self, file: Any) -> tuple[str, PostFile]:
        """The name of an uploaded file, and its posts."""
        content = self._content(file)
        if content is None:
            raise Refusal(422, "There is no file yet.", hint="Choose one first.")
        name = str(file.get("orig_name") or file.get("path"))
        return name, read_posts(content, name, self.service.limits.posts * 8)

    def _written(self, found: list[Recognised], name: str, kind: str) -> Path:
        """The file to download."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        target = folder / f"{Path(name).stem[:60] or 'posts'}-names.{kind}"
        target.write_bytes(write_posts(found, kind))
        return target

    async def _recognised(self, posts: PostFile) -> list[Recognised]:
        # A request's worth at a time: other people's posts get their turn in between.
        limits = self.service.limits
        found: list[Recognised] = []
        chunk: list[Draft] = []
        size = 0
        for draft in posts.drafts:
            length = len(draft.text) + len(draft.alt or "")
            if chunk and (len(chunk) == limits.posts or size + length > limits.characters):
                found += await self._each(chunk, posts)
                chunk, size = [], 0
            chunk.append(draft)
            size += length
        return found + await self._each(chunk, posts)

    async def _each(self, chunk: list[Draft], posts: PostFile) -> list[Recognised]:
        if not chunk:
            return []
        try:
            return await self.service.recognise(chunk)
        except Refusal as refusal:
            if refusal.status not in (413, 422):
                raise
        # One of them is at fault; the others are not.
        found = []
        for draft in chunk:
            try:
                found += await self.service.recognise([draft])
            except Refusal as refusal:
                if refusal.status not in (413, 422):
                    raise
                own = (
                    refusal.message
                    if refusal.message.startswith(draft.where)
                    else draft.where + refusal.message
                )
                posts.problems.append(own)
        return found

    def _told(self, found: list[Recognised], posts: PostFile) -> str:
        entities = sum(len(one.entities) for one in found)
        parts = [f"<p><strong>{entities} names in {len(found)} posts.</strong></p>"]
        if posts.problems:
            shown = "".join(f"<li>{html.escape(problem)}</li>" for problem in posts.problems[:_PREVIEWED])
            more = (
                f"<li>and {len(posts.problems) - _PREVIEWED} more</li>"
                if len(posts.problems) > _PREVIEWED
                else ""
            )
            parts.append(
                f'<p class="problem" role="alert">{_lines(len(posts.problems))} could not be read:</p>'
                f'<ul class="bad">{shown}{more}</ul>'
            )
        labels = self.service.recognizer.labels
        parts += [markup.post(one, labels) for one in found[:_PREVIEWED]]
        if len(found) > _PREVIEWED:
            parts.append(f'<p class="note">The first {_PREVIEWED} are shown; the file has all.</p>')
        return f'<div class="mner" role="status">{"".join(parts)}</div>'

    def _content(self, given: Any) -> bytes | None:
        """The bytes of an uploaded file. The guard has checked the path; so does this."""
        if given is None:
            return None
        path = given.get("path") if isinstance(given, dict) else None
        try:
            found = Path(str(path)).resolve()
            own = isinstance(path, str) and found.is_relative_to(self.folder)
        except (OSError, ValueError, RuntimeError):
            own = False
        if not own:
            raise Refusal(422, "The file did not come up here.")
        content, problem = read_picture(found, max_bytes=self.service.limits.body_bytes, allow_symlinks=False)
        if content is None:
            raise Refusal(422, f"The file cannot be used: {problem}.")
        return content

    def _filling(self, example: Example) -> Any:
        # The picture is written only once it is wanted: what is not in use is deleted after a while.
        def fill() -> tuple[str, str | None, str]:
            if not example.lines:
                return example.text, None, example.alt
            path = Path(tempfile.mkdtemp(dir=self.folder)) / "poster.png"
            path.write_bytes(drawn(example.lines))
            return example.text, str(path), example.alt

        return fill

    def _heading(self) -> str:
        recognizer = self.service.recognizer
        types = "".join(
            f'<span class="entity type{number % 8}">{html.escape(label)}</span> '
            for number, label in enumerate(recognizer.labels)
        )
        uses = (
            "text and picture" if self.service.reads_pictures else "the text alone; pictures change nothing"
        )
        return (
            "<h1>Who and what is this post about?</h1>"
            f'<div class="mner"><p>Finds {types} in posts. This is '
            f"<strong>{html.escape(recognizer.name)}</strong>, "
            f'which reads {uses}. For programs: <a href="docs">the interface over HTTP</a>.</p></div>'
        )

    def _nothing_yet(self) -> str:
        return '<div class="mner"><p class="note">The names appear here.</p></div>'


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
