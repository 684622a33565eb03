"""What stands before the page: no path and no URL is opened because a request says so."""

from __future__ import annotations

import json
import re
import socket
import threading
from urllib.parse import quote

import pytest

from mner.serving.page_guard import PageGuard
from mner.serving.refusals import Refusal


@pytest.fixture
def guard(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "outside.txt")
    return PageGuard(None, folder, {3: 2}, 100, {"/health": {"GET"}})  # type: ignore[arg-type]


def test_own_files_are_those_in_the_folder(guard, tmp_path):
    own = tmp_path / "own"
    assert guard.is_own(str(own / "a.png"))
    for path in (
        own, own / "b.png", own / "link", own / ".." / "outside.txt", tmp_path / "outside.txt", "/etc/passwd", "a.png",
        "", "\0", str(own / "a.png") + "\0", "http://127.0.0.1/a.png", "file://" + str(own / "a.png"), "x" * 10_000, "~",
    ):  # fmt: skip
        assert not guard.is_own(path if isinstance(path, str) else str(path)), path
    for value in (None, 7, [], {}, True):
        assert not guard.is_own(value)


def call(**changes):
    return {
        "data": ["a", None],
        "fn_index": 3,
        "session_hash": "abc",
        "trigger_id": 5,
        "event_data": None,
    } | changes


def test_a_call_keeps_only_what_is_known(guard, tmp_path):
    path = str(tmp_path / "own" / "a.png")
    file = {
        "path": path,
        "url": "http://10.0.0.1/",
        "orig_name": "a.png",
        "is_stream": True,
        "meta": {"_type": "x"},
    }
    found = guard.call_of(
        json.dumps(call(data=["a", file], batched=True, simple_format=True, event_data={"a": 1})).encode()
    )
    assert found == {
        "data": ["a", {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}],
        "fn_index": 3,
        "session_hash": "abc",
        "trigger_id": 5,
        "event_data": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b"[" * 50_000, b'{"data": NaN}', b'{"data": ["\\ud800", null]}',
        *(json.dumps(call(**change)).encode() for change in (
            {"data": None}, {"data": []}, {"data": ["a"]}, {"data": [7, 7]}, {"data": [["a"], "b"]}, {"data": [{}, "b"]},
            {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, None]},
            {"data": [{"path": "http://127.0.0.1:1/x.png", "meta": {"_type": "gradio.FileData"}}, None]},
            {"data": [{"url": "http://127.0.0.1:1/x.png", "meta": {"_type": "gradio.FileData"}}, None]},
            {"data": [{"a": [{"path": "/etc/passwd"}]}, None]},
            {"fn_index": 4}, {"fn_index": "3"}, {"fn_index": True}, {"fn_index": None}, {"fn_index": 10**40},
            {"session_hash": None}, {"session_hash": "../a"}, {"session_hash": 7}, {"session_hash": "a" * 65},
        )),
    ],
)  # fmt: skip
def test_other_calls_are_refused(guard, body):
    with pytest.raises(Refusal) as refused:
        guard.call_of(body)
    assert refused.value.status == 422


# What Gradio answers beyond what the page calls; each opens, keeps or tells something.
CLOSED = [
    ("GET", "/gradio_api/info"), ("GET", "/gradio_api/openapi.json"), ("GET", "/gradio_api/runs"),
    ("GET", "/gradio_api/run-history/buckets"), ("GET", "/gradio_api/deep_link"), ("GET", "/monitoring"),
    ("GET", "/monitoring/summary"), ("GET", "/pwa_icon"), ("GET", "/gradio_api/custom_component/a/client/b/c"),
    ("GET", "/gradio_api/queue/status"), ("GET", "/gradio_api/stream/a/b/c/playlist.m3u8"), ("GET", "/svelte/a"),
    ("GET", "/gradio_api/file/etc/passwd"), ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"), ("GET", "/login_check"),
    ("GET", "/gradio_api/vibe-code"), ("GET", "/gradio_api/token"), ("GET", "/gradio_api/app_id"),
    ("POST", "/gradio_api/run/predict"), ("POST", "/gradio_api/api/predict"), ("POST", "/gradio_api/call/one"),
    ("POST", "/gradio_api/call/v2/one"), ("POST", "/gradio_api/component_server"), ("POST", "/gradio_api/reset"),
    ("POST", "/gradio_api/cancel"), ("POST", "/gradio_api/process_recording"), ("POST", "/gradio_api/vibe-edit"),
    ("POST", "/login"), ("PUT", "/gradio_api/upload"), ("DELETE", "/"), ("POST", "/"), ("GET", "/nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_the_page_does_not_call_is_not_there(page_client, method, path):
    answer = page_client.request(method, path, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


def test_the_interface_keeps_its_methods_beside_the_page(page_client):
    wrong = page_client.get("/v1/recognize")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"
    assert page_client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200
    assert page_client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/hosts",
        "../../../etc/passwd",
        "/proc/self/environ",
        "",
        "/",
        "pyproject.toml",
        "/tmp",
    ],
)
def test_no_file_of_the_disk_is_served(page_client, path):
    for written in (path, quote(path, safe=""), quote(quote(path, safe=""), safe="")):
        assert page_client.get(f"/gradio_api/file={written}").status_code in (403, 404)
        assert page_client.get(f"/static/{written}").status_code in (400, 403, 404, 307)
        assert page_client.get(f"/assets/{written}").status_code in (400, 403, 404, 307)


class Listener:
    """Counts who connects."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/x.png"
        self.count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.count += 1
            connection.close()


def test_no_url_is_opened_because_a_request_names_it(page_client):
    listener = Listener()
    urls = [listener.address, listener.address.replace("127.0.0.1", "localhost"), "http://example.org/x.png"]
    try:
        for url in urls:
            for path in (
                f"/gradio_api/file={url}",
                f"/gradio_api/file={quote(url, safe='')}",
                f"/gradio_api/proxy={url}",
            ):
                assert page_client.get(path).status_code in (403, 404)
            inputs = functions_of(page_client)
            for number, count in inputs.items():
                for place in range(count):
                    file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
                    for value in (file, {"image": file}, [file]):
                        data = [""] * count
                        data[place] = value
                        body = {"data": data, "fn_index": number, "session_hash": "s1"}
                        assert page_client.post("/gradio_api/queue/join", json=body).status_code == 422
            answer = page_client.post("/v1/recognize", json={"text": "a", "image": url})
            assert answer.status_code == 422
    finally:
        listener.socket.close()
    assert listener.count == 0


def functions_of(client):
    config = client.get("/config").json()
    return {function["id"]: len(function["inputs"]) for function in config["dependencies"]}


def join(client, data, number, session):
    body = {"data": data, "fn_index": number, "session_hash": session}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                message = json.loads(line[6:])
                if message["msg"] == "process_completed":
                    return message
    raise AssertionError("the stream ended without an answer")


def test_the_page_s_own_calls_pass(page_client):
    inputs = functions_of(page_client)
    one = next(number for number, count in inputs.items() if count == 3)
    message = join(page_client, ["Ada reads", None, ""], one, "session1")
    assert message["success"]
    shown = message["output"]["data"][0]
    assert "Ada" in re.sub(r"<[^>]*>", " ", shown)
    up = page_client.post("/gradio_api/upload", files={"files": ("../../x.png", b"no picture")}).json()
    file = {"path": up[0], "orig_name": "x.png", "meta": {"_type": "gradio.FileData"}}
    assert page_client.get(f"/gradio_api/file={up[0]}").content == b"no picture"
    message = join(page_client, ["Ada reads", file, ""], one, "session2")
    assert "not a picture in a known format" in message["output"]["data"][0]
    large = page_client.post("/gradio_api/upload", files={"files": ("x.png", b"0" * 400_000)})
    assert large.status_code == 413


def test_nothing_of_the_page_points_elsewhere(page_client):
    page = page_client.get("/").text
    # Addresses in meta tags and help texts are not loaded; scripts, styles, fonts and pictures would be.
    loaded = re.findall(r"""(?:<script[^>]*\ssrc|<link[^>]*\shref)=["']([^"']+)["']""", page)
    assert loaded
    assert not [address for address in loaded if "://" in address and "127.0.0.1" not in address]
    config = page_client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert "googleapis" not in page_client.get("/theme.css").text
    policy = page_client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_uploads_have_room_up_to_a_limit(guard, tmp_path):
    guard._check_room()
    (tmp_path / "own" / "b").write_bytes(b"0" * 200)
    with pytest.raises(Refusal) as refused:
        guard._check_room()
    assert refused.value.status == 503
