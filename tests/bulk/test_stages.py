"""What a worker of the knowledge stage adds: what the store says, what a provider says, what stands in a picture."""

from __future__ import annotations

import io
import pickle

import pytest
from PIL import Image, ImageDraw, ImageFont

from mner.bulk.stages import KnowledgeWork, KnowledgeWorker, ModelParcel
from mner.knowledge.supplying import KnowledgeSettings
from mner.posts import Post
from mner.reading import TextReader
from tests.contract.tiny import POSTS, tiny


def poster(text):
    file = io.BytesIO()
    picture = Image.new("RGB", (420, 90), "white")
    ImageDraw.Draw(picture).text((20, 15), text, "black", ImageFont.load_default(48))
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_worker_reads_what_one_machine_reads():
    pytest.importorskip("rapidocr")
    recognizer = tiny("mmavk")
    posts = [
        Post.from_text("back in town", image=poster("JORDAN")),
        Post.from_text("back in town", image=poster("JORDAN"), alt="a poster"),
        Post.from_text("no picture"),
    ]
    inputs = recognizer.encoder.inputs
    worker = KnowledgeWorker(KnowledgeWork(read_pictures=True), recognizer.knowledge, inputs)
    told = worker.tell(posts)
    assert told == list(map(TextReader(inputs).add, posts))
    assert told[0].known("ocr").text == "JORDAN"
    assert told[1:] == posts[1:]
    asked = KnowledgeWorker(KnowledgeWork(providers=[("ocr", {})]), KnowledgeSettings(("ocr",)), inputs)
    assert [post.known("ocr") and post.known("ocr").text for post in asked.tell(posts)] == [
        "JORDAN",
        "JORDAN",
        None,
    ]
    unasked = KnowledgeWorker(KnowledgeWork(), recognizer.knowledge, inputs)
    assert unasked.tell(posts) == posts


@pytest.mark.parametrize("name", ["mmavk", "cat-mner", "bilstm-crf"])
def test_a_recogniser_arrives_as_it_was_sent(name, tmp_path):
    recognizer = tiny(name)
    recognizer.save_pretrained(tmp_path / "run")
    parcel = pickle.loads(pickle.dumps(ModelParcel.of(tmp_path / "run", "cpu", "float32")))
    assert parcel.open().predict(POSTS) == recognizer.predict(POSTS)
