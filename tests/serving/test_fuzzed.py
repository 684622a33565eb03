"""A thousand drawn and mutated requests: never a 500, never a hang, always a message; the next one works."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.contract.tiny import tiny_picture
from tests.machine import PATIENCE

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
QUICK = settings(
    max_examples=110,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


def encoded_as(kind, mode="RGB", size=(9, 7)):
    values = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, kind)
    return file.getvalue()


PICTURES = [
    *(encoded_as(kind) for kind in FORMATS),
    encoded_as("PNG", "RGBA"),
    encoded_as("PNG", "P"),
    encoded_as("PNG", "1"),
    encoded_as("PNG", "I;16"),
    encoded_as("TIFF", "CMYK"),
    encoded_as("TIFF", "LAB"),
    encoded_as("PNG", size=(1, 300)),
    tiny_picture(3),
]


@st.composite
def mutated_pictures(draw):
    """A picture's bytes, cut, overwritten, doubled, or as they are."""
    content = bytearray(draw(st.sampled_from(PICTURES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["cut", "bytes", "insert", "zero", "double"]))
        if kind == "cut":
            del content[place:]
        elif kind == "bytes":
            content[place : place + 4] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=30))
        elif kind == "zero":
            content[place : place + 50] = bytes(len(content[place : place + 50]))
        else:
            content += content[:place]
    return bytes(content)


schemathesis.openapi.format(
    "picture", mutated_pictures().map(lambda content: base64.b64encode(content).decode())
)


@pytest.fixture(scope="session")
def document(client):
    found = client.get("/openapi.json").json()
    # Drawn strings alone would never come near a picture.
    found["components"]["schemas"]["PostIn"]["properties"]["image"]["anyOf"][0]["format"] = "picture"
    return found


@pytest.fixture
def works(client):
    """After everything, a plain request is answered."""
    yield
    assert client.post("/v1/recognize", json={"text": "Ada reads"}).status_code == 200


def wrong_is_refused(context, response, case):
    """As schemathesis asks, which does not know 413 as a refusal of what is too long."""
    return None if response.status_code == 413 else checks.negative_data_rejection(context, response, case)


CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    wrong_is_refused,
    checks.unsupported_method,
]


def has_a_message(response):
    if response.status_code >= 400:
        error = json.loads(response.content)["error"]
        assert error["status"] == response.status_code
        assert error["message"]


@pytest.mark.parametrize(
    ("method", "path", "examples"),
    [
        ("POST", "/v1/recognize", 130),
        ("POST", "/v1/recognize/batch", 130),
        ("POST", "/v1/recognize/upload", 130),
        ("GET", "/version", 10),
        ("GET", "/metrics", 10),
    ],
)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_requests_drawn_from_the_document(document, address, works, method, path, examples, mode):
    operation = schemathesis.openapi.from_dict(document)[path][method]
    if mode is schemathesis.GenerationMode.NEGATIVE and method == "GET":
        pytest.skip("there is nothing in it that could be wrong")

    @settings(QUICK, max_examples=examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        has_a_message(case.call_and_validate(base_url=address, checks=CHECKS, timeout=PATIENCE))

    ask()


@st.composite
def mutated_bodies(draw):
    """The JSON of a good request, with some of its bytes changed, or values that no schema allows."""
    odd = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
        | st.sampled_from(["\ud800", "\udfff\ud800", "a" * 4001, 10**400, 1e308, "/etc/passwd", "http://127.0.0.1:9/"]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    )  # fmt: skip
    post = {"text": draw(odd | st.just("Ada reads in Port Ellery"))}
    for key in ("image", "alt", "id", "entities"):
        if draw(st.booleans()):
            post[key] = draw(odd)
    whole = draw(st.sampled_from([post, {"posts": [post, post]}, [post], {"posts": post}]))
    body = bytearray(json.dumps(whole).encode())
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=6))
    depth = draw(st.sampled_from([0, 0, 0, 190, 5000]))
    return b"[" * depth + bytes(body) + b"]" * depth


@settings(QUICK, max_examples=250)
@given(
    body=mutated_bodies(),
    path=st.sampled_from(["/v1/recognize", "/v1/recognize/batch", "/v1/recognize/upload"]),
    kind=st.sampled_from(
        ["application/json"] * 5 + ["", "application/json; charset=utf-16", "multipart/form-data; boundary=a"]
    ),
)
def test_mutated_bodies(client, body, path, kind):
    response = client.post(path, content=body, headers={"Content-Type": kind})
    assert response.status_code in (200, 400, 413, 415, 422)
    has_a_message(response)


@settings(QUICK, max_examples=250)
@given(
    content=mutated_pictures(),
    name=st.text(max_size=12) | st.sampled_from(["../../etc/passwd", "a.png\0", "x" * 300]),
)
def test_mutated_pictures(client, content, name):
    try:
        files = {"image": (name, content)}
        response = client.post("/v1/recognize/upload", data={"text": "Ada reads"}, files=files)
    except UnicodeEncodeError:
        return  # a name that no client can send
    assert response.status_code in (200, 400, 413, 422)
    has_a_message(response)
    in_json = {"text": "Ada reads", "image": base64.b64encode(content).decode()}
    response = client.post("/v1/recognize", json=in_json)
    assert response.status_code in (200, 413, 422)
    has_a_message(response)


@settings(QUICK, max_examples=150)
@given(
    body=mutated_bodies(),
    path=st.sampled_from(["/gradio_api/queue/join", "/gradio_api/upload", "/config", "/"]),
)
def test_mutated_calls_of_the_page(page_client, body, path):
    response = page_client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 400, 404, 413, 422)
    assert page_client.get("/health").status_code == 200


@pytest.mark.data
def test_odd_pictures(client, real_data: Path):
    folder = real_data / "odd_images"
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".png", ".jpg"):
            continue
        response = client.post(
            "/v1/recognize/upload",
            data={"text": "Ada reads"},
            files={"image": (path.name, path.read_bytes())},
        )
        has_a_message(response)
        found[path.name] = response.status_code
    assert len(found) >= 15
    assert set(found.values()) <= {200, 413, 422}
    assert found["truncated.jpg"] == 422
    assert found["palette_gray.png"] == found["chelsea.png"] == 200
