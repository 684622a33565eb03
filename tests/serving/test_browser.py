"""The page in a real browser: by mouse, by keyboard, on a phone, in light and in dark.

Needs Debian's chromium (or another, named by MNER_CHROMIUM) and the Python package playwright; skipped where
they are not installed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mner.serving.application import create_application
from mner.serving.settings import ServingSettings
from tests.contract.tiny import tiny, tiny_picture
from tests.machine import PATIENCE
from tests.serving.conftest import serving
from tests.serving.test_markup import contrast

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("MNER_CHROMIUM") or shutil.which("chromium")
# Minutes where the machine has other work: a browser draws, a server computes.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]

TEXT = "Ada Lindqvist 🎉 reads in Port Ellery"
PICTURE = tiny_picture(1, (60, 40))
WAIT = PATIENCE * 1000


# Its event loop runs for as long as it is open, and other files have their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        found = driver.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=WAIT)
        yield found
        found.close()


@contextmanager
def opened(browser, address, **options):
    """The page, with everything it asked for and every error it had."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.asked, page.failed = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("response", lambda answer: page.failed.append(answer.url) if answer.status >= 400 else None)
    page.on("pageerror", lambda error: page.failed.append(str(error)))
    page.goto(address)
    page.get_by_label("Post", exact=True).wait_for()
    try:
        yield page
    finally:
        context.close()


@pytest.fixture(scope="module")
def pages(browser, page_address):
    """One page that is used by several tests, since loading it takes a second."""
    with opened(browser, page_address, viewport={"width": 1200, "height": 900}) as page:
        yield page


@pytest.fixture
def page(pages):
    yield pages
    pages.get_by_role("tab", name="One post").click()
    pages.get_by_role("button", name="Clear").click()
    pages.get_by_text("The names appear here.").wait_for()


def names(page):
    """The entities on the page, without their types and scores."""
    marks = page.locator("#result .post .entity")
    return [
        mark.evaluate("e => [...e.childNodes].filter(n => n.nodeType == 3).map(n => n.data).join('')")
        for mark in marks.all()
    ]


def of_interface(client, **post):
    answer = client.post("/v1/recognize", json={"text": TEXT, **post}).json()
    return [entity["text"] for entity in answer["entities"]], answer


def test_typing_a_post_shows_its_names(page, page_client):
    page.get_by_label("Post", exact=True).fill(TEXT)
    page.get_by_role("button", name="Find names", exact=True).click()
    page.locator("#result table").wait_for()
    wanted, answer = of_interface(page_client)
    assert names(page) == wanted
    rows = page.locator("#result tbody tr").all_inner_texts()
    for row, entity in zip(rows, answer["entities"], strict=True):
        assert f"{100 * entity['score']:.0f}\u00a0%" in row
        assert f"{entity['start']}–{entity['end']}" in row
    assert page.locator("#result input[type=radio]").count() == 0, (
        "without a picture there is nothing to show"
    )


def test_what_a_post_says_does_not_run(page):
    attack = "<img src=x onerror='window.hit=1'> ${window.hit=1} {{window.hit=1}} </textarea><script>window.hit=1</script>"
    page.get_by_label("Post", exact=True).fill(attack)
    page.get_by_role("button", name="Find names", exact=True).click()
    page.locator("#result .post").wait_for()
    small = page.locator("#result .post small").all_inner_texts()
    shown = page.locator("#result .post").text_content()
    for text in small:
        shown = shown.replace(text, "", 1)
    assert shown == attack
    assert page.evaluate("window.hit") is None


def drop(page, label, name, kind, content):
    """Drop a file, as a mouse does."""
    transfer = page.evaluate_handle(
        """([name, kind, content]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
            transfer.items.add(new File([bytes], name, {type: kind}));
            return transfer;
        }""",
        [name, kind, base64.b64encode(content).decode()],
    )
    page.get_by_label(label).first.dispatch_event("drop", {"dataTransfer": transfer})


def test_a_dropped_picture_is_used_and_its_attention_is_laid_over_it(page, page_client):
    page.get_by_label("Post", exact=True).fill(TEXT)
    drop(page, "Drop an image", "a.png", "image/png", PICTURE)
    page.locator("img[alt='']").or_(page.locator(".image-container img")).first.wait_for()
    page.get_by_role("button", name="Find names", exact=True).click()
    page.locator("#result figure").wait_for()
    wanted, _ = of_interface(page_client, image=base64.b64encode(PICTURE).decode())
    assert names(page) == wanted
    radios = page.locator("#result input[type=radio]")
    assert radios.count() == len(wanted)
    visible = "#result figure .look:visible"
    assert page.locator(visible).count() == 1
    first = page.locator(f"{visible} .heat").get_attribute("src")
    # By mouse, on the name in the text.
    page.locator("#result .post .entity").nth(1).click()
    assert wanted[1] in page.locator(f"{visible} .caption").inner_text()
    second = page.locator(f"{visible} .heat").get_attribute("src")
    assert first != second
    # By the arrow keys.
    page.keyboard.press("ArrowLeft")
    assert wanted[0] in page.locator(f"{visible} .caption").inner_text()
    heat, shown = (
        page.locator(f"#result {name}").first.bounding_box() for name in (".look0 .heat", ".picture")
    )
    assert heat == pytest.approx(shown, abs=1.5), "the look covers the picture"


def test_a_wrong_file_is_said_and_the_page_goes_on(page):
    page.get_by_label("Post", exact=True).fill(TEXT)
    drop(page, "Drop an image", "broken.png", "image/png", PICTURE[:80])
    page.wait_for_function("document.querySelector('.image-container img, .image-frame img') !== null")
    page.get_by_role("button", name="Find names", exact=True).click()
    alert = page.locator("#result [role=alert]")
    alert.wait_for()
    assert "picture cannot be used" in alert.inner_text()
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("The names appear here.").wait_for()
    drop(page, "Drop an image", "notes.txt", "text/plain", b"no picture")
    page.get_by_text("Invalid file type").first.wait_for()
    page.get_by_label("Post", exact=True).fill(TEXT)
    page.get_by_role("button", name="Find names", exact=True).click()
    page.locator("#result table").wait_for()


def test_the_keyboard_alone_is_enough(browser, page_address):
    with opened(browser, page_address) as page:
        page.get_by_label("Post", exact=True).focus()
        page.keyboard.type("Ada reads in Port Ellery")
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == "Find names":
                break
        outline = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.boxShadow })()"
        )
        assert outline != "nonenone", "one sees where the keyboard is"
        page.keyboard.press("Enter")
        page.locator("#result table").wait_for()
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == "A picture described":
                break
        page.keyboard.press("Enter")
        page.locator("#result figure").wait_for()
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.type") == "radio":
                break
        before = page.locator("#result figure .look:visible .caption").inner_text()
        page.keyboard.press("ArrowRight")
        after = page.locator("#result figure .look:visible .caption").inner_text()
        assert before != after
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == "Many posts":
                break
        page.keyboard.press("Enter")
        page.locator("#find-all").wait_for()


def test_many_posts_come_back_as_a_file(page, page_client, tmp_path: Path):
    page.get_by_role("tab", name="Many posts").click()
    lines = [
        json.dumps({"text": TEXT, "id": "a"}),
        "{broken",
        json.dumps({"text": "Ivo", "image": "/etc/passwd"}),
    ]
    content = "\n".join(lines).encode()
    page.locator("input[type=file]:visible, input[type=file]").last.set_input_files(
        {"name": "posts.jsonl", "mimeType": "application/jsonl", "buffer": content}
    )
    page.get_by_text("posts.jsonl").first.wait_for()
    page.locator("#find-all").click()
    page.locator("#told .post").first.wait_for()
    told = page.locator("#told").inner_text()
    assert "2 lines could not be read" in told
    assert "line 2" in told
    with page.expect_download() as download:
        page.locator("#download").click()
    target = tmp_path / "names.jsonl"
    download.value.save_as(target)
    (record,) = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    wanted, _ = of_interface(page_client)
    assert [entity["text"] for entity in record["entities"]] == wanted
    assert (record["id"], record["text"]) == ("a", TEXT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_can_be_read_as_the_browser_paints_them(browser, page_address, scheme):
    with opened(browser, page_address, color_scheme=scheme) as page:
        page.get_by_role("button", name="Sports").click()
        page.locator("#result table").wait_for()
        painted = page.evaluate(
            """() => [...document.querySelectorAll('.mner .entity, .mner .entity small')].map(e => {
                const box = e.closest('.entity');
                return [getComputedStyle(e).color, getComputedStyle(box).backgroundColor,
                        getComputedStyle(e).opacity];
            })"""
        )
        assert len(painted) >= 6
        for ink, ground, opacity in painted:
            assert opacity == "1"
            assert contrast(as_hex(ink), as_hex(ground)) >= 4.5
        pairs = page.evaluate(
            """() => [...document.querySelectorAll('#find-names, [role=tab]')].map(e => {
                let ground = e;
                while (getComputedStyle(ground).backgroundColor == 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
                return [getComputedStyle(e).color, getComputedStyle(ground).backgroundColor];
            })"""
        )
        assert len(pairs) >= 3
        assert min(contrast(as_hex(ink), as_hex(ground)) for ink, ground in pairs) >= 4.5


def as_hex(colour):
    numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
    return "#" + "".join(f"{round(float(number)):02x}" for number in numbers)


def test_on_a_phone_nothing_sticks_out(browser, page_address):
    with opened(
        browser, page_address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as page:
        page.get_by_role("button", name="A poster").tap()
        page.locator("#result figure").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.wait_for_function("window.scrollY > 100")
        boxes = [
            page.locator(f"#result {part}").first.bounding_box() for part in (".post", "table", "figure")
        ]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), boxes


def test_the_page_asks_nobody_else_for_anything(browser, page_address):
    with opened(browser, page_address) as page:
        page.get_by_role("button", name="A poster").click()
        page.locator("#result figure").wait_for()
        elsewhere = [url for url in page.asked if not url.startswith((page_address, "data:", "blob:"))]
        assert elsewhere == []
        assert page.failed == []
        assert len(page.asked) > 10


def test_the_interface_s_document_is_shown_without_the_net(browser, page_address):
    context = browser.new_context()
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_address + "/docs")
    page.get_by_text("/v1/recognize/upload").first.wait_for(timeout=WAIT)
    context.close()
    assert [url for url in asked if not url.startswith((page_address, "data:"))] == []


def test_what_was_read_in_the_picture_is_shown_with_its_places_and_an_open_page_holds_nothing_up(browser):
    pytest.importorskip("rapidocr", reason="the extra 'knowledge' is not installed")
    recognizer = tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"])
    app = create_application(recognizer, ServingSettings())
    with serving(app) as (address, server), opened(browser, address) as page:
        page.get_by_role("button", name="A poster").click()
        page.locator("#result figure").wait_for()
        assert "LIVE IN BERLIN" in page.locator("#result blockquote").inner_text()
        assert page.locator("#result .look0 .box").count() == 3
        berlin = page.locator("#result .look0 .box").nth(1).bounding_box()
        picture = page.locator("#result .picture").bounding_box()
        # The second line of the poster stands at 144 to 202 of 400 pixels.
        middle = (berlin["y"] + berlin["height"] / 2 - picture["y"]) / picture["height"]
        assert 144 / 400 < middle < 202 / 400
        assert "berlin" in page.locator("#result p.look0").inner_text().lower()
        # The page keeps a connection open; the server leaves all the same, long before its grace is over.
        server.should_exit = True
        for _ in range(250):
            if app.state.service.is_leaving and not app.state.service.batcher.is_working:
                break
            page.wait_for_timeout(100)
        assert not app.state.service.batcher.is_working
