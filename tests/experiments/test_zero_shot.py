"""The zero-shot row over real HTTP: asked once, resumed, scored; answers that cannot be used are counted."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from mner import Post
from mner.errors import UsageError
from mner.experiments.zero_shot import UNANSWERED, predict_zero_shot, score_zero_shot
from mner.knowledge.mentions import INVENTED, UNREADABLE
from mner.knowledge.providers.endpoint import EndpointEntities
from mner.knowledge.store import KnowledgeStore
from tests.knowledge.chat_server import ChatServer, completion, status, words_of
from tests.machine import PATIENCE

POSTS = [
    Post.from_words(["Ann", "in", "Paris"], id="1", tags=("B-PER", "O", "B-LOC")),
    Post.from_words(["Bob", "won", "in", "Rome"], id="2", tags=("B-PER", "O", "O", "B-LOC")),
    Post.from_words(["nothing", "here"], id="3", tags=("O", "O")),
    Post.from_words(["Bob", "won", "in", "Rome"], id="4", tags=("B-PER", "O", "O", "B-LOC")),
]


def text_of(request):
    return words_of(request).rpartition("The text:\n")[2]


def capitals(request):
    """A model to which every capitalised word is a person, and which always sees Elvis."""
    names = re.findall(r"\b[A-Z][a-z]+", text_of(request))
    entries = [{"text": name, "type": "PER"} for name in [*names, "Elvis"]]
    return completion(json.dumps({"entities": entries}))


@pytest.fixture
def server():
    with ChatServer(capitals) as running:
        yield running


def asker(server, **options):
    return EndpointEntities(
        server.address, "little", first_pause=0.001, timeout=PATIENCE, attempts=2, **options
    )


def test_each_text_is_asked_once_and_the_score_is_that_of_the_entities(server, tmp_path):
    with KnowledgeStore(tmp_path / "s.sqlite") as store:
        found = predict_zero_shot(POSTS, asker(server), store)
        assert sorted(map(text_of, server.requests)) == sorted({post.text for post in POSTS})
        assert [[one.text for one in entities] for entities in found.predicted] == [
            ["Ann", "Paris"],
            ["Bob", "Rome"],
            [],
            ["Bob", "Rome"],
        ]
        assert found.refused == {INVENTED: 4}
        assert (found.read, found.lost) == (4, 0)
        scores = score_zero_shot(POSTS, found)
        # Six found, three of them with the right type, six to be found.
        assert (scores.overall.precision, scores.overall.recall) == (0.5, 0.5)
        again = predict_zero_shot(POSTS, asker(server), store)
    assert len(server.requests) == 3
    assert again.predicted == found.predicted


def test_the_prompt_has_types_and_form_and_a_post_with_braces_is_only_text(server, tmp_path):
    post = Post.from_text("a {text} of {types} and Ann")
    with KnowledgeStore(tmp_path / "s.sqlite") as store:
        (entities,) = predict_zero_shot([post], asker(server), store).predicted
    assert [one.text for one in entities] == ["Ann"]
    words = words_of(server.requests[0])
    assert words.endswith(post.text)
    assert '{"entities": [{"text": "a mention", "type": "a type"}]}' in words
    assert "PER, LOC, ORG, MISC" in words


def test_posts_without_an_answer_are_missed_and_asked_again_on_request(server, tmp_path):
    server.plan = [status(400)]
    with KnowledgeStore(tmp_path / "s.sqlite") as store:
        first = predict_zero_shot(POSTS[:2], asker(server, concurrency=1), store)
        assert (first.refused[UNANSWERED], first.lost, first.read) == (1, 1, 1)
        assert score_zero_shot(POSTS[:2], first).overall.gold == 4
        kept = predict_zero_shot(POSTS[:2], asker(server), store)
        assert (len(server.requests), kept.lost) == (2, 1)
        better = predict_zero_shot(POSTS[:2], asker(server), store, retry_failed=True)
    assert (len(server.requests), better.lost) == (3, 0)


def test_an_answer_that_is_no_json_is_kept_counted_and_no_entity(tmp_path):
    with (
        ChatServer(lambda _: completion("Ann is a person.")) as server,
        KnowledgeStore(tmp_path / "s") as store,
    ):
        found = predict_zero_shot(POSTS[:1], asker(server), store)
        (row,) = store.answers()
    assert found.predicted == [()]
    assert found.refused == {UNREADABLE: 1}
    assert "Ann is a person." in row.answer.raw


def test_with_pictures_posts_without_one_are_asked_by_their_text(server, tmp_path):
    Image.new("RGB", (20, 20), (200, 0, 0)).save(tmp_path / "1.jpg")
    posts = [
        POSTS[0].with_fields(image=tmp_path / "1.jpg"),
        POSTS[1].with_fields(image=tmp_path / "none.jpg"),
    ]
    with KnowledgeStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(UsageError):
            predict_zero_shot(posts, asker(server, pictures=True), store)
        found = predict_zero_shot(posts, asker(server, pictures=True), store, without_picture=asker(server))
    assert [len(entities) for entities in found.predicted] == [2, 2]
    with_picture = {text_of(request): "image_url" in json.dumps(request) for request in server.requests}
    assert with_picture == {posts[0].text: True, posts[1].text: False}


def test_answers_of_other_models_and_prompts_are_not_taken_for_this_one(server, tmp_path):
    with KnowledgeStore(tmp_path / "s.sqlite") as store:
        predict_zero_shot(POSTS[:1], asker(server), store)
        other = EndpointEntities(server.address, "larger", first_pause=0.001)
        predict_zero_shot(POSTS[:1], other, store)
        predict_zero_shot(POSTS[:1], asker(server, domain="politics"), store)
    assert len(server.requests) == 3
