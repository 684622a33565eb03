"""A WordNet of eleven synsets, written by hand, for tests of whatever reads WordNet."""

from __future__ import annotations

import re
from pathlib import Path

# The format is that of wndb(5WN): the header's two spaces, hexadecimal word counts, pointers, glosses with
# examples. Names in braces stand for byte offsets and are filled in below.
_DATA = """\
  1 This little file is written for tests.
{entity} 03 n 01 entity 0 002 ~ {person} n 0000 ~ {place} n 0000 | that which exists
{person} 03 n 02 person 0 individual 1 005 @ {entity} n 0000 ~ {child} n 0000 ~ {leader} n 0000 \
+ 00000001 v 0101 #m {people} n 0000 | \
a human being; "too much for one person to do"
{child} 18 n 02 child 0 young_person 0 002 @ {person} n 0000 ~ {pupil} n 0000 | \
a young person; "she writes books for children"; "they're just kids"
{pupil} 18 n 01 pupil 0 001 @ {child} n 0000 | a child at school
{leader} 18 n 01 leader 0 002 @ {person} n 0000 ~i {lincoln} n 0000 | who rules or guides
{lincoln} 18 n 02 Lincoln 0 Abraham_Lincoln 0 001 @i {leader} n 0000 | \
16th President of the United States; saved the Union
{place} 15 n 01 place 0 003 @ {entity} n 0000 ~ {city} n 0000 ~ {capital} n 0000 | a point in space
{city} 15 n 01 city 0 002 @ {place} n 0000 ~i {nebraska} n 0000 | a large town
{capital} 15 n 01 capital 0 002 @ {place} n 0000 ~i {nebraska} n 0000 | a seat of government
{nebraska} 15 n 01 Lincoln 1 002 @i {city} n 0000 @i {capital} n 0000 | capital of the state of Nebraska
{people} 14 n 01 people 0 001 %m {person} n 0000 | persons | with a bar
"""
_INDEX = """\
  1 This little file is written for tests.
abraham_lincoln n 1 1 @i 1 0 {lincoln}
capital n 1 1 @ 1 0 {capital}
child n 1 1 @ 1 1 {child}
city n 1 1 @ 1 0 {city}
entity n 1 1 ~ 1 0 {entity}
individual n 1 1 @ 1 0 {person}
leader n 1 1 @ 1 0 {leader}
lincoln n 2 1 @i 2 1 {lincoln} {nebraska}
people n 1 1 %m 1 0 {people}
person n 1 2 @ ~ 1 1 {person}
place n 1 1 @ 1 0 {place}
pupil n 1 1 @ 1 0 {pupil}
young_person n 1 1 @ 1 0 {child}
"""
_COUNTS = "child%1:18:00:: 1 40\nperson%1:03:00:: 1 100\nindividual%1:03:01:: 1 7\nleader%1:18:00:: 1 5\n"


def write_wordnet(folder: Path) -> dict[str, int]:
    """The little WordNet as files; gives every synset's offset by name."""
    offsets, position = {}, 0
    for line in _DATA.splitlines(keepends=True):
        if line.startswith("{"):
            offsets[line[1 : line.index("}")]] = position
        position += len(re.sub(r"\{\w+\}", "0" * 8, line).encode())
    filled = {name: f"{offset:08d}" for name, offset in offsets.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.noun").write_text(_DATA.format(**filled), encoding="utf-8", newline="\n")
    (folder / "index.noun").write_text(_INDEX.format(**filled), encoding="utf-8", newline="\n")
    (folder / "noun.exc").write_text("children child\npeople person people\n", encoding="utf-8")
    (folder / "cntlist.rev").write_text(_COUNTS, encoding="utf-8")
    return offsets
