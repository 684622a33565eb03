from __future__ import annotations

from pathlib import Path

import pytest

from mner.knowledge.wordnet import CATEGORIES, NoWordNetError, WordNet, WordNetError, find_wordnet
from tests.knowledge.little_wordnet import write_wordnet


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> tuple[WordNet, dict[str, int]]:
    folder = tmp_path_factory.mktemp("wordnet")
    offsets = write_wordnet(folder)
    return WordNet(folder), offsets


def test_a_synset_is_read_whole(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, at = little
    person = wordnet.synset(at["person"])
    assert person.words == ("person", "individual")
    assert person.category == "top"
    assert person.gloss == "a human being"
    assert person.examples == ("too much for one person to do",)
    assert person.hypernyms == (at["entity"],)
    assert person.hyponyms == (at["child"], at["leader"])
    assert person.related == (at["people"],)  # the derivation of a verb is none
    assert not person.is_instance
    assert wordnet.synset(at["people"]).gloss == "persons | with a bar"


def test_senses_come_in_the_index_s_order(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, at = little
    assert [synset.offset for synset in wordnet.synsets("Lincoln")] == [at["lincoln"], at["nebraska"]]
    assert wordnet.synsets("nowhere") == ()


@pytest.mark.parametrize(
    ("word", "lemma"),
    [("children", "child"), ("Cities", "city"), ("leaders", "leader"), ("young  persons", "young_person"),
     ("xs", None), ("s", None)],
)  # fmt: skip
def test_plurals_are_undone(little: tuple[WordNet, dict[str, int]], word: str, lemma: str | None) -> None:
    assert little[0].lemma(word) == lemma


def test_named_instances(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, at = little
    assert [s.offset for s in wordnet.instances()] == [at["lincoln"], at["nebraska"]]
    assert [s.offset for s in wordnet.instances("location")] == [at["nebraska"]]
    assert [s.offset for s in wordnet.named("abraham lincoln")] == [at["lincoln"]]
    assert wordnet.named("city") == ()


def test_every_path_upwards(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, at = little
    paths = wordnet.hypernym_paths(wordnet.synset(at["nebraska"]))
    names = [[synset.words[0] for synset in path] for path in paths]
    assert names == [["city", "place", "entity"], ["capital", "place", "entity"]]
    assert wordnet.hypernym_paths(wordnet.synset(at["entity"])) == []


def test_is_a_agrees_with_the_paths(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, _ = little
    for synset in wordnet:
        above = {found.offset for path in wordnet.hypernym_paths(synset) for found in path}
        for other in wordnet:
            assert wordnet.is_a(synset, other) == (other.offset in above or other.offset == synset.offset)


def test_kinds_by_depth(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, at = little
    person = wordnet.synset(at["person"])
    assert [(kind.words[0], depth) for kind, depth in wordnet.kinds(person, 2)] == [
        ("child", 1),
        ("leader", 1),
        ("pupil", 2),
    ]


def test_counts_belong_to_word_and_meaning(little: tuple[WordNet, dict[str, int]]) -> None:
    wordnet, at = little
    person = wordnet.synset(at["person"])
    assert (wordnet.count(person), wordnet.count(person, 1)) == (100, 7)
    assert wordnet.count(wordnet.synset(at["pupil"])) == 0


def test_offsets_that_do_not_fit_are_refused(little: tuple[WordNet, dict[str, int]], tmp_path: Path) -> None:
    wordnet, at = little
    with pytest.raises(WordNetError, match="no synset at"):
        wordnet.synset(at["person"] + 1)
    write_wordnet(tmp_path)
    content = (tmp_path / "data.noun").read_bytes()
    (tmp_path / "data.noun").write_bytes(content.replace(b"\n", b"\r\n"))
    with pytest.raises(WordNetError, match="Windows line ends"):
        WordNet(tmp_path)


def test_a_damaged_line_is_quoted(tmp_path: Path) -> None:
    offsets = write_wordnet(tmp_path)
    file = tmp_path / "data.noun"
    file.write_bytes(file.read_bytes().replace(b"03 n 02 person", b"03 n zz person"))
    with pytest.raises(WordNetError, match="zz person"):
        WordNet(tmp_path).synset(offsets["person"])


def test_a_folder_that_is_no_wordnet(tmp_path: Path) -> None:
    with pytest.raises(WordNetError, match="is not a WordNet"):
        WordNet(tmp_path)


def test_without_any_wordnet_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mner.knowledge.wordnet.wordnet_folders", lambda: [Path("/nowhere")])
    with pytest.raises(NoWordNetError, match="wordnet-base"):
        WordNet()


@pytest.fixture(scope="module")
def real() -> WordNet:
    folder = find_wordnet()
    if folder is None:
        pytest.skip("install Debian's wordnet-base to run this")
    return WordNet(folder)


def test_wordnet_3_0_has_its_published_numbers(real: WordNet) -> None:
    # wnstats(7WN) of release 3.0: 82115 noun synsets; the instances are those of Miller and Hristea (2006)
    # as far as they went into that release.
    synsets = list(real)
    if len(synsets) != 82115:
        pytest.skip(f"another release: {len(synsets)} noun synsets")
    assert len({synset.offset for synset in synsets}) == 82115
    assert {synset.category for synset in synsets} == set(CATEGORIES.values())
    by_scan = {synset.offset for synset in synsets if synset.is_instance}
    instances = real.instances()
    assert {synset.offset for synset in instances} == by_scan
    assert len(instances) == 7730
    assert len(real.instances("person")) == 3815
    assert len(real.instances("location")) == 2357


def test_every_pointer_of_wordnet_leads_to_a_synset_and_back(real: WordNet) -> None:
    by_offset = {synset.offset: synset for synset in real}
    for synset in by_offset.values():
        for parent in synset.hypernyms:
            assert synset.offset in by_offset[parent].hyponyms
        for parent in synset.instance_of:
            assert synset.offset in by_offset[parent].instances


def test_real_names(real: WordNet) -> None:
    (toronto,) = real.named("Toronto")
    assert toronto.category == "location"
    assert all(path[-1].words[0] == "entity" for path in real.hypernym_paths(toronto))
    assert real.is_a(toronto, real.synsets("city")[0])
    assert {synset.category for synset in real.named("Lincoln")} == {"person", "location"}
