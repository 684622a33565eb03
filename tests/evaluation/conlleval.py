"""The CoNLL evaluation script's way of counting, as an oracle for the scores.

A port of the algorithm of conlleval (Tjong Kim Sang, CoNLL-2000 shared task), with its two tables written
out as they stand in the Perl script: one pass over the words, no spans anywhere. The Perl script knows B, I,
E, O and brackets (left out here); its E is that of the scheme in which only a chunk right before another of
its type ends with E.
Rows marked with a star are the usual addition for schemes in which every chunk ends with E or is S.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

END_OF_CHUNK = {
    ("B", "B"),
    ("B", "O"),
    ("I", "B"),
    ("I", "O"),
    ("E", "E"),
    ("E", "I"),
    ("E", "O"),
    ("E", "B"),  # *
    ("E", "S"),  # *
    ("B", "S"),  # *
    ("I", "S"),  # *
    ("S", "B"),  # *
    ("S", "I"),  # *
    ("S", "O"),  # *
    ("S", "E"),  # *
    ("S", "S"),  # *
}
START_OF_CHUNK = {
    ("B", "B"),
    ("I", "B"),
    ("O", "B"),
    ("O", "I"),
    ("E", "E"),
    ("E", "I"),
    ("O", "E"),
    ("E", "B"),  # *
    ("E", "S"),  # *
    ("B", "S"),  # *
    ("I", "S"),  # *
    ("O", "S"),  # *
    ("S", "B"),  # *
    ("S", "I"),  # *
    ("S", "E"),  # *
    ("S", "S"),  # *
}


def _split(tag: str) -> tuple[str, str]:
    prefix, _, label = tag.partition("-")
    return prefix, label


def end_of_chunk(previous: str, tag: str, previous_type: str, type_: str) -> bool:
    return (previous, tag) in END_OF_CHUNK or (previous != "O" and previous_type != type_)


def start_of_chunk(previous: str, tag: str, previous_type: str, type_: str) -> bool:
    return (previous, tag) in START_OF_CHUNK or (tag != "O" and previous_type != type_)


def count(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, tuple[int, int, int]]:
    """For each type the numbers of gold, guessed and correct chunks."""
    found_correct: dict[str, int] = defaultdict(int)
    found_guessed: dict[str, int] = defaultdict(int)
    correct_chunk: dict[str, int] = defaultdict(int)
    in_correct = False
    last_correct = last_guessed = "O"
    last_correct_type = last_guessed_type = ""
    # An empty line of the script's input stands for a sentence border and reads as O.
    rows = [
        pair
        for true, guess in zip(gold, predicted, strict=True)
        for pair in [*zip(true, guess, strict=True), ("O", "O")]
    ]
    for correct_tag, guessed_tag in rows:
        correct, correct_type = _split(correct_tag)
        guessed, guessed_type = _split(guessed_tag)
        if in_correct:
            correct_ends = end_of_chunk(last_correct, correct, last_correct_type, correct_type)
            guessed_ends = end_of_chunk(last_guessed, guessed, last_guessed_type, guessed_type)
            if correct_ends and guessed_ends and last_guessed_type == last_correct_type:
                in_correct = False
                correct_chunk[last_correct_type] += 1
            elif correct_ends != guessed_ends or guessed_type != correct_type:
                in_correct = False
        correct_starts = start_of_chunk(last_correct, correct, last_correct_type, correct_type)
        guessed_starts = start_of_chunk(last_guessed, guessed, last_guessed_type, guessed_type)
        if correct_starts and guessed_starts and guessed_type == correct_type:
            in_correct = True
        if correct_starts:
            found_correct[correct_type] += 1
        if guessed_starts:
            found_guessed[guessed_type] += 1
        last_correct, last_correct_type = correct, correct_type
        last_guessed, last_guessed_type = guessed, guessed_type
    if in_correct:
        correct_chunk[last_correct_type] += 1
    labels = set(found_correct) | set(found_guessed)
    return {label: (found_correct[label], found_guessed[label], correct_chunk[label]) for label in labels}


def precision_recall_f1(gold: int, guessed: int, correct: int) -> tuple[float, float, float]:
    """The script's percentages as fractions, with its own guards against division by zero."""
    precision = correct / guessed if guessed > 0 else 0.0
    recall = correct / gold if gold > 0 else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return precision, recall, f1
