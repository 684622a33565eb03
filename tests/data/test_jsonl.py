"""JSONL: what people bring, and what is wrong with it."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mner import Entity, Post
from mner.data import iterate_jsonl, parse_jsonl_line, write_jsonl
from mner.data.jsonl import align, record_of_post
from mner.errors import DataError, UsageError


def parse(record, **options):
    line = record if isinstance(record, str) else json.dumps(record)
    return parse_jsonl_line(line, base=None, where="x.jsonl, line 3", **options)


def test_text_with_entities():
    post = parse(
        {
            "id": 7,
            "text": "👍 Kawhi won",
            "alt": "A man.",
            "entities": [{"start": 2, "end": 7, "label": "PER"}],
        }
    )
    assert post.id == "7"
    assert post.alt == "A man."
    assert post.entities == (Entity("Kawhi", "PER", 2, 7),)
    assert post.words == ("👍", "Kawhi", "won")


def test_words_with_entities_by_characters_of_the_words_joined():
    post = parse({"words": ["New", "York", "\u00a0"], "entities": [{"start": 0, "end": 8, "label": "LOC"}]})
    assert post.text == "New York \u00a0"
    assert post.gold()[0].text == "New York"
    assert post.words == ("New", "York", "\u00a0")


def test_words_in_a_text_of_their_own():
    post = parse({"words": ["明", "萧"], "text": "明萧", "entities": []})
    assert post.offsets == ((0, 1), (1, 2))
    assert post.entities == ()


def test_a_post_without_entities_is_not_annotated():
    assert not parse({"text": "a"}).is_annotated
    assert not parse({"text": "a", "entities": None}).is_annotated


@pytest.mark.parametrize("text", ["", "\u200b", "😀😀", "\x00", " "])
def test_texts_with_nothing_in_them_are_posts(text):
    assert parse({"text": text}).text == text


def test_what_the_model_predicts_can_be_read_as_gold():
    entity = Entity("Kawhi", "PER", 0, 5, 0.75)
    assert parse({"text": "Kawhi won", "entities": [entity.as_dict()]}).entities == (entity,)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("{", "not valid JSON"),
        ("nonsense", "not valid JSON"),
        ("[1]", "a list"),
        ("3", "a number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"text": "a", "id": ' + "1" * 5000 + "}", "not readable JSON"),
        ({}, "neither text nor words"),
        ({"text": 3}, "'text' is a number"),
        ({"text": "a", "id": ["x"]}, "'id' is a list"),
        ({"words": "a b"}, "'words' is a string"),
        ({"words": ["a", 1]}, "'words' is a number"),
        ({"words": ["a", ""]}, "a word is empty"),
        ({"words": ["a", "b"], "text": "b a"}, "do not stand in the text"),
        ({"text": "a", "entities": {}}, "'entities' is dict"),
        ({"text": "a", "entities": [[0, 1, "X"]]}, "entity 1: an entity is a list"),
        ({"text": "ab", "entities": [{"start": 0, "end": 3, "label": "X"}]}, "0 <= start < end <= 2"),
        ({"text": "ab", "entities": [{"start": -1, "end": 1, "label": "X"}]}, "0 <= start < end <= 2"),
        ({"text": "ab", "entities": [{"start": 1, "end": 1, "label": "X"}]}, "0 <= start < end <= 2"),
        ({"text": "ab", "entities": [{"start": 0.0, "end": 1, "label": "X"}]}, "'start' is a number"),
        ({"text": "ab", "entities": [{"start": True, "end": 1, "label": "X"}]}, "'start' is true or false"),
        ({"text": "ab", "entities": [{"start": 0, "end": 1}]}, "'label' is nothing"),
        ({"text": "ab", "entities": [{"start": 0, "end": 1, "label": ""}]}, "label is empty"),
        ({"text": "ab", "entities": [{"start": 0, "end": 1, "type": "X"}]}, "Write it as 'label'"),
        ({"text": "a", "entites": []}, "Write it as 'entities'"),
        ({"Text": "a"}, "Write it as 'text'"),
        ({"tokens": ["a"]}, "Write it as 'words'"),
        ({"words": ["a"], "ner_tags": ["O"]}, "mner data convert"),
        ({"text": "a", "image": ""}, "'image' is no path"),
        ({"text": "\ud83d"}, "half of a surrogate pair"),
    ],
)
def test_an_error_names_the_place_and_teaches(record, says):
    with pytest.raises(DataError) as caught:
        parse(record)
    assert str(caught.value).startswith("x.jsonl, line 3")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("start", "end", "hint"), [(3, 8, "UTF-16"), (5, 10, "bytes"), (0, 5, "Unicode code points")]
)
def test_offsets_in_other_units_are_recognised(start, end, hint):
    text = "👍 Kawhi won the game"
    with pytest.raises(DataError, match=hint):
        parse({"text": text, "entities": [{"start": start, "end": end, "label": "PER", "text": "Kawhi"}]})


def test_keys_of_the_users_own_are_left_out_and_counted():
    ignored = {}
    for _ in range(2):
        parse({"text": "a", "created_at": "today", "data": 1}, ignored=ignored)
    assert ignored == {"created_at": 2, "data": 2}


def test_pictures_are_found_beside_the_file_and_not_opened(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(b"not a picture at all")
    lines = [
        {"text": "a", "image": "images/1.jpg"},
        {"text": "b", "image": "images/2.jpg"},
        {"text": "c"},
        {"text": "d", "image": "https://example.org/1.jpg"},
        {"text": "e", "image": "x" * 5000},
    ]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    there, missing, none, address, long = iterate_jsonl(path)
    assert there.image == tmp_path / "images" / "1.jpg"
    assert (missing.image, missing.image_problem) == (None, "no file images/2.jpg")
    assert (none.image, none.image_problem) == (None, None)
    assert address.image is None
    assert "not a file" in address.image_problem
    assert long.image is None
    assert long.image_problem is not None


def test_lines_are_counted_and_end_at_line_feeds_alone(tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_bytes('\ufeff{"text": "a\u2028b\x85c"}\r\n\n  \n{"text": 1}\n'.encode())
    posts = iterate_jsonl(path)
    assert next(posts).text == "a\u2028b\x85c"
    with pytest.raises(DataError, match=r"posts\.jsonl, line 4:"):
        next(posts)


@pytest.mark.parametrize("text_stream", [True, False])
def test_streams(text_stream):
    content = '{"text": "é"}\n{"text": "b"}'
    stream = io.StringIO(content) if text_stream else io.BytesIO(content.encode())
    assert [post.text for post in iterate_jsonl(stream)] == ["é", "b"]


def test_a_stream_opened_in_another_encoding_is_read_as_utf8():
    stream = io.TextIOWrapper(io.BytesIO('{"text": "é"}\n'.encode()), encoding="latin-1")
    assert [post.text for post in iterate_jsonl(stream)] == ["é"]


def test_a_wrong_byte_in_a_stream_is_named():
    with pytest.raises(DataError, match="standard input, line 2: byte 24"):
        list(iterate_jsonl(io.BytesIO(b'{"text": "a"}\n{"text": "\xe9"}\n')))


def test_a_missing_file():
    with pytest.raises(DataError, match="cannot be read"):
        next(iterate_jsonl("nowhere/posts.jsonl"))


def test_a_long_stream_is_not_held():
    def lines():
        for number in range(20_000):
            yield json.dumps({"text": f"post {number} from Toronto"}).encode()

    class Stream:
        def __iter__(self):
            return lines()

    tracemalloc.start()
    try:
        peaks = []
        for number, _ in enumerate(iterate_jsonl(Stream())):
            if number in (5_000, 19_999):
                peaks.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # The words last seen are remembered, up to a bound; the posts themselves would be some 15 MB.
    assert peaks[1] - peaks[0] < 8e6


characters = st.characters(exclude_categories=["Cs"])
words = st.lists(st.text(characters, min_size=1, max_size=5), max_size=8)


@st.composite
def annotated(draw):
    """Posts by text, by words, and by words within a text; with entities anywhere, or none."""
    kind = draw(st.sampled_from(["text", "words", "joined", "within"]))
    if kind == "text":
        post = Post.from_text(draw(st.text(characters, max_size=30)))
    elif kind == "words":
        post = Post.from_words(draw(words))
    elif kind == "joined":
        post = Post.from_words(draw(words), joiner="")
    else:
        given_words = draw(words)
        text = "".join(draw(st.sampled_from(["", " ", "\n"])) + word for word in given_words)
        post = Post(text=text, words=tuple(given_words), offsets=align(given_words, text))
    entities = None
    if draw(st.booleans()):
        entities = ()
        if post.text:
            places = draw(st.lists(st.tuples(*[st.integers(0, len(post.text))] * 2), max_size=3))
            entities = tuple(
                Entity(
                    post.text[min(pair) : max(pair)],
                    draw(st.text(characters, min_size=1, max_size=4)),
                    *sorted(pair),
                )
                for pair in places
                if pair[0] != pair[1]
            )
    return post.with_fields(
        id=draw(st.text(characters, max_size=4)),
        alt=draw(st.none() | st.text(characters, max_size=4)),
        entities=entities,
    )


@given(annotated())
@example(Post.from_words(["\ufeff", "\u00a0", "a b", "\n", "\t"], entities=()))
def test_a_post_is_read_back_as_it_was(post):
    line = json.dumps(record_of_post(post), ensure_ascii=False)
    assert parse_jsonl_line(line, base=None, where="here") == post


@given(st.lists(annotated(), max_size=4))
def test_a_file_is_read_back_as_it_was(tmp_path_factory, posts):
    path = tmp_path_factory.mktemp("round") / "posts.jsonl"
    assert write_jsonl(posts, path) == len(posts)
    assert list(iterate_jsonl(path)) == posts


def test_tags_are_written_as_the_entities_they_mean(tmp_path):
    post = Post.from_words(["New", "York", "won"], tags=("I-LOC", "I-LOC", "O"))
    assert record_of_post(post)["entities"] == [{"start": 0, "end": 8, "label": "LOC"}]
    assert record_of_post(post, convention="strict")["entities"] == []


def test_pictures_are_written_relative_to_the_new_file(tmp_path):
    (tmp_path / "images").mkdir()
    image = tmp_path / "images" / "1.jpg"
    image.write_bytes(b"x")
    path = tmp_path / "out" / "posts.jsonl"
    write_jsonl([Post.from_text("a", image=image)], path)
    assert json.loads(path.read_text())["image"] == "../images/1.jpg"
    (post,) = iterate_jsonl(path)
    assert post.image.samefile(image)


def test_what_json_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    path = tmp_path / "posts.jsonl"
    for post in (
        Post.from_text("a", image=b"bytes"),
        Post.from_text("\ud83d"),
        Post(text="aa", words=("a",), offsets=((1, 2),)),
    ):
        with pytest.raises(DataError):
            write_jsonl([Post.from_text("fine"), post], path)
        assert list(tmp_path.iterdir()) == []
    write_jsonl([], path)
    with pytest.raises(UsageError, match="exists already"):
        write_jsonl([], path)
