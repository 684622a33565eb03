"""Where results and progress go."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from mner.cli import console
from mner.cli.console import bars, out, print_json, print_whole, titled_table
from tests.machine import PATIENCE


def test_json_is_one_document_on_stdout_and_nothing_else(capfd):
    document = {"text": "Zürich 👍 “x”", "entities": [{"label": "LOC", "score": 0.5}], "none": None}
    print_json(document)
    out, err = capfd.readouterr()
    assert json.loads(out) == document
    assert "Zürich 👍" in out  # to be read by people too
    assert err == ""


def test_what_json_cannot_say_is_refused(capfd):
    with pytest.raises(ValueError, match="JSON"):
        print_json({"f1": float("nan")})
    assert capfd.readouterr().out == ""


def test_half_a_surrogate_pair_reaches_stdout_as_json_escapes_it():
    """A post may bring one, since JSON can write it; UTF-8 cannot."""
    code = (
        "import sys; from mner.cli import main, app, console\n"
        "app.app.command('odd')(lambda: console.print_json({'text': '\\ud83d'}))\n"
        "main(['odd'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"text": "\ud83d"}


def test_bars_show_what_they_are_told_as_it_is(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=200))
    with bars("Reading [posts] :warning:", 3) as advance:
        advance(2, best="[x]", loss=0.5)
        advance(1)
    last = screen.getvalue().rsplit("\r", 1)[-1]
    for piece in ("Reading [posts] :warning:", "3/3", "best [x]  loss 0.5"):
        assert piece in last


def test_bars_stay_off_stdout_and_end_with_the_work(capfd):
    with bars("Reading [posts]", 3) as advance:
        for loss in (0.3, 0.2, 0.1):
            advance(1, loss=loss)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err


def test_bars_do_not_swallow_an_error():
    with pytest.raises(ZeroDivisionError), bars("Reading") as advance:
        advance(1 // 0)


WORDS = st.lists(st.text("abcxyz019[]/名", min_size=1, max_size=14), min_size=1, max_size=4).map(" ".join)


@given(
    columns=st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=2, max_size=2)), min_size=1, max_size=6),
    width=st.integers(10, 120),
)
def test_a_table_loses_nothing_in_a_narrow_terminal_and_is_no_wider_than_its_words_need(columns, width):
    """Nothing that looks like markup is lost either."""
    table = titled_table("")
    for header, _ in columns:
        table.add_column(Text(header))
    for cells in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*map(Text, cells))
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(written):
        patch.setattr(out, "width", width)
        print_whole(table)
    lines = written.getvalue().splitlines()
    shown = [re.split("[┃│]", line)[1:-1] for line in lines if line[:1] in ("┃", "│")]
    for number, (header, cells) in enumerate(columns):
        said = " ".join(line[number].strip() for line in shown).split()
        assert said == " ".join([header, *cells]).split()
    longest_words = [max(map(cell_len, " ".join([header, *cells]).split())) for header, cells in columns]
    assert max(map(cell_len, lines)) <= max(width, sum(longest_words) + 3 * len(columns) + 1)
