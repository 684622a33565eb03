"""Label words: what an entity type's name expands to, so that a model can look for it (CAT-MNER 3.2).

Each type is first written as one or more *concepts*, plain English nouns (PER as ``person``; MISC, which
names nothing, as several concrete labels), and each concept is expanded by a lexicon: WordNet, ConceptNet,
Visual Genome, a list of related words, or a list of the user's own. ``default_label_words`` needs no
lexicon: it gives the list that is part of this package.

CAT-MNER's textual source, the site Related Words, mixes WordNet, ConceptNet and word vectors and states no
formula. Here the candidates of a lexicon are ordered by squared similarity to the concept (none below zero)
times log(1 + frequency in that lexicon); without an embedder, by frequency alone.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import log1p
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mner.errors import DataError, UsageError, did_you_mean, shown
from mner.knowledge.sentences import Embed
from mner.knowledge.wordnet import Synset, WordNet

LabelWords = dict[str, tuple[str, ...]]
Expansion = Callable[[str, int], Sequence[str]]
"""Gives for a concept and a number the words it expands to, the best first, the concept's own included."""

WORDS_PER_LABEL = 10
DEFAULT_FILE = Path(__file__).parent / "label_words.toml"

KnowledgeBase = Literal["textual", "multimodal"]
"""Which of the package's own lists: from WordNet's texts, or from the objects in Visual Genome's pictures."""

_FILES: dict[KnowledgeBase, Path] = {
    "textual": DEFAULT_FILE,
    "multimodal": DEFAULT_FILE.with_name("label_words_multimodal.toml"),
}

_NEGATED = frozenset({"NotIsA", "NotHasA", "NotCapableOf", "NotDesires", "NotHasProperty", "NotMadeOf"})
# Words that ConceptNet's sentences are built of and that say nothing about what they stand beside.
_NOTHING_SAID = frozenset(
    {"a", "an", "the", "this", "something", "someone", "somebody", "anything", "everything", "nothing",
     "thing", "things", "it", "you", "your", "they", "them", "one", "many", "all", "same", "other", "way",
     "lot", "kind", "type"}
)  # fmt: skip


def default_label_words(labels: Iterable[str] = ("PER", "LOC", "ORG", "MISC")) -> LabelWords:
    """The words of the package's own list; case of the labels does not matter.

    Raises:
        UsageError: The list has no such type.
    """
    return select(read_label_words(DEFAULT_FILE), labels, source="the list of this package")


def label_words_for(
    labels: Sequence[str],
    knowledge_base: KnowledgeBase = "textual",
    given: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Words for any types: those that are given, else the package's own, else the type's name itself.

    A type that no list has is written as its concept and that concept's single words, so that
    ``political_party`` is looked for as "political party", "political" and "party".

    Args:
        labels: The types.
        knowledge_base: Which list of the package.
        given: A user's own words for some or all types.

    Raises:
        UsageError: There are words for something that is no type, or a type's words are empty.
    """
    own = dict(given or {})
    for label, words in own.items():
        if label not in labels:
            raise UsageError(
                f"There are label words for {label!r}, which is not one of the types.",
                hint=did_you_mean(label, labels),
            )
        if not words or not all(map(_is_word, words)):
            raise UsageError(
                f"The label words of {label!r} are no list of words.",
                expected='["person", "man", "woman"]',
                got=shown(words),
            )
    listed = {label.lower(): words for label, words in read_label_words(_FILES[knowledge_base]).items()}
    chosen: dict[str, list[str]] = {}
    for label in labels:
        found = own.get(label) or listed.get(label.lower())
        if found is None:
            concepts = default_concepts((label,))[label]
            found = [*concepts, *(word for concept in concepts for word in concept.split())]
        chosen[label] = list(dict.fromkeys(" ".join(word.split()) for word in found))
    return chosen


def default_concepts(labels: Iterable[str] = ("PER", "LOC", "ORG", "MISC")) -> dict[str, tuple[str, ...]]:
    """What each type is written as before it is expanded; unknown types by their own words.

    ``political_party`` is written as ``political party``, ``MISC`` as what the package's list says.
    """
    table = {label.lower(): entry["concepts"] for label, entry in _read_table(DEFAULT_FILE).items()}
    return {
        label: tuple(table.get(label.lower(), (" ".join(label.replace("_", " ").replace("-", " ").split()),)))
        for label in labels
    }


def read_label_words(path: Path | str) -> LabelWords:
    """A user's own list: a TOML or JSON file with a list of words for each type.

    A type's entry is a list of words, or a table with the list under ``words``.

    Raises:
        DataError: The file is not such a list; the message names the type.
    """
    words: LabelWords = {}
    for label, entry in _read_table(Path(path)).items():
        listed = entry.get("words") if isinstance(entry, dict) else entry
        if not isinstance(listed, list) or not listed or not all(map(_is_word, listed)):
            raise DataError(
                f"The words for {shown(label)} in {path} are not a list of words.",
                expected=f'{label} = ["person", "man", "woman"]',
                got=shown(listed),
            )
        words[label] = tuple(dict.fromkeys(" ".join(word.split()) for word in listed))
    return words


def select(words: Mapping[str, Sequence[str]], labels: Iterable[str], *, source: str) -> LabelWords:
    """The words of some types out of a list, under the types' own spelling.

    Raises:
        UsageError: The list lacks a type.
    """
    known = {label.lower(): tuple(listed) for label, listed in words.items()}
    chosen = {}
    for label in labels:
        if label.lower() not in known:
            raise UsageError(
                f"There are no label words for the type {label!r} in {source}.",
                expected=f"one of {', '.join(words)}",
                hint="Give a file with words for your own types, or expand their names with WordNet.",
            )
        chosen[label] = known[label.lower()]
    return chosen


def expand(
    concepts: Mapping[str, Sequence[str]], expansion: Expansion, count: int = WORDS_PER_LABEL
) -> LabelWords:
    """Expand every type to about `count` words, shared evenly among its concepts.

    A word goes to the first type that takes it. Where a concept has too few words, the next ones of the
    same type fill up.

    Args:
        concepts: The concepts of each type.
        expansion: A lexicon, such as `wordnet_expansion` makes it.
        count: Words a type.

    Raises:
        UsageError: The lexicon knows none of a type's concepts.
    """
    taken: set[str] = set()
    expanded: LabelWords = {}
    for label, names in concepts.items():
        offers = [list(expansion(name, count + len(taken))) for name in names]
        if not any(offers):
            raise UsageError(
                f"The lexicon has no words for the type {label!r}, written as {', '.join(names)}.",
                hint="Give other concepts for it, or words of your own.",
            )
        chosen: list[str] = []
        for round_ in range(max(map(len, offers))):
            for offer in offers:
                if round_ < len(offer) and len(chosen) < count and offer[round_] not in taken:
                    chosen.append(offer[round_])
                    taken.add(offer[round_])
        expanded[label] = tuple(chosen)
    return expanded


def wordnet_expansion(wordnet: WordNet, embed: Embed | None = None, *, depth: int = 3) -> Expansion:
    """Expansion by WordNet: the words of a concept's first meaning and of its kinds, down to a depth.

    Only single words in lower case that WordNet's texts use in that meaning are taken (``cntlist.rev``);
    where that file is missing all count alike and the nearest kinds come first.
    """

    def candidates(concept: str) -> dict[str, int]:
        senses = wordnet.synsets(concept)
        if not senses:
            return {}
        found: dict[str, int] = {}
        levels: list[tuple[Synset, int]] = [(senses[0], 0), *wordnet.kinds(senses[0], depth)]
        counted = wordnet.has_counts
        for synset, _ in levels:
            for position, word in enumerate(synset.words):
                frequency = wordnet.count(synset, position) if counted else 1
                if word.isalpha() and word.islower() and frequency:
                    found[word] = max(found.get(word, 0), frequency)
        return found

    return _ranked(candidates, embed)


def conceptnet_expansion(path: Path | str, embed: Embed | None = None) -> Expansion:
    """Expansion by ConceptNet: what the triples directly link with a concept, in either direction.

    Args:
        path: Lines of relation, head and tail (and perhaps a weight), separated by tabs.
        embed: Gives similarities; without it, the terms with most links come first.

    Raises:
        DataError: A line is not a triple.
    """
    links: dict[str, Counter[str]] = {}
    degree: Counter[str] = Counter()
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 3:
                raise DataError(
                    f"Line {number} of {path} is not a triple.",
                    expected="relation, head and tail, separated by tabs",
                    got=shown(line),
                )
            relation, head, tail = fields[:3]
            degree.update((head, tail))
            if relation not in _NEGATED and head != tail:
                links.setdefault(head, Counter())[tail] += 1
                links.setdefault(tail, Counter())[head] += 1

    def candidates(concept: str) -> dict[str, int]:
        # A term of one or two words that says something; its weight is how much ConceptNet says of it.
        near = links.get(concept, Counter())
        found = {
            term: degree[term]
            for term in near
            if len(term.split()) <= 2 and not _NOTHING_SAID.intersection(term.split())
        }
        return {concept: max(degree[concept], 1), **found} if near else {}

    return _ranked(candidates, embed)


def frequency_expansion(counts: Mapping[str, int], embed: Embed) -> Expansion:
    """Expansion by a list of names with frequencies, such as `read_object_counts` reads.

    A list knows no relations, so that this gives the objects nearest to a concept, and not, as a scene
    graph does, what stands beside them.
    """
    return _ranked(lambda _: counts, embed)


def word_list_expansion(
    lists: Mapping[str, Sequence[str]], classes: Mapping[str, str] | None = None
) -> Expansion:
    """Expansion by lists of related words in their own order, such as `read_word_lists` reads.

    The published lists of Related Words follow a word into all its meanings: ``company`` there brings
    ``pot``, ``tummy`` and ``paunch`` after ``corporation``. The first ten words are mostly sound.

    Args:
        lists: The words of each class.
        classes: Which class stands for a concept; the class of the same name where it is not listed.
    """
    names = classes or {}
    return lambda concept, count: list(lists.get(names.get(concept, concept), ()))[:count]


def scene_graph_expansion(
    path: Path | str, embed: Embed, *, seeds: int = 5, neighbours: int = 5, least: int = 1
) -> Expansion:
    """Expansion by Visual Genome's scene graphs, as CAT-MNER's multimodal knowledge base does it.

    The `seeds` objects whose names are nearest to the concept, and the `neighbours` other objects that most
    often stand in a relation with one of those, over all graphs.

    Args:
        path: ``scene_graphs.json``; read piece by piece, so its size does not matter.
        embed: Gives the vectors of names.
        seeds: How many objects are taken by similarity.
        neighbours: How many are taken by frequency.
        least: Objects seen less often are no seeds (the data's hapaxes are mostly misspelt).
    """
    seen: Counter[str] = Counter()
    beside: dict[str, Counter[str]] = {}
    for graph in read_scene_graphs(path):
        names = {thing["object_id"]: _object_name(thing) for thing in graph.get("objects", ())}
        seen.update(name for name in names.values() if name)
        for relation in graph.get("relationships", ()):
            one, other = (names.get(_end(relation, side), "") for side in ("subject", "object"))
            if one and other and one != other:
                beside.setdefault(one, Counter())[other] += 1
                beside.setdefault(other, Counter())[one] += 1
    objects = sorted(name for name, times in seen.items() if times >= least)
    vectors = embed(objects)

    def expansion(concept: str, count: int) -> list[str]:
        if not objects:
            return []
        similarity = vectors @ embed([concept])[0]
        nearest = [objects[index] for index in np.argsort(-similarity, kind="stable")[:seeds]]
        around: Counter[str] = Counter()
        for name in nearest:
            around.update(beside.get(name, Counter()))
        others = sorted(
            (name for name in around if name not in nearest), key=lambda name: (-around[name], name)
        )
        return [*nearest, *others[:neighbours]][:count]

    return expansion


def read_scene_graphs(path: Path | str, *, chunk: int = 1 << 20) -> Iterator[dict[str, Any]]:
    """The graphs of a file that is one JSON list of them, one at a time.

    Args:
        path: The file.
        chunk: Characters read at once.

    Raises:
        DataError: The file is not such a list, or ends in the middle.
    """
    decoder = json.JSONDecoder()
    with Path(path).open(encoding="utf-8") as file:
        rest = file.read(chunk).lstrip()
        if not rest.startswith("["):
            raise DataError(
                f"{path} is not a list of scene graphs.", expected="[{...}, ...]", got=shown(rest)
            )
        rest = rest[1:]
        ended = False
        while True:
            rest = rest.lstrip(" \t\r\n,")
            if rest.startswith("]"):
                return
            try:
                graph, end = decoder.raw_decode(rest)
            except json.JSONDecodeError as error:
                if ended:
                    raise DataError(f"{path} ends in the middle of a graph.", got=shown(rest)) from error
                # Twice as much each time, so that a graph over many chunks is not decoded once a chunk.
                more = file.read(max(chunk, len(rest)))
                ended = not more
                rest += more
                continue
            if not isinstance(graph, dict):
                raise DataError(f"{path} is not a list of scene graphs.", expected="{...}", got=shown(graph))
            yield graph
            rest = rest[end:]


def read_object_counts(path: Path | str) -> dict[str, int]:
    """Names of objects and how often they occur: Visual Genome's ``VG-SGG-dicts`` or a plain list.

    A plain list has a name, perhaps with other spellings after commas, on each line; all count alike.

    Raises:
        DataError: The file is neither.
    """
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix != ".json":
        lines = [line.split(",")[0].strip() for line in text.splitlines()]
        return dict.fromkeys((line for line in lines if line), 1)
    try:
        counts = json.loads(text)["object_count"]
        return {str(name): int(count) for name, count in counts.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} has no counts of objects.", expected='{"object_count": {"man": 51}}'
        ) from error


def read_word_lists(words: Path | str, classes: Path | str) -> dict[str, tuple[str, ...]]:
    """Lists of related words: a line of words separated by commas for each line of a list of classes.

    Raises:
        DataError: The two files have different numbers of lines.
    """
    names = [line.strip() for line in Path(classes).read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [line for line in Path(words).read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(names) != len(rows):
        raise DataError(
            f"{words} and {classes} do not belong together.",
            expected=f"{len(names)} lines",
            got=str(len(rows)),
        )
    return {
        name: tuple(dict.fromkeys(word.strip() for word in row.split(",") if word.strip()))
        for name, row in zip(names, rows, strict=True)
    }


def _ranked(candidates: Callable[[str], Mapping[str, int]], embed: Embed | None) -> Expansion:
    # Vectors of words are asked for once; the concepts of a type share most of their candidates.
    known: dict[str, Any] = {}

    def expansion(concept: str, count: int) -> list[str]:
        frequency = candidates(concept)
        words = sorted(frequency)
        if embed is None:
            return sorted(words, key=lambda word: (-frequency[word], word))[:count]
        new = [word for word in dict.fromkeys([concept, *words]) if word not in known]
        if new:
            known.update(zip(new, embed(new), strict=True))
        score = {
            word: max(float(known[word] @ known[concept]), 0.0) ** 2 * log1p(frequency[word])
            for word in words
        }
        return sorted(words, key=lambda word: (-score[word], word))[:count]

    return expansion


def _read_table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The label words in {path} cannot be read.", expected="a TOML or JSON file", got=str(error)
        ) from error
    if not isinstance(table, dict) or not table:
        raise DataError(f"{path} has no label words.", expected='PER = ["person", "man"]', got=shown(table))
    return table


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _object_name(thing: Mapping[str, Any]) -> str:
    names = thing.get("names") or [thing.get("name", "")]
    return " ".join(str(names[0]).lower().split())


def _end(relation: Mapping[str, Any], side: str) -> Any:
    # The file's older version nests the objects in their relations.
    nested = relation.get(side)
    return nested.get("object_id") if isinstance(nested, dict) else relation.get(f"{side}_id")
