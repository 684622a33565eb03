"""The recogniser that comes with the package: small, offline, at once, and what it is said to be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from PIL import Image

from mner import Knowledge, Post, Recognizer
from mner.data import read_folder
from mner.evaluation.scores import score_posts
from mner.evaluation.temperature import measured
from mner.packing import ADAPTER_FILE, Base
from mner.pretrained import BUNDLED, default_folder
from mner.recognizer import checked_settings
from tests.machine import PATIENCE, at_usual_speed, cpu_seconds


@pytest.fixture(scope="module")
def recognizer():
    """The bundled recogniser."""
    return Recognizer.from_pretrained("default")


def test_it_is_small_and_complete():
    files = {path.name: path.stat().st_size for path in BUNDLED.iterdir()}
    assert set(files) == {"config.json", "recognizer.json", ADAPTER_FILE, "MODEL_CARD.md"}
    assert sum(files.values()) <= 5_000_000


def test_it_belongs_to_the_encoder_that_is_installed():
    settings = checked_settings(BUNDLED)
    assert Base(**settings["base"]).locate() == default_folder()
    assert settings["temperature"] != 1.0, "it is calibrated"


def test_it_loads_in_less_than_two_seconds_after_imports(recognizer):
    assert recognizer("warm") is not None
    assert at_usual_speed(lambda: cpu_seconds(lambda: Recognizer.from_pretrained("default"))) < 2.0


def test_it_needs_no_network():
    program = """
import socket
def refused(*arguments, **options):
    raise AssertionError("a connection was tried")
socket.socket.connect = refused
from mner import Recognizer
print([(e.text, e.label) for e in Recognizer.from_pretrained("default")("Kawhi Leonard wins in Toronto")])
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[('Kawhi Leonard', 'PER'), ('Toronto', 'LOC')]"


def test_it_knows_four_types(recognizer):
    assert recognizer.labels == ("LOC", "MISC", "ORG", "PER")
    assert recognizer.name == "mmavk"


@pytest.mark.parametrize(
    "text",
    [
        "Kawhi Leonard wins in Toronto 🏀",
        "\u200bRT @NASA :  live from Cape Canaveral\tFlorida #Apollo\u200d",
        "José Mourinho’s Chelsea — in 東京",
        "مرحبا London",
        "",
        "🎉",
        "\ud83d",
    ],
)
def test_offsets_are_those_of_the_text_with_and_without_knowledge(recognizer, text):
    post = Post.from_text(text)
    told = post.with_fields(alt="a man holding a microphone")
    for entities in recognizer.predict([post, told]):
        for entity in entities:
            assert text[entity.start : entity.end] == entity.text
            assert 0 < entity.score <= 1


def test_a_post_is_answered_alike_alone_and_among_others_with_knowledge(recognizer):
    bare = Post.from_text("Never forget Jordan")
    told = bare.with_fields(alt="a map with a river")
    alone = recognizer.predict([bare])[0]
    among = recognizer.predict([told, bare, told])[1]
    assert [(e.start, e.end, e.label) for e in alone] == [(e.start, e.end, e.label) for e in among]
    assert [e.score for e in alone] == pytest.approx([e.score for e in among], abs=1e-4)


def test_one_sentence_beside_two_pictures_has_two_answers(recognizer):
    post = Post.from_text("Never forget Jordan")

    def label(text):
        (entity,) = recognizer(post.with_fields(knowledge=(Knowledge("ocr", text),)))
        return entity.text, entity.label

    assert label("JORDAN RIVER\nAMMAN\nDEAD SEA") == ("Jordan", "LOC")
    assert label("JORDAN\n23") == ("Jordan", "PER")


def test_alt_text_is_preferred_to_what_stands_in_the_picture(recognizer):
    assert recognizer.encoder.inputs.alternatives["auxiliary"] == ("alt", "caption", "auxiliary", "ocr")
    assert not recognizer.text_reader.wants(Post.from_text("x", image=b"...", alt="a river"))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "row", "label_map", "least"),
    [
        ("twitter2015", "Twitter-2015", {"OTHER": "MISC"}, 0.695),
        ("twitter2017", "Twitter-2017", None, 0.82),
    ],
)
def test_it_scores_what_its_card_says(recognizer, real_data, name, row, label_map, least):
    card = (BUNDLED / "MODEL_CARD.md").read_text(encoding="utf-8")
    cells = (
        next(line for line in card.splitlines() if line.startswith(f"| {row} | none |"))
        .strip("| ")
        .split(" | ")
    )
    f1, error = float(cells[4].strip("*")), float(cells[-1])
    posts = read_folder(real_data / name, label_map=label_map).split("test")
    found = score_posts(posts, recognizer.predict(posts)).overall.f1
    assert found >= least
    assert round(100 * found, 2) == f1
    assert round(measured(recognizer, posts).expected_error, 3) == error


def test_a_picture_given_beside_a_post_leaves_its_alternative_text(recognizer, tmp_path):
    picture = tmp_path / "blank.png"
    Image.new("RGB", (32, 32), "white").save(picture)
    text, said = "Jordan is beautiful this time of year.", "A desert with red rocks."
    together = recognizer(text, image=picture, alt=said)
    assert recognizer(Post.from_text(text, alt=said), image=picture) == together
    assert recognizer(Post.from_text(text, image=picture), alt=said) == together
    assert recognizer(text, alt="A man with a ball.") != together
