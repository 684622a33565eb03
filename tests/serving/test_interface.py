"""The interface over HTTP: what it answers, and what it says to what it does not."""

from __future__ import annotations

import base64
import io
import json
import socket

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from mner.posts import Post
from tests.contract.tiny import tiny_picture
from tests.machine import PATIENCE
from tests.serving.conftest import LIMITS

PICTURE = tiny_picture(1)
ENCODED = base64.b64encode(PICTURE).decode()
TEXT = "Ada Lindqvist 🎉 reads in Port Ellery"


def expected(recognizer, *posts):
    return [
        [
            {
                "text": e.text,
                "label": e.label,
                "start": e.start,
                "end": e.end,
                "score": pytest.approx(e.score, abs=1e-5),
            }
            for e in entities
        ]
        for entities in recognizer.predict(list(posts))
    ]


def is_refusal(response, status):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["status"] == status
    assert len(error["message"]) > 10
    return error


def test_one_post_is_answered_as_the_recogniser_does(client, recognizer):
    answer = client.post("/v1/recognize", json={"text": TEXT, "id": "7"}).json()
    assert set(answer) == {"id", "text", "entities"}
    assert (answer["id"], answer["text"]) == ("7", TEXT)
    assert answer["entities"] == expected(recognizer, Post.from_text(TEXT))[0]
    assert answer["entities"], "the tiny recogniser finds something, right or not"
    for entity in answer["entities"]:
        assert TEXT[entity["start"] : entity["end"]] == entity["text"]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_comes_as_base64(client, recognizer, prefix):
    answer = client.post("/v1/recognize", json={"text": TEXT, "image": prefix + ENCODED}).json()
    with_picture = expected(recognizer, Post.from_text(TEXT, image=PICTURE))[0]
    assert answer["entities"] == with_picture
    without = expected(recognizer, Post.from_text(TEXT))[0]
    assert [e["score"] for e in answer["entities"]] != [e["score"] for e in without]


def test_a_picture_comes_as_a_file(client, recognizer):
    answer = client.post("/v1/recognize/upload", data={"text": TEXT}, files={"image": ("a.png", PICTURE)})
    assert answer.json()["entities"] == expected(recognizer, Post.from_text(TEXT, image=PICTURE))[0]
    bare = client.post("/v1/recognize/upload", files={"text": (None, TEXT)})
    assert bare.json()["entities"] == expected(recognizer, Post.from_text(TEXT))[0]


def test_many_posts_come_back_in_order(client, recognizer):
    posts = [{"text": TEXT}, {"text": ""}, {"text": "Ivo left Brel", "image": ENCODED, "id": "c"}]
    answers = client.post("/v1/recognize/batch", json={"posts": posts}).json()["posts"]
    assert [answer["text"] for answer in answers] == [post["text"] for post in posts]
    assert [answer.get("id") for answer in answers] == [None, None, "c"]
    wanted = expected(
        recognizer, Post.from_text(TEXT), Post.from_text(""), Post.from_text("Ivo left Brel", image=PICTURE)
    )
    assert [answer["entities"] for answer in answers] == wanted
    assert client.post("/v1/recognize/batch", json={"posts": []}).json() == {"posts": []}


def test_state(client, recognizer):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    version = client.get("/version").json()
    assert (version["model"], version["labels"]) == ("cat-mner", list(recognizer.labels))
    assert version["limits"]["posts"] == LIMITS.posts
    assert version["reads_pictures"] is True


def sample(client, name, **labels):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return next(
        (s.value for family in families for s in family.samples if s.name == name and s.labels == labels), 0.0
    )


def test_metrics_count_what_happened(client):
    names = {
        "posts": ("mner_posts_total", {}),
        "answered": ("mner_requests_total", {"route": "/v1/recognize", "status": "200"}),
        "refused": ("mner_refused_total", {"reason": "content_type"}),
        "other": ("mner_requests_total", {"route": "other", "status": "404"}),
    }
    before = {key: sample(client, name, **labels) for key, (name, labels) in names.items()}
    client.post("/v1/recognize", json={"text": "Ada"})
    client.post("/v1/recognize", content=b"x")
    client.get("/made/up/1")
    after = {key: sample(client, name, **labels) for key, (name, labels) in names.items()}
    assert {key: after[key] - before[key] for key in names} == dict.fromkeys(names, 1.0)
    assert sample(client, "mner_posts_held") == 0


def bmp_header(width, height):
    """A picture that claims to be large and is not there."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "BMP")
    content = bytearray(file.getvalue())
    content[18:22], content[22:26] = width.to_bytes(4, "little"), height.to_bytes(4, "little")
    return bytes(content)


def picture_of(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


BAD_PICTURES = {
    "a path": "/etc/passwd",
    "a path that is base64": "etc/hosts",
    "a parent": "../../../etc/passwd",
    "a URL": "http://127.0.0.1:9/x.png",
    "a file URL": "file:///etc/passwd",
    "a data URL of another kind": "data:text/html,<b>",
    "nothing": "",
    "an emoji": "🎉",
    "a text": base64.b64encode(b"hello").decode(),
    "cut": base64.b64encode(PICTURE[: len(PICTURE) // 2]).decode(),
    "a header alone": base64.b64encode(PICTURE[:33]).decode(),
    "damaged": base64.b64encode(PICTURE[:60] + b"\0" * 40 + PICTURE[100:]).decode(),
    "an SVG": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
    "a header that lies": base64.b64encode(bmp_header(300, 300)).decode(),
}


@pytest.mark.parametrize("image", BAD_PICTURES.values(), ids=BAD_PICTURES.keys())
def test_a_bad_picture_is_refused_with_the_reason(client, image):
    error = is_refusal(client.post("/v1/recognize", json={"text": TEXT, "image": image}), 422)
    assert error["details"][0]["where"] == "image"
    many = client.post("/v1/recognize/batch", json={"posts": [{"text": "a"}, {"text": "b", "image": image}]})
    assert is_refusal(many, 422)["details"][0]["where"] == "posts.1.image"
    assert client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200


def test_pictures_beyond_the_limits_are_too_large(client):
    def post(content):
        return {"text": "a", "image": base64.b64encode(content).decode()}

    assert (
        "pixels" in is_refusal(client.post("/v1/recognize", json=post(picture_of(651, 400))), 413)["message"]
    )
    assert client.post("/v1/recognize", json=post(picture_of(500, 500))).status_code == 200
    is_refusal(client.post("/v1/recognize", json=post(bmp_header(60_000, 60_000))), 413)
    together = {"posts": [post(picture_of(500, 500))] * 3}
    assert "together" in is_refusal(client.post("/v1/recognize/batch", json=together), 413)["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"{}", 422),
        (b'{"text": null}', 422),
        (b'{"text": 1e400}', 422),
        (b'{"text": NaN}', 422),
        (b'{"text": ' + b"9" * 5000 + b"}", 422),
        (b'{"text": "a", "more": 1}', 422),
        (b'{"text": "a", "id": 7}', 422),
        (b'{"text": "\\ud83d"}', 422),
        (b'{"text": "\\udc00\\ud800"}', 422),
        (b'{"\\ud800": "a"}', 422),
        (b'{"text": "\xff"}', 422),
        (b'\xff\xfe{\0"\0', 422),
        (b'{"text": ' + b"[" * 100_000, 422),
        (b'{"text": ' + b'{"a":' * 30_000 + b"1" + b"}" * 30_001, 422),
        (b'{"text": "' + b"a" * 5000 + b'"}', 413),
        (b'{"text": "a", "alt": "' + b"a" * 5001 + b'"}', 422),
        (b'{"text": "a"}' + b" " * 300_000, 413),
    ],
)
def test_bad_bodies_are_refused_and_the_next_request_works(client, body, status):
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/recognize", "/v1/recognize/batch"):
        response = client.post(path, content=body, headers=headers)
        # What is no post may be no list of posts for another reason.
        is_refusal(response, status if path == "/v1/recognize" else response.status_code)
        assert response.status_code in (413, 422)
    assert client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200


def test_text_may_hold_anything_that_is_text(client):
    for text in [
        "",
        " ",
        "\0",
        "\u200b",
        "a\u0301" * 50,
        "שלום עולם",
        "👩‍👩‍👧",
        "\U0010ffff",
        "'\"<>&${1}{{2}}\\",
    ]:
        answer = client.post("/v1/recognize", json={"text": text})
        assert answer.status_code == 200
        assert answer.json()["text"] == text


def test_too_many_posts(client):
    posts = {"posts": [{"text": "a"}] * (LIMITS.posts + 1)}
    assert str(LIMITS.posts) in is_refusal(client.post("/v1/recognize/batch", json=posts), 413)["message"]
    texts = {"posts": [{"text": "a" * 1700}] * 3}
    assert (
        "5000 are accepted in a request"
        in is_refusal(client.post("/v1/recognize/batch", json=texts), 413)["message"]
    )
    long = {"posts": [{"text": "a"}, {"text": "a" * 4001}]}
    assert "posts.1.text" in is_refusal(client.post("/v1/recognize/batch", json=long), 413)["message"]


@pytest.mark.parametrize(
    "given",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "\x7f", ";"],
)
def test_other_content_types_are_refused(client, given):
    headers = {} if given is None else {"Content-Type": given}
    response = client.post("/v1/recognize", content=b'{"text": "a"}', headers=headers)
    assert "application/json" in is_refusal(response, 415)["message"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="te', "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nAda', "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nAda', "multipart/form-data"),
        (b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PICTURE[:99], "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: attachment\r\n\r\nAda\r\n--x--\r\n', "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\\ud800\r\n--x--\r\n', "multipart/form-data; boundary=x; charset=unicode_escape"),
        (b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + b"a\r\n--x\r\n" * 3000, "multipart/form-data; boundary=x"),
        (b"\0" * 1000, "multipart/form-data; boundary=" + "x" * 300),
    ],
)  # fmt: skip
def test_truncated_and_odd_uploads_are_refused(client, content, kind):
    response = client.post("/v1/recognize/upload", content=content, headers={"Content-Type": kind})
    assert 400 <= response.status_code < 500, response.text
    is_refusal(response, response.status_code)
    assert client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200


def test_bad_pictures_in_uploads_are_refused(client):
    for content in (b"", PICTURE[:100], b"GIF89a", b"%PDF-1.4"):
        response = client.post(
            "/v1/recognize/upload", data={"text": "a"}, files={"image": ("x.png", content)}
        )
        is_refusal(response, 422)


def test_paths_and_methods(client):
    is_refusal(client.get("/v1"), 404)
    is_refusal(client.get("/../../etc/passwd"), 404)
    wrong = client.get("/v1/recognize")
    is_refusal(wrong, 405)
    assert wrong.headers["allow"] == "POST"


def exchange(address, *parts, shut=False):
    """What a server says to bytes on a connection."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        for part in parts:
            connection.sendall(part)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


HEAD = b"POST /v1/recognize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_body_that_breaks_off_disturbs_nobody(address, client):
    exchange(address, HEAD + b"Content-Length: 500\r\n\r\n", b'{"text": "Ad', shut=True)
    exchange(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b'5\r\n{"tex\r\n', shut=True)
    exchange(address, b"POST /v1/recognize HT", shut=True)
    assert client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200


def test_a_body_is_refused_by_its_announced_size_before_it_is_sent(address):
    answer = exchange(address, HEAD + b"Content-Length: 99999999999999999999\r\n\r\n")
    assert b" 413 " in answer.splitlines()[0]
    assert b"connection: close" in answer.lower()


def test_who_sends_too_much_at_once_gets_the_answer_all_the_same(address):
    for _ in range(5):
        answer = exchange(address, HEAD + b"Content-Length: 900000\r\n\r\n", b" " * 900_000)
        assert b" 413 " in answer.splitlines()[0]


def test_a_body_without_an_announced_size_is_cut_off_at_the_limit(address):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = exchange(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 5)
    assert b" 413 " in answer.splitlines()[0]


def test_the_document_says_what_offsets_count_and_where_the_limits_are(client):
    document = client.get("/openapi.json").json()
    offsets = document["components"]["schemas"]["EntityOut"]["properties"]["start"]["description"]
    assert "Unicode code points" in offsets
    assert "UTF-16" in offsets
    schemas = document["components"]["schemas"]
    assert schemas["PostIn"]["properties"]["text"]["maxLength"] == LIMITS.post_characters
    assert schemas["PostsIn"]["properties"]["posts"]["maxItems"] == LIMITS.posts
    statuses = document["paths"]["/v1/recognize"]["post"]["responses"]
    assert {"200", "413", "415", "422", "503", "504"} <= set(statuses)


def test_the_document_is_shown_without_anything_from_elsewhere(client):
    page = client.get("/docs").text
    for address in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f'"/docs-assets/{address}"' in page
        assert client.get(f"/docs-assets/{address}").status_code == 200
    assert "https://" not in page
    assert "connect-src 'self'" in client.get("/docs").headers["content-security-policy"]


def test_every_answer_has_a_name_which_may_be_given(client):
    assert client.get("/health", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    made_up = [
        client.get("/health", headers={"X-Request-ID": "a b"}).headers["x-request-id"] for _ in range(2)
    ]
    assert len(set(made_up)) == 2


def test_javascript_gets_the_entity_with_the_documented_cut(client):
    # Array.from(text) in JavaScript is a list of code points, as Python's text is.
    answer = client.post(
        "/v1/recognize", content=json.dumps({"text": TEXT}), headers={"Content-Type": "application/json"}
    )
    points = list(answer.json()["text"])
    for entity in answer.json()["entities"]:
        assert "".join(points[entity["start"] : entity["end"]]) == entity["text"]
