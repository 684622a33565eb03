"""Knowledge from other people's files, and stores as JSONL and Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mner.data import read_folder
from mner.errors import DataError
from mner.knowledge.attaching import attach
from mner.knowledge.exchange import export, import_file
from mner.knowledge.filed import read_knowledge_file
from mner.knowledge.keys import Source
from mner.knowledge.making import make_knowledge
from mner.knowledge.provider import Answer
from mner.knowledge.providers.files import FileProvider
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.posts import Knowledge, Post, Region


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with KnowledgeStore(tmp_path / "k.sqlite") as opened:
        yield opened


def written(tmp_path: Path, name: str, content: object) -> Path:
    file = tmp_path / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_lines_of_captions(tmp_path: Path) -> None:
    filed = read_knowledge_file(
        written(tmp_path, "c.txt", "1.jpg :a cat: black\r\n\n2.PNG :  \nx/3.jpg:dog\u2028run\n1.jpg :again\n")
    )
    assert filed.kind == "caption"
    assert {name: entry.knowledge and entry.knowledge.text for name, entry in filed.entries.items()} == {
        "1": "a cat: black",
        "2": None,
        "3": "dog\u2028run",
    }
    assert (filed.empty, filed.repeated) == (("2",), ("1",))
    assert filed.entries["3"].place == 4


def test_columns_of_numbers_and_of_texts(tmp_path: Path) -> None:
    scores = read_knowledge_file(written(tmp_path, "s.txt", "1.jpg\t0.25\n2.jpg\t1e-05\n"))
    assert scores.kind == "relevance"
    assert {name: entry.knowledge.score for name, entry in scores.entries.items()} == {"1": 0.25, "2": 1e-05}
    captions = read_knowledge_file(written(tmp_path, "t.tsv", "a.png\tA cat.\tCC0\nb.png\t7\tCC0\n"))
    assert captions.kind == "caption"
    assert captions.entries["b"].knowledge.text == "7"
    with pytest.raises(DataError, match="Entry 2"):
        read_knowledge_file(written(tmp_path, "s.txt", "1.jpg\t0.25\n2.jpg\tx\n"), "relevance")


def test_json_lines_and_documents(tmp_path: Path) -> None:
    lines = '{"imgid": "1", "split": "train", "knowledge": "k"}\n{"imgid": 2, "knowledge": ""}\n'
    filed = read_knowledge_file(written(tmp_path, "l.jsonl", lines))
    assert (filed.kind, filed.entries["1"].knowledge.text, filed.empty) == ("auxiliary", "k", ("2",))
    own = read_knowledge_file(
        written(tmp_path, "o.jsonl", '{"id": "a", "mine": "m"}\n'), content="mine", kind="ocr"
    )
    assert (own.kind, own.entries["a"].knowledge.text) == ("ocr", "m")
    chain = read_knowledge_file(written(tmp_path, "r.jsonl", '{"id": "a", "steps": ["x", "y"]}'))
    assert (chain.kind, chain.entries["a"].knowledge.steps) == ("reasoning", ("x", "y"))
    phrases = read_knowledge_file(written(tmp_path, "p.json", {"1.jpg": "New York"}))
    assert (phrases.kind, phrases.entries["1"].knowledge.text) == ("phrases", "New York")
    boxes = {
        "1": {"w": 200, "h": 100, "objects": [{"name": "Bieber", "box": [20, 10, 100, 100]}]},
        "2": {"w": 9, "h": 9, "objects": []},
    }
    found = read_knowledge_file(written(tmp_path, "b.json", boxes))
    assert found.entries["1"].knowledge.regions == (Region(0.1, 0.1, 0.5, 1.0, "Bieber"),)
    assert found.entries["2"].knowledge.regions == ()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "no separator here\n", "Line 1"),
        ("a.txt", "1.jpg :ok\nbroken\n", "Line 2"),
        ("a.txt", "", "no entries"),
        ("a.jsonl", "{", "Line 1"),
        ("a.jsonl", '{"id": "1"}', "--field"),
        ("a.jsonl", '{"caption": "x"}', "names no picture"),
        ("a.jsonl", "[1]", "not an object"),
        ("a.json", "3", "not a file of knowledge"),
        ("a.json", '{"1": {"w": 10, "h": 10, "objects": [{"box": [0, 0, 20, 5]}]}}', "within the picture"),
        ("a.json", '{"1": {"w": 10, "h": 10, "objects": [{"box": [5, 0, 2, 5]}]}}', "within the picture"),
        ("a.json", '{"1": {"w": 0, "h": 10, "objects": []}}', "size"),
        ("a.json", '{"1": null}', "cannot be read"),
    ],
)
def test_wrong_files_are_told_where(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_knowledge_file(written(tmp_path, name, content))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"1.jpg :caf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_knowledge_file(tmp_path / "latin.txt")
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(DataError, match="cannot be read"):
            read_knowledge_file(path)


def test_entries_are_found_by_picture_and_by_id(store: KnowledgeStore, tmp_path: Path) -> None:
    file = written(tmp_path, "c.txt", "1.jpg :one\n2.jpg :two\n3.jpg :\n9.jpg :nine\n")
    given = [
        Post.from_text("a", id="1"),
        Post.from_text("b", id="other", image=Path("images/2.png")),
        Post.from_text("c", id="3"),
        Post.from_text("d", id="4"),
        Post.from_text("e"),
    ]
    report = import_file(store, file, posts=given)
    assert (report.entries, report.stored, report.posts) == (4, 4, 5)
    assert (report.empty, report.unmatched, report.missing) == (("3",), ("9",), ("4", "'e'"))
    found = [post.knowledge for post in attach(given, store, ["caption"])]
    assert [known[0].text if known else None for known in found] == ["one", "two", None, None, None]
    assert found[2][0].problem == "the file's entry is empty"
    assert found[0][0].origin == "file:c"


def test_importing_is_what_the_provider_would_answer(store: KnowledgeStore, tmp_path: Path) -> None:
    file = written(tmp_path, "c.txt", "1.jpg :one\n2.jpg :two\n")
    import_file(store, file)
    given = [Post.from_text("a", id="1"), Post.from_text("b", id="2"), Post.from_text("c", id="3")]
    report = make_knowledge(given, FileProvider(file), store)
    assert (report.known, report.failed, report.answered) == (2, 1, 0)
    assert next(iter(report.problems)) == "the file has no entry for 3"


def test_placeholders_are_reported_and_dropped_on_request(store: KnowledgeStore, tmp_path: Path) -> None:
    captions = [
        f"{n}.jpg :{'a skateboard in the snow' if n % 10 == 0 else f'caption {n % 150}'}" for n in range(300)
    ]
    file = written(tmp_path, "c.txt", "\n".join(captions))
    report = import_file(store, file)
    assert report.placeholders == {"a skateboard in the snow": 30}
    assert report.dropped == 0
    given = [Post.from_text("a", id="10"), Post.from_text("b", id="11")]
    assert [post.known("caption") is not None for post in attach(given, store)] == [True, True]
    report = import_file(store, file, drop_placeholders=True)
    assert report.dropped == 30
    assert [post.known("caption") is not None for post in attach(given, store)] == [False, True]
    assert "30 of 300" in next(attach(given, store, ["caption"])).knowledge[0].problem
    assert len(store) == 300
    # Once more without: the file's own words are back.
    import_file(store, file)
    assert next(attach(given, store)).known("caption").text == "a skateboard in the snow"


def test_a_changed_file_replaces_what_it_had_brought(store: KnowledgeStore, tmp_path: Path) -> None:
    import_file(store, written(tmp_path, "c.txt", "1.jpg :one\n2.jpg :two\n"))
    import_file(store, written(tmp_path, "d.txt", "1.jpg :other file\n"))
    import_file(store, written(tmp_path, "c.txt", "1.jpg :changed\n"))
    assert sorted(row.answer.knowledge.text for row in store.answers()) == ["changed", "other file"]
    assert len(store.sources()) == 2


def fill(store: KnowledgeStore) -> None:
    source = Source("tester", "caption", {"model": "m", "nested": {"a": [1, None, "ü"]}}, sees_text=True)
    store.save(
        StoredAnswer(
            source.keys_of(Post.from_text(f"post {n}"))[0],
            source,
            Answer(
                Knowledge("caption", text=f"a\n«{n}» 图", regions=(Region(0, 0, 1, 1, "x", 0.5),)),
                raw=f"raw {n}",
                request={"messages": [{"role": "user"}]},
                input_tokens=n,
                cost=n / 7,
                duration=0.25,
            )
            if n % 3
            else Answer(None, raw="no", problem="failed"),
            picture="ab" * 32 if n % 2 else None,
            post=str(n),
        )
        for n in range(2500)
    )


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_export_comes_back_whole(store: KnowledgeStore, tmp_path: Path, name: str) -> None:
    fill(store)
    assert export(store, tmp_path / name) == 2500
    with KnowledgeStore(tmp_path / "other.sqlite") as other:
        report = import_file(other, tmp_path / name)
        assert (report.entries, report.stored) == (2500, 2500)
        assert list(other.answers()) == list(store.answers())
        assert import_file(other, tmp_path / name).stored == 0
    assert sorted(file.name for file in tmp_path.glob("out*")) == [name]


def test_parquet_is_readable_by_others(store: KnowledgeStore, tmp_path: Path) -> None:
    from pyarrow import parquet

    fill(store)
    export(store, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 2500
    assert sum(value is not None for value in table["problem"].to_pylist()) == 834


@pytest.mark.parametrize(
    "change",
    [
        {"key": "short"},
        {"result": None},
        {"attempts": "1"},
        {"source": {"provider": "x"}},
        {"request": []},
        {"cost": True},
    ],
)
def test_damaged_exports_are_refused(
    store: KnowledgeStore, tmp_path: Path, change: dict[str, object]
) -> None:
    fill(store)
    export(store, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    good = next(number for number, line in enumerate(lines) if '"problem": null' in line)
    lines[good] = json.dumps({**json.loads(lines[good]), **change})
    (tmp_path / "bad.jsonl").write_text("\n".join([lines[0], lines[good]]), encoding="utf-8")
    with KnowledgeStore(tmp_path / "other.sqlite") as other, pytest.raises(DataError, match="Row"):
        import_file(other, tmp_path / "bad.jsonl")


def test_a_folder_that_is_not_there(store: KnowledgeStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        export(store, tmp_path / "none" / "out.jsonl")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="Parquet"):
        import_file(store, tmp_path / "bad.parquet")


# Real files


@pytest.mark.data
def test_the_real_files_have_the_numbers_that_are_known_of_them(
    store: KnowledgeStore, real_data: Path
) -> None:
    tweets = {}
    for year in ("2015", "2017"):
        data = read_folder(real_data / f"twitter{year}")
        tweets[year] = [post for split in data.splits.values() for post in split]
    folder = real_data / "knowledge"

    captions = import_file(store, folder / "captions_blip2_twitter2017.txt", posts=tweets["2017"])
    assert captions.placeholders == {"a man is standing on a skateboard in the snow": 358}
    assert (captions.entries, captions.empty, captions.missing) == (4819, (), ())
    captions = import_file(store, folder / "captions_blip2_twitter2015.txt", posts=tweets["2015"])
    assert (len(captions.empty), captions.missing, captions.placeholders) == (2, (), {})
    assert captions.entries - len(captions.unmatched) == 8257

    told = import_file(store, folder / "llm_twitter2015.jsonl", posts=tweets["2015"])
    last = [split[-1].id for split in read_folder(real_data / "twitter2015").splits.values()]
    assert set(told.missing) == set(last)
    told = import_file(store, folder / "llm_twitter2017.jsonl", posts=tweets["2017"])
    assert (told.missing, told.unmatched) == ((), ())

    dropped = import_file(store, folder / "captions_blip2_twitter2017.txt", drop_placeholders=True)
    assert dropped.dropped == 358
    attached = list(attach(tweets["2017"], store, ["caption"]))
    lacking = [post for post in attached if post.known("caption") is None]
    assert len(lacking) == 358
    assert all(post.id.startswith("O_") for post in lacking)


@pytest.mark.data
def test_real_scores_phrases_and_boxes(store: KnowledgeStore, real_data: Path) -> None:
    data = read_folder(real_data / "twitter2017")
    folder = real_data / "image_text" / "twitter2017"
    for split, ours in (("train", "train"), ("val", "valid"), ("test", "test")):
        posts = data.splits[ours]
        for strength in ("weak", "strong"):
            report = import_file(
                store, folder / f"ner_{split}_weight_{strength}.txt", posts=posts, name=strength
            )
            assert (report.source.kind, report.unmatched, report.missing) == ("relevance", (), ())
        report = import_file(store, folder / f"ner17_grounding_text_{split}.json", posts=posts)
        assert (report.source.kind, report.unmatched, report.missing) == ("phrases", (), ())
    scores = [post.known("relevance").score for post in attach(data.splits["test"], store, ["file:weak"])]
    assert len(scores) == 723
    assert all(0 <= score <= 1 for score in scores)

    boxes = import_file(store, real_data / "gmner" / "boxes.json")
    found = {row.post: row.answer.knowledge for row in store.answers(kind="regions")}
    assert boxes.entries == len(found) == 5612
    assert sum(len(knowledge.regions) for knowledge in found.values()) == 8058
    assert found["1000046"].regions == (Region(132 / 500, 22 / 706, 1.0, 1.0, "Bieber"),)
    assert isinstance(found["1000046"], Knowledge)


def test_half_a_surrogate_pair_reaches_neither_posts_nor_exports(
    store: KnowledgeStore, tmp_path: Path
) -> None:
    # json.dumps writes the half as its escape, as a tool that cuts texts by UTF-16 units does.
    file = written(tmp_path, "k.jsonl", json.dumps({"id": "1", "knowledge": "cut \ud83d"}))
    import_file(store, file)
    (post,) = attach([Post.from_text("a", id="1")], store)
    assert [known.text for known in post.knowledge] == ["cut \ufffd"]
    assert export(store, tmp_path / "out.jsonl") == 1
    with KnowledgeStore(tmp_path / "other.sqlite") as other:
        import_file(other, tmp_path / "out.jsonl")
        assert list(other.answers()) == list(store.answers())


def test_a_source_that_is_no_unicode_is_exported_as_it_is(store: KnowledgeStore, tmp_path: Path) -> None:
    source = Source("tool", "caption", {"file": "\udcff.txt"}, sees_text=True)
    post = Post.from_text("a")
    store.save([StoredAnswer(source.keys_of(post)[0], source, Answer(Knowledge("caption", text="é")))])
    export(store, tmp_path / "out.jsonl")
    with KnowledgeStore(tmp_path / "other.sqlite") as other:
        import_file(other, tmp_path / "out.jsonl")
        (attached,) = attach([post], other, [source])
    assert attached.knowledge[0].text == "é"


def test_a_file_whose_name_is_no_unicode_is_taken_and_found(store: KnowledgeStore, tmp_path: Path) -> None:
    # As Python names a file that the disk calls b"cap\xff.txt".
    file = tmp_path / "cap\udcff.txt"
    try:
        file.write_text("1.jpg :a shop\n")
    except (OSError, UnicodeError):
        pytest.skip("the disk takes UTF-8 names alone")
    for _ in range(2):
        # The second replaces what the first has brought.
        assert import_file(store, file).stored == 1
    post = Post.from_text("a", id="1")
    for using in ("file:cap\udcff", "caption"):
        (found,) = attach([post], store, [using])
        assert [known.text for known in found.knowledge] == ["a shop"]


@pytest.mark.parametrize("half", ["\udcff", "cut \ud83d"])
def test_what_is_no_unicode_is_looked_for_as_it_was_kept(store: KnowledgeStore, half: str) -> None:
    source = Source(half, half, sees_name=True)
    post = Post.from_text("a", id=half)
    row = StoredAnswer(source.keys_of(post)[0], source, Answer(Knowledge(half, text="é")), post=half)
    store.save([row])
    assert [one.key for one in store.answers(post=half, kind=half)] == [row.key]
    assert store.sources(half) == [source]
    assert list(store.answers(key_start=half)) == list(store.answers(picture=half)) == []


def two_posts_with_pictures_of_one_name() -> list[Post]:
    return [Post.from_text("a", id=name, image=Path(f"{name}/image.jpg")) for name in ("p1", "p2")]


@pytest.mark.parametrize("told", [["p1", "p2"], ["p1"], ["p2"]])
def test_what_is_found_by_an_id_is_of_that_post_alone(
    store: KnowledgeStore, tmp_path: Path, told: list[str]
) -> None:
    lines = [json.dumps({"id": name, "knowledge": f"about {name}"}) for name in told]
    provider = FileProvider(written(tmp_path, "k.jsonl", "\n".join(lines)))
    posts = two_posts_with_pictures_of_one_name()
    report = make_knowledge(posts, provider, store)
    assert (report.answered, report.failed, report.repeated) == (len(told), 2 - len(told), 0)
    for post in attach(posts, store, [provider]):
        assert post.knowledge[0].text == (f"about {post.id}" if post.id in told else None)
    again = make_knowledge(posts, provider, store)
    assert (again.known, again.failed_before) == (len(told), 2 - len(told))


def test_what_is_found_by_a_pictures_name_is_of_every_post_with_it(
    store: KnowledgeStore, tmp_path: Path
) -> None:
    provider = FileProvider(written(tmp_path, "c.txt", "image.jpg :a square\n"))
    posts = two_posts_with_pictures_of_one_name()
    report = make_knowledge(posts, provider, store)
    assert (report.answered, report.repeated) == (1, 1)
    assert [post.knowledge[0].text for post in attach(posts, store)] == ["a square"] * 2


@pytest.mark.parametrize("runs", ["one", "two", "two and an import"])
def test_posts_of_two_sets_with_one_id_get_each_their_own(
    store: KnowledgeStore, tmp_path: Path, runs: str
) -> None:
    file = written(tmp_path, "c.txt", "1.jpg :about a\nb.jpg :about b\n")
    provider = FileProvider(file)
    posts = [Post.from_text(name, id="1", image=Path(f"{name}/{name}.jpg")) for name in ("a", "b")]
    if runs == "one":
        assert make_knowledge(posts, provider, store).answered == 2
    else:
        assert [make_knowledge([post], provider, store).answered for post in posts] == [1, 1]
    if runs == "two and an import":
        import_file(store, file)
    assert make_knowledge(posts, provider, store).known == 2
    assert [post.knowledge[0].text for post in attach(posts, store)] == ["about a", "about b"]


def test_answers_that_stand_under_a_pictures_name_are_still_found(
    store: KnowledgeStore, tmp_path: Path
) -> None:
    provider = FileProvider(written(tmp_path, "k.jsonl", json.dumps({"id": "p1", "knowledge": "about p1"})))
    source = Source.of(provider)
    post = two_posts_with_pictures_of_one_name()[0]
    earlier = source.keys_of(post)[0]
    store.save([StoredAnswer(earlier, source, provider.answer_of(provider.filed.entries["p1"]))])
    assert make_knowledge([post], provider, store).known == 1
    assert [post.knowledge[0].text for post in attach([post], store)] == ["about p1"]
