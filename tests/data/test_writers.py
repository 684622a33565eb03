"""Writers: what was written is read back as it was, or the writer says what it could not hold."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mner import Entity, Post
from mner.data import Dataset, read_folder, read_posts, write_columns, write_folder
from mner.data.formats import CP_MNER, CROSSNER, TWITTER
from mner.data.writers import convert_path
from mner.errors import DataError, UsageError
from mner.tags import BIO, BIOES, IOB1, SCHEMES, to_spans

LABELS = ["PER", "creative-work", "人"]
scheme_choice = st.sampled_from([BIO, IOB1, BIOES])


def tag(scheme):
    return st.just("O") | st.builds("{}-{}".format, st.sampled_from(scheme.prefixes), st.sampled_from(LABELS))


@st.composite
def tagged(draw, layout):
    """Posts with any words that a column can hold and any tags of one scheme, right or stray."""
    forbidden = "\n\0\t" if layout.separator == "\t" else "\n\0"
    characters = st.characters(exclude_categories=["Cs"], exclude_characters=forbidden)
    word = st.text(characters, min_size=1, max_size=4)
    scheme = draw(scheme_choice)
    posts = []
    for number in range(draw(st.integers(1, 4))):
        words = draw(st.lists(word, min_size=0 if layout.identified else 1, max_size=5))
        tags = draw(st.lists(tag(scheme), min_size=len(words), max_size=len(words)))
        posts.append(
            Post.from_words(
                words,
                joiner=layout.joiner,
                tags=tuple(tags),
                scheme=scheme,
                id=f"{number}宫" if layout.identified else "",
            )
        )
    return posts


@pytest.mark.parametrize("layout", [TWITTER, CP_MNER, CROSSNER], ids=lambda layout: layout.name)
@given(data=st.data())
def test_columns_are_read_back_as_they_were(tmp_path_factory, layout, data):
    posts = data.draw(tagged(layout))
    path = tmp_path_factory.mktemp("round") / "train.txt"
    scheme = posts[0].scheme
    written = write_columns(posts, path, scheme=scheme, layout=layout)
    assert (written.posts, written.respaced, written.unnamed) == (len(posts), 0, 0)
    back = read_posts(path, layout, scheme=scheme)
    assert [(p.id, p.text, p.words, p.offsets, p.tags) for p in back] == [
        (p.id, p.text, p.words, p.offsets, p.tags) for p in posts
    ]


@given(st.lists(tag(BIO), min_size=1, max_size=8), st.sampled_from(sorted(SCHEMES)))
@example(["B-PER", "B-PER", "I-PER", "I-人"], "IOB1")
def test_another_scheme_says_the_same(tmp_path_factory, tags, name):
    post = Post.from_words(["w"] * len(tags), tags=tuple(tags), id="1")
    path = tmp_path_factory.mktemp("round") / "train.txt"
    write_columns([post], path, scheme=name)
    (back,) = read_posts(path, scheme=name)
    assert to_spans(back.tags, SCHEMES[name]) == to_spans(tags, BIO)


def test_a_byte_order_mark_that_is_a_word(tmp_path):
    post = Post.from_words(["\ufeff", "a"], tags=("O", "O"))
    write_columns([post], tmp_path / "train.txt")
    assert read_posts(tmp_path / "train.txt")[0].words == ("\ufeff", "a")


def test_the_layout_keeps_what_it_can(tmp_path):
    def first_line(**fields):
        post = Post.from_words(["明", "萧"], tags=("O", "B-PER"), **fields)
        write_columns([post], tmp_path / "out.txt", overwrite=True)
        return (tmp_path / "out.txt").read_text().split("\n")[:2]

    assert first_line() == ["明\tO", "萧\tB-PER"]
    assert first_line(id="7") == ["IMGID:7", "明\tO"]
    assert first_line(id="7", joiner="") == ["IMGID:7", "明 O"]


def test_what_columns_cannot_hold_is_counted(tmp_path):
    text = "Kawhi Leonard's Raptors"
    entities = (
        Entity("Kawhi Leonard", "PER", 0, 13),
        Entity("Leonard", "PER", 6, 13),
        Entity("Rap", "ORG", 16, 19),
    )
    posts = [Post.from_text(text, entities=entities, id="1"), Post.from_text("a  b", entities=())]
    written = write_columns(posts, tmp_path / "train.txt")
    assert (written.posts, written.respaced, written.widened, written.dropped, written.unnamed) == (
        2,
        2,
        1,
        1,
        1,
    )
    kept = read_posts(tmp_path / "train.txt")[0]
    assert [entity.text for entity in kept.gold()] == ["Kawhi Leonard", "Raptors"]


@pytest.mark.parametrize(
    "post",
    [
        Post.from_words(["a\tb"], tags=("O",), id="1"),
        Post.from_words(["a\nb"], tags=("O",), id="1"),
        Post.from_words(["a\0"], tags=("O",), id="1"),
        Post.from_words(["a"], entities=(Entity("a", "two words", 0, 1),), id="1"),
        Post.from_words(["a"], entities=(Entity("a", "X\r", 0, 1),), id="1"),
        Post.from_words(["a"], tags=("O",), id="1\n2"),
        Post.from_words(["a"], tags=("O",), id="1\r"),
        Post.from_words([], tags=()),
        Post.from_words(["a"], id="1"),
    ],
)
def test_what_no_column_can_hold_is_refused_and_nothing_is_left(tmp_path, post):
    fine = Post.from_words(["a"], tags=("O",), id=post.id and "0")
    with pytest.raises(DataError, match="Post 2"):
        write_columns([fine, post], tmp_path / "train.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_written_whole_or_not_begun(tmp_path):
    post = Post.from_words(["a"], tags=("B-X",), id="1")
    dataset = Dataset("set", {"train": [post], "test": [post, post]})
    out = tmp_path / "out"
    written = write_folder(dataset, out, to="iob1")
    assert {path.name: found.posts for path, found in written.items()} == {"train.txt": 1, "test.txt": 2}
    (out / "train.txt").unlink()
    with pytest.raises(UsageError, match=r"test\.txt exists"):
        write_folder(dataset, out, to="bio")
    assert not (out / "train.txt").exists()
    write_folder(dataset, out, to="bio", overwrite=True)
    assert read_folder(out).split("train")[0].tags == ("B-X",)


@pytest.mark.parametrize("to", ["jsonl", "bio", "iob1", "bioes"])
def test_a_folder_converted_says_the_same(tmp_path, to):
    source = tmp_path / "set"
    source.mkdir()
    text = "IMGID:1\nNew\tB-LOC\nYork\tI-LOC\nUlm\tB-LOC\n\nIMGID:2\n\u00a0\tO\nSt\tI-LOC\n"
    (source / "train.txt").write_text(text)
    (source / "images").mkdir()
    (source / "images" / "2.jpg").write_bytes(b"x")
    convert_path(source, tmp_path / "out", to=to, label_map={"LOC": "PLACE"})
    images = source / "images" if to != "jsonl" else None
    before, after = (
        read_folder(source).split("train"),
        read_folder(tmp_path / "out", images=images).split("train"),
    )
    assert [(p.id, p.text, p.words) for p in after] == [(p.id, p.text, p.words) for p in before]
    assert [[(e.text, e.start) for e in p.gold()] for p in after] == [
        [(e.text, e.start) for e in p.gold()] for p in before
    ]
    assert {e.label for p in after for e in p.gold()} == {"PLACE"}
    assert after[1].image.samefile(before[1].image)


def test_a_file_is_converted_to_a_file(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("IMGID:1\na\tB-X\n")
    convert_path(path, tmp_path / "some.jsonl", to="jsonl")
    convert_path(tmp_path / "some.jsonl", tmp_path / "back.txt", to="bio")
    assert (tmp_path / "back.txt").read_text() == "IMGID:1\na\tB-X\n\n"
    with pytest.raises(UsageError, match="is a folder"):
        convert_path(path, tmp_path, to="jsonl")
    (tmp_path / "set").mkdir()
    with pytest.raises(UsageError, match="is a file"):
        convert_path(tmp_path / "set", path, to="jsonl")
