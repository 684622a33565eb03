"""A cluster of two machines: the same answers as on one, also when a machine is lost in the middle."""

from __future__ import annotations

import json
import logging
import os
import random

import pyarrow
import pyarrow.parquet
import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from mner.bulk import predict_file  # noqa: E402
from mner.bulk.cluster import Stage, predict_on_cluster  # noqa: E402
from mner.bulk.stages import KnowledgeWork  # noqa: E402
from mner.errors import DataError, UsageError  # noqa: E402
from mner.knowledge.keys import Source  # noqa: E402
from mner.knowledge.making import make_knowledge  # noqa: E402
from mner.knowledge.store import KnowledgeStore  # noqa: E402
from mner.posts import Knowledge, Post  # noqa: E402
from mner.recognizer import Recognizer  # noqa: E402
from tests.contract.tiny import POSTS, tiny, tiny_picture  # noqa: E402

WORDS = [word for post in POSTS for word in post.words]
STORE_BYTES = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    started = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": STORE_BYTES, "include_dashboard": False},
    )
    ray.init(address=started.address, log_to_driver=False, logging_level="warning")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A run folder, and posts with pictures as bytes in Parquet and as JSON lines, some of them bad."""
    folder = tmp_path_factory.mktemp("material")
    tiny("mmavk").save_pretrained(folder / "run")
    draw = random.Random(2)
    rows = []
    for number in range(600):
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 20)))
        picture = tiny_picture(draw.randint(0, 8)) if number % 3 else None
        rows.append(
            {"id": str(number), "text": text, "image": picture, "alt": "a shop" if number % 5 else None}
        )
    rows[17]["text"] = None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "posts.parquet", row_group_size=90)
    lines = [json.dumps({k: v for k, v in r.items() if k != "image" and v}).encode() for r in rows]
    lines[40] = b'{"text": "\xff'
    (folder / "posts.jsonl").write_bytes(b"\n".join(lines))
    return folder


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_same(one, other):
    one, other = records(one), records(other)
    assert [r["id"] for r in one] == [r["id"] for r in other]
    entities = 0
    for left, right in zip(one, other, strict=True):
        assert left["text"] == right["text"]
        assert len(left["entities"]) == len(right["entities"])
        for a, b in zip(left["entities"], right["entities"], strict=True):
            assert (a["start"], a["end"], a["label"]) == (b["start"], b["end"], b["label"])
            assert a["score"] == pytest.approx(b["score"], abs=1e-4)
            entities += 1
    assert entities > 300


SMALL = {
    "reading_cpus": 0.25,
    "prediction_stage": Stage(batch_size=20, workers=2, cpus=0.5),
    "device": "cpu",
    "part_lines": 30,
}


@pytest.mark.slow
def test_two_machines_answer_as_one(cluster, material, tmp_path):
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    recognizer = Recognizer.from_pretrained(material / "run", device="cpu")
    predict_file(recognizer, material / "posts.jsonl", tmp_path / "one.jsonl")
    report = predict_on_cluster(
        material / "run", material / "posts.jsonl", tmp_path / "many.jsonl", **{**SMALL, "part_lines": 200}
    )
    assert (report.posts, report.rejected) == (598, 2)
    assert_same(tmp_path / "many.jsonl", tmp_path / "one.jsonl")
    cluster.remove_node(second)


@pytest.mark.slow
def test_a_machine_lost_in_the_middle_costs_no_line(cluster, material, tmp_path):
    recognizer = Recognizer.from_pretrained(material / "run", device="cpu")
    source = material / "posts.parquet"
    # A store that knows something about some of the posts.
    store = tmp_path / "knowledge.sqlite"
    told = Teller()
    with KnowledgeStore(store) as opened:
        posts = [Post.from_text("x", image=tiny_picture(number)) for number in range(6)]
        make_knowledge(posts, told, opened)
        assert {source.kind for source in opened.sources()} == {"caption"}
    predict_file(recognizer, source, tmp_path / "one.jsonl", knowledge=store)
    predict_file(recognizer, source, tmp_path / "without.jsonl")

    # One worker of the prediction fits on the first machine, the other has to take the second one.
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    seen = []

    def lose(post, entities):
        seen.append(post.id)
        if len(seen) == 150:
            cluster.remove_node(second, allow_graceful=False)

    report = predict_on_cluster(
        material / "run",
        source,
        tmp_path / "many.jsonl",
        knowledge=KnowledgeWork(store=store),
        knowledge_stage=Stage(batch_size=7, workers=1, cpus=0.25),
        seen=lose,
        **SMALL,
    )
    assert sum(node["Alive"] for node in ray.nodes()) == 1
    assert report.posts == 599
    assert report.rejected == 1
    assert_same(tmp_path / "many.jsonl", tmp_path / "one.jsonl")
    rejects = [records(tmp_path / f"{name}.jsonl.rejects.jsonl") for name in ("one", "many")]
    assert rejects[0] == rejects[1]
    # The knowledge arrived: without it the answers are others.
    assert records(tmp_path / "one.jsonl") != records(tmp_path / "without.jsonl")


class Teller:
    """Says something about every picture."""

    name, kind = "teller", "caption"
    sees_text, sees_picture = False, True
    batch_size, concurrency, leaves_machine = 8, 1, False

    def settings(self):
        return {}

    def answer(self, questions):
        from mner.knowledge.provider import Answer

        return [Answer(Knowledge("caption", f"a woman in port {q.picture_key[:6]}")) for q in questions]


@pytest.mark.slow
def test_a_run_whose_own_process_ended_goes_on(cluster, material, tmp_path):
    source, target = material / "posts.jsonl", tmp_path / "many.jsonl"
    recognizer = Recognizer.from_pretrained(material / "run", device="cpu")
    predict_file(recognizer, source, tmp_path / "one.jsonl")
    seen = []

    class EndedError(Exception):
        pass

    def end(post, entities):
        seen.append(post.id)
        if len(seen) == 200:
            raise EndedError

    with pytest.raises(EndedError):
        predict_on_cluster(material / "run", source, target, seen=end, **SMALL)
    with pytest.raises(UsageError, match="--resume"):
        predict_on_cluster(material / "run", source, target, **SMALL)
    again = []
    report = predict_on_cluster(
        material / "run", source, target, resume=True, seen=lambda p, _: again.append(p.id), **SMALL
    )
    assert report.resumed_after == 180
    assert report.posts == 598
    assert len(again) < 450
    assert_same(target, tmp_path / "one.jsonl")
    assert predict_on_cluster(material / "run", source, target, resume=True, **SMALL).was_done


def test_what_cannot_be_done_is_said_before_any_worker_starts(material, tmp_path):
    table = tmp_path / "posts.csv"
    table.write_text("text\nx\n")
    with pytest.raises(UsageError, match="cut into parts"):
        predict_on_cluster(material / "run", table, tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        predict_on_cluster(material / "run", tmp_path / "gone.jsonl", tmp_path / "out.jsonl")
    posts = tmp_path / "posts.txt"
    posts.write_text("Ada reads\n")
    (tmp_path / "out.txt").symlink_to(posts)
    for target, rejects in (
        (posts, None),
        (tmp_path / "out.txt", None),
        (tmp_path / "out.jsonl", posts),
        (tmp_path / "out.jsonl", tmp_path / "out.jsonl"),
    ):
        with pytest.raises(UsageError, match=r"is the input|Refused lines"):
            predict_on_cluster(material / "run", posts, target, rejects=rejects, overwrite=True)
    assert posts.read_text() == "Ada reads\n"
    with pytest.raises(UsageError, match="at least one"):
        Stage(batch_size=0)
    assert Source.of(Teller()).kind == "caption"
