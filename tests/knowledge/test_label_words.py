from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mner.errors import DataError, UsageError
from mner.knowledge.label_words import (
    DEFAULT_FILE,
    conceptnet_expansion,
    default_concepts,
    default_label_words,
    expand,
    frequency_expansion,
    label_words_for,
    read_label_words,
    read_object_counts,
    read_scene_graphs,
    read_word_lists,
    scene_graph_expansion,
    word_list_expansion,
    wordnet_expansion,
)
from mner.knowledge.sentences import SentenceEmbedder
from mner.knowledge.wordnet import WordNet, find_wordnet
from tests.knowledge.little_wordnet import write_wordnet


def by_letters(texts: list[str]) -> np.ndarray:
    """Vectors of letter counts: a similarity that can be worked out on paper."""
    rows = np.array(
        [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float
    )
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_package_s_list_has_about_ten_words_a_type() -> None:
    words = default_label_words()
    assert set(words) == {"PER", "LOC", "ORG", "MISC"}
    assert all(len(listed) == len(set(listed)) == 10 for listed in words.values())
    every = [word for listed in words.values() for word in listed]
    assert len(set(every)) == len(every)
    assert default_label_words(["per"]) == {"per": words["PER"]}
    assert default_label_words(["OTHER"])["OTHER"] == words["MISC"]


def test_types_without_words_are_named() -> None:
    with pytest.raises(UsageError, match="political_party"):
        default_label_words(["PER", "political_party"])
    assert default_concepts(["political_party", "MISC"]) == {
        "political_party": ("political party",),
        "MISC": ("vehicle", "animal", "product", "event", "film"),
    }


def test_the_package_s_list_follows_from_its_derivation() -> None:
    if find_wordnet() is None:
        pytest.skip("install Debian's wordnet-base to run this")
    wordnet = WordNet()
    if not wordnet.has_counts:
        pytest.skip("this WordNet has no cntlist.rev")
    derived = expand(default_concepts(), wordnet_expansion(wordnet, SentenceEmbedder(device="cpu")))
    assert derived == default_label_words()
    assert "expand(default_concepts(), wordnet_expansion(WordNet(), SentenceEmbedder()))" in (
        DEFAULT_FILE.read_text(encoding="utf-8")
    )


def test_words_are_shared_among_concepts_and_types() -> None:
    lists = {"one": ("a", "b", "c", "d"), "two": ("x", "b", "y"), "three": ("a", "z")}
    expanded = expand({"FIRST": ("one", "two"), "SECOND": ("three",)}, word_list_expansion(lists), count=5)
    assert expanded == {"FIRST": ("a", "x", "b", "c", "y"), "SECOND": ("z",)}
    with pytest.raises(UsageError, match="LOST"):
        expand({"LOST": ("nothing",)}, word_list_expansion(lists))


def test_wordnet_by_frequency(tmp_path: Path) -> None:
    write_wordnet(tmp_path)
    # Of 'person' and its kinds: 'Lincoln' is a name, 'pupil' was never tagged, 'young person' is two words.
    assert list(wordnet_expansion(WordNet(tmp_path))("person", 10)) == [
        "person",
        "child",
        "individual",
        "leader",
    ]
    (tmp_path / "cntlist.rev").unlink()
    assert list(wordnet_expansion(WordNet(tmp_path))("person", 9)) == sorted(
        ["person", "individual", "child", "leader", "pupil"]
    )


def test_an_embedder_weighs_similarity_against_frequency(tmp_path: Path) -> None:
    counts = {"ab": 3, "abb": 3, "cd": 10**6, "abcd": 50}
    similarity = {"ab": 1.0, "abb": 3 / np.sqrt(10), "cd": 0.0, "abcd": 2 / np.sqrt(8)}
    score = {word: similarity[word] ** 2 * np.log(1 + counts[word]) for word in counts}
    by_hand = sorted(counts, key=lambda word: -score[word])
    assert list(frequency_expansion(counts, by_letters)("ab", 4)) == by_hand
    assert by_hand[0] == "abcd"
    assert by_hand[-1] == "cd"


def test_conceptnet_reads_both_directions_and_no_negations(tmp_path: Path) -> None:
    file = tmp_path / "triples.txt"
    file.write_text(
        "IsA\tdoctor\tperson\nIsA\tnurse\tperson\nHasA\tperson\tarm\nNotCapableOf\tperson\tfly\n"
        "AtLocation\tdoctor\thospital\nIsA\tsomeone\tperson\nIsA\tking of a land\tperson\n",
        encoding="utf-8",
    )
    expansion = conceptnet_expansion(file)
    # Degrees: person 6, doctor 2, arm and nurse 1; ties by name.
    assert list(expansion("person", 10)) == ["person", "doctor", "arm", "nurse"]
    assert list(expansion("moon", 10)) == []
    file.write_text("IsA doctor person\n", encoding="utf-8")
    with pytest.raises(DataError, match="Line 1"):
        conceptnet_expansion(file)


def graph(*relations: tuple[str, str]) -> dict[str, object]:
    names = sorted({name for pair in relations for name in pair})
    number = {name: 10 + index for index, name in enumerate(names)}
    return {
        "image_id": 1,
        "objects": [{"object_id": number[name], "names": [name], "synsets": [], "x": 1} for name in names],
        "relationships": [
            {"predicate": "ON", "subject_id": number[one], "object_id": number[other], "relationship_id": 5}
            for one, other in relations
        ],
    }


@pytest.fixture
def scene_graphs(tmp_path: Path) -> Path:
    graphs = [
        graph(("man", "coat"), ("man", "arm"), ("woman", "coat"), ("dog", "grass")),
        graph(("man", "coat"), ("men", "arm"), ("man", "woman"), ("tree", "grass")),
        {**graph(("Men ", "hat")), "extra": '[{"text": 1}]'},
        {"image_id": 4, "objects": [], "relationships": []},
    ]
    file = tmp_path / "scene_graphs.json"
    file.write_text(json.dumps(graphs), encoding="utf-8")
    return file


def test_scene_graphs_give_near_objects_and_their_neighbours(scene_graphs: Path) -> None:
    expansion = scene_graph_expansion(scene_graphs, by_letters, seeds=3, neighbours=2)
    # Nearest in letters to 'men': men, then woman (w o m a n: m and n), then man. Beside those three:
    # coat 3 times, arm twice, hat once; 'woman' beside 'man' is itself one of the three.
    assert set(expansion("men", 3)) == {"men", "man", "woman"}
    assert list(expansion("men", 5))[3:] == ["coat", "arm"]


def test_nearest_objects_are_those_of_a_plain_sort(scene_graphs: Path) -> None:
    names = ["arm", "coat", "dog", "grass", "hat", "man", "men", "tree", "woman"]
    similarity = by_letters(names) @ by_letters(["goat"])[0]
    best = sorted(zip(-similarity, names, strict=True))[:4]
    expansion = scene_graph_expansion(scene_graphs, by_letters, seeds=4, neighbours=0)
    assert list(expansion("goat", 9)) == [name for _, name in best]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_scene_graphs_are_read_in_pieces(scene_graphs: Path, chunk: int) -> None:
    assert list(read_scene_graphs(scene_graphs, chunk=chunk)) == json.loads(scene_graphs.read_text())


def test_broken_scene_graphs_are_refused(scene_graphs: Path, tmp_path: Path) -> None:
    whole = scene_graphs.read_text()
    cut = tmp_path / "cut.json"
    cut.write_text(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="ends in the middle"):
        list(read_scene_graphs(cut))
    cut.write_text('{"objects": []}')
    with pytest.raises(DataError, match="not a list"):
        list(read_scene_graphs(cut))


def test_a_user_s_list(tmp_path: Path) -> None:
    toml = tmp_path / "words.toml"
    toml.write_text('band = ["band", "music  group", "band"]\n[song]\nwords = ["song"]\n', encoding="utf-8")
    assert read_label_words(toml) == {"band": ("band", "music group"), "song": ("song",)}
    file = tmp_path / "words.json"
    file.write_text('{"band": ["band"]}', encoding="utf-8")
    assert read_label_words(file) == {"band": ("band",)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("band = []", "band"),
        ('band = "guitar"', "band"),
        ("band = [1]", "band"),
        ('band = [" "]', "band"),
        ("band = [", "cannot be read"),
        ("", "no label words"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "words.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_label_words(file)


def test_lists_of_objects_and_related_words(tmp_path: Path) -> None:
    (tmp_path / "objects.txt").write_text("tv,television\n\nman\n", encoding="utf-8")
    assert read_object_counts(tmp_path / "objects.txt") == {"tv": 1, "man": 1}
    (tmp_path / "dict.json").write_text('{"object_count": {"man": 3}}', encoding="utf-8")
    assert read_object_counts(tmp_path / "dict.json") == {"man": 3}
    (tmp_path / "dict.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="counts of objects"):
        read_object_counts(tmp_path / "dict.json")
    (tmp_path / "words.txt").write_text("corp, firm,corp\nschool\n", encoding="utf-8")
    (tmp_path / "classes.txt").write_text("company\nschool\n\n", encoding="utf-8")
    lists = read_word_lists(tmp_path / "words.txt", tmp_path / "classes.txt")
    assert lists == {"company": ("corp", "firm"), "school": ("school",)}
    assert word_list_expansion(lists, {"organization": "company"})("organization", 1) == ["corp"]
    (tmp_path / "classes.txt").write_text("company\n", encoding="utf-8")
    with pytest.raises(DataError, match="belong together"):
        read_word_lists(tmp_path / "words.txt", tmp_path / "classes.txt")


@pytest.mark.data
def test_the_real_lexicons(real_data: Path) -> None:
    folder = real_data / "label_words"
    embed = SentenceEmbedder(device="cpu")
    conceptnet = conceptnet_expansion(folder / "conceptnet/train_old.txt", embed)
    assert {"person", "human", "woman"} <= set(conceptnet("person", 10))
    counts = read_object_counts(folder / "visual_genome/VG-SGG-dicts-with-attri.json")
    assert counts["woman"] == 26910
    assert {"woman", "man", "people"} <= set(frequency_expansion(counts, embed)("person", 10))
    kpt = folder / "kpt_verbalizers"
    lists = read_word_lists(
        kpt / "dbpedia_knowledgeable_verbalizer.txt", kpt / "dbpedia_manual_verbalizer.txt"
    )
    assert len(lists) == 14
    assert "tummy" in lists["company"]  # what the docstring warns of


def test_words_for_any_types_are_the_users_else_the_packages_else_the_name() -> None:
    labels = ["per", "political_party", "band"]
    words = label_words_for(labels, given={"band": ["rock  group", "orchestra", "orchestra"]})
    assert list(words) == labels
    assert words["per"] == list(default_label_words(["PER"])["PER"])
    assert words["political_party"] == ["political party", "political", "party"]
    assert words["band"] == ["rock group", "orchestra"]
    seen = label_words_for(["PER"], "multimodal")["PER"]
    assert seen != words["per"]
    assert seen[0] == "person"


@pytest.mark.parametrize(
    ("given", "said"),
    [({"PRE": ["person"]}, "Did you mean 'PER'"), ({"PER": []}, "no list"), ({"PER": [" "]}, "no list")],
)
def test_wrong_words_for_types_are_refused(given: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        label_words_for(["PER", "LOC"], given=given)


@pytest.mark.data
def test_the_multimodal_list_is_derived_from_visual_genome(real_data: Path) -> None:
    file = real_data / "label_words/visual_genome/VG-SGG-dicts-with-attri.json"
    expansion = frequency_expansion(read_object_counts(file), SentenceEmbedder(device="cpu"))
    labels = ["PER", "LOC", "ORG", "MISC"]
    derived = {label: list(words) for label, words in expand(default_concepts(labels), expansion).items()}
    assert label_words_for(labels, "multimodal") == derived
