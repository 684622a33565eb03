"""Training runs: what they leave, how they resume, where they start from."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from mner.data.dataset import Dataset
from mner.errors import DataError, MnerError, RunFolderError, UsageError
from mner.evaluation.scores import score_posts
from mner.posts import Post
from mner.progress import silent
from mner.recognizer import Recognizer
from mner.training.recipe import check_recipe
from mner.training.run import TRAINING, train


def recipe(backbone, name="bert-crf", **training):
    return check_recipe(
        {
            "model": {"name": name, **({"backbone": str(backbone)} if backbone else {})},
            "training": {
                "epochs": 4,
                "batch_size": 8,
                "learning_rate": 5e-3,
                "precision": "float32",
                **training,
            },
        }
    )


def test_a_run_folder_predicts_alone_and_says_how_it_came_about(backbone, small_dataset, tmp_path):
    said = []
    run = train(recipe(backbone), tmp_path / "run", dataset=small_dataset, say=said.append)
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "finished"
    assert record["recipe"]["training"]["seed"] == 1
    assert record["data"]["fingerprint"] == small_dataset.fingerprint
    assert [point["epoch"] for point in record["curve"]] == [1, 2, 3, 4]
    assert record["chosen"]["f1"] == max(point["f1"] for point in record["curve"])
    assert {"mner", "torch", "transformers", "python"} <= set(record["versions"])
    assert not (tmp_path / "run/checkpoints").exists()
    assert not list((tmp_path / "run").rglob("*.bin"))
    loaded = Recognizer.from_pretrained(tmp_path / "run")
    valid, test = small_dataset.split("valid"), small_dataset.split("test")
    assert score_posts(valid, loaded.predict(valid)).overall.f1 == record["chosen"]["f1"]
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["test"] == score_posts(test, loaded.predict(test)).as_dict() == run.test.as_dict()
    assert any("convention conll" in line for line in said)


def test_an_interrupted_run_resumes_to_the_same_weights(backbone, small_dataset, tmp_path):
    whole = train(recipe(backbone), tmp_path / "whole", dataset=small_dataset)

    def stop_after_two(message):
        if message.startswith("Epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(backbone), tmp_path / "cut", dataset=small_dataset, say=stop_after_two)
    assert json.loads((tmp_path / "cut/run.json").read_text())["status"] == "running"
    with pytest.raises(RunFolderError, match="--resume"):
        train(recipe(backbone), tmp_path / "cut", dataset=small_dataset)
    with pytest.raises(RunFolderError, match="another recipe"):
        train(recipe(backbone, seed=2), tmp_path / "cut", dataset=small_dataset, resume=True)
    smaller = Dataset("small", {**small_dataset.splits, "train": small_dataset.split("train")[:-1]})
    with pytest.raises(RunFolderError, match="another data"):
        train(recipe(backbone), tmp_path / "cut", dataset=smaller, resume=True)
    record = json.loads((tmp_path / "cut/run.json").read_text())
    assert record["seconds"] > 0
    (tmp_path / "cut/run.json").write_text(json.dumps({**record, "seconds": 1000.0}))
    resumed = train(recipe(backbone), tmp_path / "cut", dataset=small_dataset, resume=True)
    assert json.loads((tmp_path / "cut/run.json").read_text())["seconds"] > 1000
    one, two = load_file(whole.folder / "model.safetensors"), load_file(resumed.folder / "model.safetensors")
    assert one.keys() == two.keys()
    assert all(one[key].equal(two[key]) for key in one)
    curves = [json.loads((run.folder / "run.json").read_text())["curve"] for run in (whole, resumed)]
    assert curves[0] == curves[1]


@pytest.fixture
def number_of_threads():
    """Sets how many threads compute; the number before comes back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_resumed_run_computes_with_as_many_threads_as_before(
    backbone, small_dataset, tmp_path, number_of_threads
):
    computed_with = []

    def stop_after_two(message):
        computed_with.append(torch.get_num_threads())
        if message.startswith("Epoch 2:"):
            raise KeyboardInterrupt

    number_of_threads(1)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(backbone), tmp_path / "cut", dataset=small_dataset, say=stop_after_two)
    number_of_threads(2)
    train(
        recipe(backbone),
        tmp_path / "cut",
        dataset=small_dataset,
        resume=True,
        say=lambda message: computed_with.append((message[:5], torch.get_num_threads())),
    )
    assert computed_with.count(("Epoch", 1)) == 3
    assert ("Epoch", 2) not in computed_with
    assert torch.get_num_threads() == 2


def test_a_resumed_run_is_as_patient_as_one_that_was_not_interrupted(backbone, small_dataset, tmp_path):
    # At a learning rate that moves nothing, the first evaluation stays the best.
    made = recipe(backbone, epochs=8, learning_rate=1e-12, patience=3)

    def stop_after_three(message):
        if message.startswith("Epoch 3:"):
            raise KeyboardInterrupt

    whole = train(made, tmp_path / "whole", dataset=small_dataset)
    with pytest.raises(KeyboardInterrupt):
        train(made, tmp_path / "cut", dataset=small_dataset, say=stop_after_three)
    resumed = train(made, tmp_path / "cut", dataset=small_dataset, resume=True)
    curves = [json.loads((run.folder / "run.json").read_text())["curve"] for run in (whole, resumed)]
    assert [point["epoch"] for point in curves[0]] == [1, 2, 3, 4]
    assert curves[0] == curves[1]


def test_a_run_that_was_killed_after_its_early_stop_trains_no_further(backbone, small_dataset, tmp_path):
    made = recipe(backbone, epochs=8, learning_rate=1e-12, patience=3)

    @contextmanager
    def killed_after_training(what, total):
        if what != TRAINING:
            raise KeyboardInterrupt
        with silent(what, total) as advance:
            yield advance

    with pytest.raises(KeyboardInterrupt):
        train(made, tmp_path / "cut", dataset=small_dataset, progress=killed_after_training)
    before = json.loads((tmp_path / "cut/run.json").read_text())
    assert before["status"] == "running"
    with pytest.raises(RunFolderError, match="interrupted run"):
        train(made, tmp_path / "cut", dataset=small_dataset)
    resumed = train(made, tmp_path / "cut", dataset=small_dataset, resume=True)
    after = json.loads((tmp_path / "cut/run.json").read_text())
    assert after["status"] == "finished"
    assert [point["epoch"] for point in after["curve"]] == [1, 2, 3, 4]
    assert after["curve"] == before["curve"]
    assert after["chosen"]["epoch"] == 1
    test = small_dataset.split("test")
    assert resumed.test.as_dict() == score_posts(test, resumed.recognizer.predict(test)).as_dict()


def test_after_a_training_under_autocast_the_model_says_what_its_folder_says(
    backbone, small_dataset, tmp_path
):
    run = train(recipe(backbone, precision="bfloat16"), tmp_path / "run", dataset=small_dataset)
    loaded = Recognizer.from_pretrained(tmp_path / "run", device="cpu")
    posts = small_dataset.split("test")
    found = run.recognizer.predict(posts)
    assert any(found)
    assert found == loaded.predict(posts)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(backbone, small_dataset, tmp_path):
    weights = [
        load_file(
            train(recipe(backbone, epochs=1, seed=seed), tmp_path / name, dataset=small_dataset).folder
            / "model.safetensors"
        )
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
    assert not all(weights[0][key].equal(weights[2][key]) for key in weights[0])


def test_a_finished_run_is_not_overwritten_by_accident(backbone, small_dataset, tmp_path):
    short = recipe(backbone, epochs=1)
    train(short, tmp_path / "run", dataset=small_dataset)
    before = (tmp_path / "run/model.safetensors").read_bytes()
    with pytest.raises(RunFolderError, match="--overwrite"):
        train(short, tmp_path / "run", dataset=small_dataset)
    assert (tmp_path / "run/model.safetensors").read_bytes() == before
    train(short, tmp_path / "run", dataset=small_dataset, overwrite=True)
    with pytest.raises(RunFolderError, match="no run to resume"):
        train(short, tmp_path / "none", dataset=small_dataset, resume=True)


@pytest.mark.parametrize("name", ["bert-crf", "bert-span", "cnn-bilstm-crf"])
def test_starting_from_a_run_keeps_what_types_share(name, backbone, small_dataset, tmp_path):
    made = recipe(None if "lstm" in name else backbone, name, epochs=1)
    source = train(made, tmp_path / "source", dataset=small_dataset)
    renamed = {
        split: [
            post.with_fields(tags=tuple(tag.replace("-LOC", "-PLACE") for tag in post.tags)) for post in posts
        ]
        for split, posts in small_dataset.splits.items()
    }
    # At a learning rate that moves nothing, what was taken over can be seen.
    still = check_recipe(
        {**made.as_dict(), "training": {**made.as_dict()["training"], "learning_rate": 1e-12}}
    )
    target = train(still, tmp_path / "target", dataset=Dataset("x", renamed), start_from=tmp_path / "source")
    one, two = source.recognizer.model, target.recognizer.model
    before, after = one.state_dict(), two.state_dict()
    if name == "bert-span":
        key = "decoder.classifier.output.weight"
        rows = ["", *one.config.labels], ["", *two.config.labels]
    else:
        key = "decoder.linear.weight"
        rows = one.config.tags, two.config.tags
    for row in rows[1]:
        same = row in rows[0]
        if same:
            assert after[key][rows[1].index(row)].allclose(before[key][rows[0].index(row)], atol=1e-6), row
    if "crf" in name:
        tags = [tag for tag in two.config.tags if tag in one.config.tags]
        for left in tags:
            for right in tags:
                a = before["decoder.crf.pairs"][one.config.tags.index(left), one.config.tags.index(right)]
                b = after["decoder.crf.pairs"][two.config.tags.index(left), two.config.tags.index(right)]
                assert a.allclose(b, atol=1e-6)
    shared = [k for k in before if not k.startswith("decoder")]
    assert shared
    assert all(before[k].allclose(after[k], atol=1e-6) for k in shared)


def test_types_that_training_never_saw_count_as_missed(backbone, small_dataset, tmp_path):
    strange = Post.from_words(["brel"], tags=("B-RIVER",))
    dataset = Dataset("x", {**small_dataset.splits, "test": [strange]})
    run = train(recipe(backbone, epochs=1), tmp_path / "run", dataset=dataset)
    assert run.test.per_type["RIVER"].gold == 1
    assert run.test.per_type["RIVER"].correct == 0


def test_data_that_cannot_be_trained_on_is_refused(backbone, small_dataset, tmp_path):
    bare = Dataset("x", {**small_dataset.splits, "train": [Post.from_text("no gold here")]})
    with pytest.raises(DataError, match="without gold"):
        train(recipe(backbone), tmp_path / "a", dataset=bare)
    empty = Dataset("x", {**small_dataset.splits, "train": [Post.from_words(["no"], tags=("O",))]})
    with pytest.raises(DataError, match="no entities"):
        train(recipe(backbone), tmp_path / "b", dataset=empty)
    only_train = Dataset("x", {"train": small_dataset.split("train")})
    with pytest.raises(DataError, match="no split 'valid'"):
        train(recipe(backbone), tmp_path / "c", dataset=only_train)
    with pytest.raises(UsageError, match="names no data"):
        train(recipe(backbone), tmp_path / "d")
    with pytest.raises(MnerError, match="no model folder"):
        train(recipe("./nowhere"), tmp_path / "e", dataset=small_dataset)


def test_word_vectors_are_the_start_of_their_words(small_dataset, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("ada 1 2 3 4\nunseen 5 6 7 8\n", encoding="utf-8")
    made = check_recipe(
        {
            "model": {"name": "bilstm-crf", "vectors": str(vectors)},
            "training": {"epochs": 1, "learning_rate": 1e-12},
        }
    )
    run = train(made, tmp_path / "run", dataset=small_dataset)
    embedding = run.recognizer.model.word_embedding.weight
    vocabulary = run.recognizer.encoder.vocabulary
    assert embedding.shape[1] == 4
    assert embedding[vocabulary.word("Ada")].tolist() == pytest.approx([1, 2, 3, 4], abs=1e-5)
    assert embedding[vocabulary.word("unseen")].tolist() == pytest.approx([5, 6, 7, 8], abs=1e-5)


def test_of_word_vectors_that_fold_alike_the_one_written_so_or_the_first_counts(small_dataset, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("ADA 9 9\nada 1 1\nAda 8 8\n1 3 3\n2 4 4\n", encoding="utf-8")
    post = Post.from_words(["Ada", "7"], tags=("B-PER", "O"))
    dataset = Dataset("x", {**small_dataset.splits, "train": [*small_dataset.split("train"), post, post]})
    made = check_recipe(
        {
            "model": {"name": "bilstm-crf", "vectors": str(vectors)},
            "training": {"epochs": 1, "learning_rate": 1e-12},
        }
    )
    run = train(made, tmp_path / "run", dataset=dataset)
    embedding, vocabulary = run.recognizer.model.word_embedding.weight, run.recognizer.encoder.vocabulary
    assert embedding[vocabulary.word("Ada")].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert embedding[vocabulary.word("7")].tolist() == pytest.approx([3, 3], abs=1e-5)


def test_a_softmax_takes_no_transitions_from_a_crf(backbone, small_dataset, tmp_path):
    train(recipe(backbone, epochs=1), tmp_path / "crf", dataset=small_dataset)
    made = recipe(backbone, "bert", epochs=1)
    softmax = train(made, tmp_path / "softmax", dataset=small_dataset, start_from=tmp_path / "crf")
    chain = softmax.recognizer.model.decoder.crf
    assert all(not scores.any() for scores in (chain.first, chain.pairs, chain.last))


def test_backbones_are_taken_over_bit_by_bit(backbone, small_dataset, tmp_path):
    from mner.training.run import build

    made = build(recipe(backbone), small_dataset.split("train"))
    given = load_file(backbone / "model.safetensors")
    own = made.model.text_encoder.state_dict()
    assert all(own[key].equal(given[key]) for key in own)
    assert float(made.model.decoder.crf.pairs.detach().abs().max()) <= 0.1
    assert all(float(p.detach().abs().max()) == 0 for p in made.model.reader.shape_embedding.parameters())


def test_a_frozen_group_does_not_move(backbone, small_dataset, tmp_path):
    run = train(recipe(backbone, epochs=1, frozen=["text"]), tmp_path / "run", dataset=small_dataset)
    given = load_file(backbone / "model.safetensors")
    own = run.recognizer.model.text_encoder.state_dict()
    assert all(own[key].equal(given[key]) for key in own)


def test_a_folder_that_cannot_be_written_is_named(backbone, small_dataset, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be made"):
        train(recipe(backbone), tmp_path / "file" / "run", dataset=small_dataset)
