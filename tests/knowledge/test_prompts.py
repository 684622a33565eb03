"""Prompts and domains: that the files are sound, and that a user's own are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from mner.data import read_folder
from mner.errors import DataError, UsageError
from mner.knowledge.prompts import domain_names, load_domain, load_prompt, prompt_names


@pytest.mark.parametrize("domain", domain_names())
@pytest.mark.parametrize("name", prompt_names())
def test_every_prompt_renders_for_every_domain(name: str, domain: str) -> None:
    prompt = load_prompt(name, domain)
    assert prompt.version >= 1
    text = "braces {text} {0} {steps} and %s"
    for step in range(len(prompt.steps)):
        words = prompt.render(step, text=text, caption="a {caption}", steps="before")
        assert words.count(text) == prompt.steps[step].count("{text}")
        assert "{cue_words}" not in words
    assert "{" not in prompt.render_system()


def test_the_domains_that_the_papers_use_are_there() -> None:
    assert set(domain_names()) >= {"twitter", "conll2003", "politics", "science", "music", "literature", "ai"}
    for name in domain_names():
        domain = load_domain(name)
        assert len(domain.cue_words) >= 5
        assert len(set(domain.types.values())) == len(domain.types)


def test_auxiliary_knowledge_is_asked_without_the_text() -> None:
    prompt = load_prompt("auxiliary")
    assert "secret" not in prompt.render(text="secret", caption="secret", steps="secret")


def test_every_step_but_the_first_sees_the_ones_before() -> None:
    prompt = load_prompt("reasoning")
    assert ["BEFORE" in prompt.render(step, steps="BEFORE") for step in range(3)] == [False, True, True]


def test_what_is_asked_is_part_of_the_settings(tmp_path: Path) -> None:
    politics, music = (load_prompt("caption", domain).as_settings() for domain in ("politics", "music"))
    assert politics != music
    assert "campaign posters" in politics["steps"][0]
    own = tmp_path / "mine.toml"
    own.write_text('version = 4\nsystem = ""\nsteps = ["Say {text}."]\n')
    prompt = load_prompt(own, "music")
    assert (prompt.name, prompt.version) == ("mine", 4)
    assert prompt.render(text="x") == "Say x."
    assert prompt.as_settings()["steps"] == ["Say {text}."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('version = 1\nsystem = ""\nsteps = ["{txt}"]', "unknown field 'txt'"),
        ('version = 1\nsystem = ""\nsteps = ["{"]', "braces"),
        ('version = 1\nsystem = ""\nstep = ["a"]', "unknown key 'step'.*'steps'"),
        ('version = 1\nsystem = ""', "lacks 'steps'"),
        ('version = "1"\nsystem = ""\nsteps = ["a"]', "lacks 'version'"),
        ('version = 1\nsystem = ""\nsteps = [1]', "not text"),
        ("version =", "TOML"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "p.toml").write_text(content)
    with pytest.raises(DataError, match=said):
        load_prompt(tmp_path / "p.toml")


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'caption'"):
        load_prompt("captoin")
    with pytest.raises(UsageError, match="'politics'"):
        load_prompt("caption", "politic")
    with pytest.raises(UsageError):
        load_domain(tmp_path / "none.toml")


@pytest.mark.data
def test_types_are_those_of_the_data(real_data: Path) -> None:
    for name in ("politics", "science", "music", "literature", "ai"):
        data = read_folder(real_data / "crossner" / name)
        labels = {entity.label for split in data.splits.values() for post in split for entity in post.gold()}
        assert set(load_domain(name).types) == labels
    data = read_folder(real_data / "twitter2017")
    labels = {entity.label for split in data.splits.values() for post in split for entity in post.gold()}
    assert set(load_domain("twitter").types) == set(load_domain("conll2003").types) == labels
