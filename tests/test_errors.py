"""Errors: what they say, how they leave, and that they survive a trip to another process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner import errors
from mner.errors import DataError, MissingExtraError, MnerError, UsageError, did_you_mean, nearest, shown
from tests.machine import PATIENCE


def kinds(kind: type[MnerError] = MnerError) -> Iterator[type[MnerError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


own_kinds = [kind for kind in kinds() if kind.__module__ == errors.__name__]


def made(kind: type[MnerError]) -> MnerError:
    if kind is MissingExtraError:
        return MissingExtraError("Reading pictures", "knowledge")
    return kind("It broke.", expected="a whole one", got="two halves", hint="Glue it.")


def test_a_message_says_all_four_things_in_order():
    assert str(made(MnerError)) == "It broke. Expected: a whole one. Got: two halves. Glue it."
    assert str(MnerError("It broke.")) == "It broke."


def test_an_empty_expectation_is_still_said():
    assert str(DataError("Odd.", got="")) == "Odd. Got: ."


@pytest.mark.parametrize("kind", own_kinds, ids=lambda k: k.__name__)
def test_every_error_leaves_with_one_or_two(kind):
    assert kind.exit_status == (2 if issubclass(kind, UsageError) else 1)
    assert kind.__doc__


@pytest.mark.parametrize("kind", own_kinds, ids=lambda k: k.__name__)
def test_an_error_is_the_same_after_pickling(kind):
    error = made(kind)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), vars(back)) == (str(error), vars(error))


def _fail() -> None:
    raise MissingExtraError("Reading pictures", "knowledge")


def test_an_error_reaches_the_process_that_asked():
    """An error that cannot be rebuilt breaks the whole pool, and the user reads of a broken pool only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        caught = pool.submit(_fail).exception(timeout=PATIENCE)
    assert isinstance(caught, MissingExtraError)
    assert "pip install 'mner[knowledge]'" in str(caught)


@pytest.mark.parametrize(
    ("name", "candidates", "hint"),
    [
        ("lerning_rate", ["learning_rate", "epochs"], "Did you mean 'learning_rate'?"),
        ("zzz", ["learning_rate", "epochs"], "There is: learning_rate, epochs."),
        ("zzz", [], "There is none."),
    ],
)
def test_hints_name_the_nearest_or_all(name, candidates, hint):
    assert did_you_mean(name, iter(candidates)) == hint


@given(st.lists(st.text(min_size=1, max_size=8), unique=True))
def test_a_name_that_exists_is_its_own_nearest(names):
    for name in names:
        assert nearest(name, names) == name


@given(st.text(max_size=300), st.integers(2, 100))
def test_quoted_values_keep_to_their_limit(text, limit):
    quoted = shown(text, limit)
    assert len(quoted) <= limit
    assert quoted == repr(text) or (quoted.endswith("…") and repr(text).startswith(quoted[:-1]))
    assert quoted.isprintable()
