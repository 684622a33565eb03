"""The words of the image probe: names, posts, and what is said about its pictures.

Posts are templates with names in them; what they show of a name's type is decided here. What is said about
a picture is put together from what was drawn and never names a type, nor any noun by which a post does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

TYPES = ("PER", "LOC", "ORG", "MISC")
"""The types; what is drawn for each stands in `KINDS`."""

KINDS: dict[str, str] = {"PER": "person", "LOC": "building", "ORG": "emblem", "MISC": "animal"}
"""What is drawn for each type."""

NOUNS: dict[str, tuple[str, ...]] = {
    "PER": ("teacher", "doctor", "singer", "nurse"),
    "LOC": ("town", "village", "harbour", "valley"),
    "ORG": ("company", "bank", "firm", "newspaper"),
    "MISC": ("dog", "cat", "horse", "parrot"),
}
"""The nouns by which a text says of what type a name is."""

ALONE: tuple[str, ...] = (
    "Look at {x} here",
    "{x} was drenched in the rain",
    "What a day it was with {x}",
    "We finally saw {x} today",
    "Nobody had told me about {x} before",
    "I could look at {x} for hours",
    "So this is {x} then",
    "Still thinking of {x}",
    "First picture of {x} , at last",
    "Good morning from me and {x}",
    "{x} again , and how lovely in the evening",
    "You should have seen {x} today",
    "Nothing like {x} in the morning",
    "Who else remembers {x} , I wonder",
    "Here is {x} as promised",
    "My mother never liked {x}",
)
"""Posts with one name whose type nothing in the text tells."""

FOCUS: tuple[str, ...] = (
    "look at {x} here",
    "here you see {x}",
    "this is {x} in the picture",
    "a photo of {x} for you",
    "finally a picture of {x}",
    "the picture shows {x}",
    "see how lovely {x} is",
    "{x} as seen today",
)
"""The half of a post with two names that speaks of the picture."""

ASIDE: dict[str, tuple[str, ...]] = {
    "PER": ("said {y} the {n}", "says my {n} {y}", "writes {y} , a {n}", "thanks to the {n} {y}"),
    "LOC": ("greetings from the {n} of {y}", "back from {y} , a {n}", "sent from {y} , our {n}"),
    "ORG": ("paid for by the {n} {y}", "an idea of {y} , the {n}", "printed by the {n} {y}"),
    "MISC": ("while our {n} {y} sleeps", "and {y} the {n} waits", "my {n} {y} is tired"),
}
"""The other half: a name whose type stands in the text, and whose affair the picture is not."""

PAIR: tuple[str, ...] = (
    "One is a {a} , one a {b} : the picture shows {x} , and not {y}",
    "Of a {a} and a {b} you see {x} here , while {y} is missing",
    "{y} is missing and {x} is in the picture , a {a} and a {b}",
    "A {a} and a {b} : {x} in front of you , {y} far away",
    "Both dear to me , a {a} and a {b} : not {y} but {x} in the picture",
)
"""Two names of two types, of which the picture shows one: the type of the other follows by elimination."""

CLEAR: dict[str, tuple[str, ...]] = {
    "PER": ("The {n} {x} wrote a long letter", "My {n} {x} is ill again", "We met {x} , a {n} , by chance"),
    "LOC": ("We moved to the {n} of {x}", "It rained all week in {x} , a {n}", "The {n} of {x} is far away"),
    "ORG": ("The {n} {x} lost money this year", "I work for {x} , a {n}", "They sold the {n} {x} again"),
    "MISC": (
        "Our {n} {x} ran away last night",
        "I must feed {x} , our {n}",
        "The {n} {x} is eleven years old",
    ),
}
"""Posts whose text tells the type, and whose pictures have nothing to do with them."""

_ONSETS = (
    "B",
    "D",
    "F",
    "G",
    "H",
    "J",
    "K",
    "L",
    "M",
    "N",
    "P",
    "R",
    "S",
    "T",
    "V",
    "W",
    "Br",
    "Kl",
    "St",
    "Tr",
)
_MIDDLES = ("a", "e", "i", "o", "u", "ai", "ei", "ou")
_SECONDS = ("d", "k", "l", "m", "n", "r", "s", "t", "v", "ld", "nd", "rk")
_ENDS = ("an", "ar", "el", "en", "ia", "in", "is", "o", "on", "or", "us", "y")


def each_name(random: np.random.Generator) -> Iterator[str]:
    """Invented names, none twice, in random order; there are 23 040."""
    total = len(_ONSETS) * len(_MIDDLES) * len(_SECONDS) * len(_ENDS)
    for index in random.permutation(total).tolist():
        index, end = divmod(index, len(_ENDS))
        index, second = divmod(index, len(_SECONDS))
        onset, middle = divmod(index, len(_MIDDLES))
        yield _ONSETS[onset] + _MIDDLES[middle] + _SECONDS[second] + _ENDS[end]


def pieces_of_names() -> tuple[list[str], list[str]]:
    """What names are put together from: the first pieces, and those that follow."""
    starts = [onset + middle for onset in _ONSETS for middle in _MIDDLES]
    return starts, [second + end for second in _SECONDS for end in _ENDS]


def fill(template: str, parts: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """A template with its parts put in, and where each stands in the text.

    Args:
        template: Words with places such as ``{x}``.
        parts: What goes in, by place.
    """
    text = ""
    places: dict[str, tuple[int, int]] = {}
    for piece in template.replace("{", "\0{").replace("}", "}\0").split("\0"):
        if piece.startswith("{"):
            value = parts[piece[1:-1]]
            places[piece[1:-1]] = (len(text), len(text) + len(value))
            text += value
        else:
            text += piece
    return text, places


_SAID = {
    "caption": (
        "{0} and {1} on a {2} background",
        "there is {0} with {1} , all {2} behind",
        "we see {0} , {1} and something {2}",
        "{0} before a {2} wall of colour , {1}",
        "{1} , {0} , {2} all around",
    ),
    "auxiliary": (
        "The drawing shows {0} and {1} . One can also see {3} . Behind is something {2} .",
        "On a {2} background there is {0} , and there is {1} . We also see {3} .",
        "What can be seen is {0} , with {1} and {3} , all before something {2} .",
    ),
    "seen": (
        "The picture shows {0} and {1} before something {2} .",
        "In the picture there is {0} with {1} , {2} behind .",
        "One can see {0} , {1} and {3} .",
    ),
}
_COUNTED = {
    1: ("There is one name in the post .", "The post names one thing .", "One name stands in the post ."),
    2: ("There are two names in the post .", "The post names two things .", "Two names stand in the post ."),
}
_JUDGED = {
    True: ("The picture goes with the post .", "The post is about what is seen .", "What is seen is meant ."),
    False: (
        "The picture does not go with the post .",
        "The post is not about what is seen .",
        "What is seen is not meant .",
    ),
}

SPLITS = ("train", "valid", "test")


def pool_of(text: str) -> str:
    """The one split in which a sentence about a picture may stand."""
    share = zlib.crc32(text.encode()) % 10
    return "test" if share < 3 else "valid" if share == 3 else "train"


def said_of(
    traits: Sequence[str], background: str, split: str, form: str, random: np.random.Generator
) -> str:
    """A sentence about a picture that stands in this split alone.

    Args:
        traits: What can be said of what is drawn.
        background: What can be said of the background.
        split: The split.
        form: ``caption``, ``auxiliary`` or ``seen``.
        random: What is random comes from here.
    """
    while True:
        template = _SAID[form][random.integers(len(_SAID[form]))]
        chosen = [traits[index] for index in random.choice(len(traits), 3, replace=False)]
        text = template.format(chosen[0], chosen[1], background, chosen[2]).replace("a orange", "an orange")
        if pool_of(text) == split:
            return text


def chain_of(seen: str, names: int, related: bool, random: np.random.Generator) -> tuple[str, str, str]:
    """A chain of three steps: what is named, what is seen, and whether the two belong together."""
    counted, judged = _COUNTED[names], _JUDGED[related]
    return counted[random.integers(len(counted))], seen, judged[random.integers(len(judged))]


def words_of_posts() -> set[str]:
    """All words of the posts besides names."""
    templates = [*ALONE, *FOCUS, *PAIR, ",", ":"]
    templates += [text for by_type in (ASIDE, CLEAR) for texts in by_type.values() for text in texts]
    words = {word for text in templates for word in text.split() if not word.startswith("{")}
    # A half of a post may begin it.
    words |= {word.capitalize() for text in (*FOCUS, *sum(ASIDE.values(), ())) for word in text.split()[:1]}
    return words | {noun for nouns in NOUNS.values() for noun in nouns}


def words_of_templates_about_pictures() -> set[str]:
    """All words that are said of pictures besides those that name what is drawn."""
    templates = [text for texts in _SAID.values() for text in texts]
    templates += [text for table in (_COUNTED, _JUDGED) for texts in table.values() for text in texts]
    return {word for text in templates for word in text.split() if not word.startswith("{")}
