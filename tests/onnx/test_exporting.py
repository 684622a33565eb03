"""ONNX files: the same scores and entities as torch's, for sizes that were not there at the export."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from mner.bulk import predict_file  # noqa: E402
from mner.bulk.running import fingerprint  # noqa: E402
from mner.cli.app import run  # noqa: E402
from mner.data import write_jsonl  # noqa: E402
from mner.errors import RunFolderError, UsageError  # noqa: E402
from mner.onnx import OnnxRecognizer  # noqa: E402
from mner.onnx.exporting import cost_of, export_onnx  # noqa: E402
from mner.onnx.graph import EXPORTABLE  # noqa: E402
from mner.posts import Post  # noqa: E402
from tests.contract.tiny import LONG_POST, POSTS, tiny  # noqa: E402

EMPTY = Post.from_text("")
SIZES = [[*POSTS, LONG_POST, EMPTY], POSTS[:1], [LONG_POST], POSTS[1:3], [EMPTY]]
# What only puts together parts that another one has is a slow test.
VARIANTS = [
    *((name, {}) for name in ("bert-crf", "bert-span", "hbilstm-crf", "mmavk")),
    pytest.param(("bert-bilstm-crf", {}), marks=pytest.mark.slow),
    pytest.param(("mmavk", {"fusion": "concatenation"}), marks=pytest.mark.slow),
]


def lively(name, **options):
    """A tiny recogniser whose answers differ from post to post."""
    recognizer = tiny(name, **options)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in recognizer.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    recognizer.temperature = 1.3
    return recognizer


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Gives a lively recogniser and its file, which is written once."""

    @cache
    def write(name, **options):
        recognizer = lively(name, **options)
        target = tmp_path_factory.mktemp("onnx") / "model.onnx"
        return recognizer, target, export_onnx(recognizer, target)

    return write


@pytest.fixture(params=VARIANTS, ids=lambda v: "-".join([v[0], *map(str, v[1].values())]))
def exported(request, written):
    name, options = request.param
    recognizer, target, _ = written(name, **options)
    return recognizer, OnnxRecognizer.from_pretrained(target)


def test_scores_and_entities_are_those_of_torch(exported):
    recognizer, graph = exported
    recognizer.model.eval()
    entities = 0
    for posts in SIZES:
        batch = recognizer.encode(posts)
        with torch.no_grad():
            wanted, got = recognizer.model(batch), graph.model(graph.encode(posts))
        one, other = (o.emissions if o.emissions is not None else o.span_scores for o in (wanted, got))
        mask = wanted.word_mask
        assert torch.allclose(one[mask], other[mask], atol=2e-5)
        assert float(one.abs().max()) > 0.01 or not mask.any()
        for a, b in zip(recognizer.predict(posts), graph.predict(posts), strict=True):
            assert [(e.start, e.end, e.label) for e in a] == [(e.start, e.end, e.label) for e in b]
            assert [e.score for e in a] == pytest.approx([e.score for e in b], abs=1e-4)
            entities += len(a)
    assert entities > 0
    # The answers depend on the post, and so could be wrong.
    answers = [[e.label for e in found] for found in recognizer.predict(POSTS)]
    assert len({tuple(a) for a in answers}) > 1


def test_knowledge_reaches_the_graph(written):
    _, target, _ = written("mmavk")
    graph = OnnxRecognizer.from_pretrained(target)
    bare = [post.with_fields(knowledge=(), alt=None) for post in POSTS]
    with torch.inference_mode():
        told, untold = (graph.model(graph.encode(posts)).emissions for posts in (POSTS, bare))
    assert not torch.allclose(told[0], untold[0], atol=1e-3)
    # The third post has none in either case.
    assert torch.allclose(told[2], untold[2], atol=1e-5)


def test_a_file_is_used_like_a_recogniser_and_costs_are_counted(written, tmp_path):
    recognizer, whole, size = written("bert-crf")
    files = {"whole": whole, "bfloat16": tmp_path / "bfloat16.onnx", "int8": tmp_path / "int8.onnx"}
    assert export_onnx(recognizer, files["bfloat16"], bfloat16=True) < size
    export_onnx(recognizer, files["int8"], int8=True)
    graph = OnnxRecognizer.from_pretrained(whole)
    text = "Ada Lindqvist reads in Port Ellery"
    assert [e.text for e in graph(text)] == [e.text for e in recognizer(text)]
    assert graph.temperature == 1.3
    (tmp_path / "posts.txt").write_text("\n".join(post.text for post in POSTS))
    assert predict_file(graph, tmp_path / "posts.txt", tmp_path / "out.jsonl").posts == len(POSTS)
    # Runs over files are gone on with where this is the same.
    graphs = [OnnxRecognizer.from_pretrained(file) for file in files.values()]
    assert len({fingerprint(one) for one in graphs}) == 3
    assert graphs[0].model.card.identity == fingerprint(recognizer)
    for kind, file in files.items():
        cost = cost_of(recognizer, file, POSTS)
        assert cost.posts == len(POSTS)
        assert cost.other == 0 or kind != "whole"
        assert (cost.after == cost.before) or cost.other > 0
    with pytest.raises(UsageError, match="moved"):
        graph.to("cuda")
    with pytest.raises(UsageError, match="exists"):
        export_onnx(recognizer, whole)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(RunFolderError, match="cannot be loaded"):
        OnnxRecognizer.from_pretrained(tmp_path / "broken.onnx")
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [given], [made])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(RunFolderError, match="not a recogniser"):
        OnnxRecognizer.from_pretrained(tmp_path / "other.onnx")
    with pytest.raises(UsageError, match="cannot be written as ONNX"):
        export_onnx(tiny("cat-mner"), tmp_path / "c.onnx")
    assert "cat-mner" not in EXPORTABLE


def test_the_command_says_what_eight_bits_cost(tmp_path, capsys):
    recognizer = lively("bert-crf")
    recognizer.save_pretrained(tmp_path / "run")
    (tmp_path / "data").mkdir()
    write_jsonl(
        [p.with_fields(image=None, tags=None, entities=p.gold()) for p in POSTS],
        tmp_path / "data/valid.jsonl",
    )
    arguments = ["export", str(tmp_path / "run"), "--onnx", str(tmp_path / "m.onnx"), "--int8"]
    assert run(arguments) == 2
    assert "--data" in capsys.readouterr().err
    assert run([*arguments, "--data", str(tmp_path / "data"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == (tmp_path / "m.onnx").stat().st_size
    assert set(document["cost"]) == {"posts", "before", "after", "other"}
    assert run(["export", str(tmp_path / "run")]) == 2
    capsys.readouterr()
    assert run(["predict", "Ada reads", "--model", str(tmp_path / "m.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "Ada reads"
