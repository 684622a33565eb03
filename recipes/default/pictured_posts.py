"""Writes posts with an ambiguous name, each several times with something else said about its picture.

In real tweets the text nearly always tells the type of a name, and a model that trains on nothing else
learns to leave the picture alone. These posts ("Phoenix never looked better") are typed by what is said
about the picture, a caption or text read from it; a third of the posts say the type in their text, beside a
picture that has nothing to do with it. Names, sentences and pictures of one split stand in no other.

    python recipes/default/pictured_posts.py runs/default/pictured
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

TYPES = ("PER", "LOC", "ORG", "MISC")
SIZES = {"train": 960, "valid": 160, "test": 400}

# Each list is dealt out to the splits: of every ten entries seven, one and two.
NAMES = """
Phoenix, Austin, Chelsea, Lincoln, Madison, Jackson, Sydney, Florence, Victoria, Orlando, Houston, Brooklyn,
Carolina, Georgia, Savannah, Dakota, Charlotte, Cleveland, Hudson, Hamilton, Lancaster, Kingston, Bristol,
Santiago, Sofia, Vienna, Verona, Siena, Alexandria, Adelaide, Milan, Valencia, Santos, Everton, Arsenal,
Preston, Burnley, Derby, Reading, Wolfsburg, Hoffman, Bentley, Ferrari, Porsche, Dyson, Ford, Benz, Tesla,
Edison, Bosch, Siemens, Philips, Nokia, Marshall, Gibson, Fender, Wilson, Spalding, Adidas, Puma, Chanel,
Armani, Versace, Prada, Gucci, Boss, Levi, Wrangler, Morgan, Goldman, Barclay, Lloyds, Chase, Wells, Schwab,
Disney, Warner, Marvel, Atlas, Titan, Apollo, Orion, Luna, Stella, Aurora, Nova, Zara, Shell, Apple, Amazon,
Oracle, Delta, Virgin, Emirates, Raven, Jaguar, Falcon, Eagle, Panther, Viking, Saxon, Trojan, Spartan, Celtic,
Rangers, Lakers, Rockies, Sierra, Rio, Vegas, Denver, Dallas, Boston, Memphis, Nash, Selma, Juneau, Logan,
Tyler, Taylor, Carson, Mason, Parker, Hunter, Chester, Stafford, Clinton, Monroe, Jefferson, Franklin, Grant,
Sherman, Sheridan, Custer, Bolivar, Columbus, Magellan, Vespucci, Hawking, Newton, Kepler, Galileo, Curie
""".replace("\n", " ").split(",")

OPEN = """
So this is {x} then | {x} never looked better | Still thinking about {x} | I could look at {x} all day |
Good morning , {x} | {x} again , and I love it | Look at {x} tonight | Thank you {x} , what a day |
Nothing beats {x} | Missing {x} already | {x} is everything | Tell me you love {x} without telling me |
Here is {x} as promised | Throwback to {x} | Can we talk about {x} for a second | RT if you love {x} |
My heart belongs to {x} | {x} , forever | Not sure how I feel about {x} now | Remember {x} ? |
I will always defend {x} | We love you {x} | Finally {x} ! | They said {x} was overrated . They were wrong |
Is it too early to say that {x} is the best ? | {x} this morning | Wow , {x} . Just wow |
First time with {x} and I am speechless | Everybody is talking about {x} | What happened to {x} ? |
{x} on a Sunday | Nobody does it like {x} | Just {x} | You can keep the rest , I take {x} |
All I want is {x} | This is why I love {x} so much | {x} in all its glory | Proud of {x} |
I never get tired of {x} | Who else is a fan of {x} ?
"""

CLEAR = {
    "PER": """
my friend {x} turns 30 today | {x} scored twice last night , what a player | so sad to hear that {x} died |
{x} says he will run for president | dinner with {x} and her husband | {x} and his brother are in the studio |
watching {x} sing live | our captain {x} is injured again
""",
    "LOC": """
flying to {x} tomorrow morning | heavy rain in {x} all week | moved to {x} two years ago |
the streets of {x} are empty tonight | fire at a hotel in downtown {x} | road trip from {x} to the coast |
born and raised in {x} | the mayor of {x} will resign
""",
    "ORG": """
{x} shares fall after weak earnings | {x} signs a striker on a free transfer | I work for {x} as an engineer |
{x} to cut 500 jobs | {x} beat the champions 3 - 1 | the CEO of {x} resigned today |
applied for a job at {x} | {x} opens a new store here
""",
    "MISC": """
just finished season two of {x} , what an ending | bought the new {x} and the battery is great |
{x} wins best picture | playing {x} on the console all night | my cat {x} sleeps all day |
the {x} festival starts on Friday | reading {x} for the third time | the {x} trailer is out
""",
}

SAID = {
    "PER": (
        """
a man | a woman | a young man with a beard | an old lady | a boy | a little girl | a smiling woman in a red dress |
a man in a suit and tie | a basketball player in a white jersey | a soccer player | a singer with long hair |
a bald man | two men | a couple | an actress | a man in glasses | a teenager in a hoodie | a tennis player |
a rapper in sunglasses | a politician
""",
        """
holding a microphone on a stage | sitting at a table | smiling at the camera | dunking the ball | playing a guitar |
giving a speech at a podium | taking a selfie in a mirror | on the red carpet | running across the field |
talking on tv | standing in front of a crowd | holding a baby | shaking hands | in a black and white portrait |
celebrating a goal | with a trophy in his hands
""",
    ),
    "LOC": (
        """
a view of a city skyline | a map of a country | a river winding through a valley | a sandy beach | snowy mountains |
a street with old houses | an aerial view of a harbour | a desert landscape | a castle on a hill | a bridge over a river |
a town square with a fountain | a lake surrounded by trees | a village in the hills | a road sign by a highway |
a satellite image of a coast | ruins of an old temple | a skyscraper | a crowded market street | a palm lined avenue |
a map with roads and borders
""",
        """
at sunset | at night | under a blue sky | from above | in the fog | in winter | with cars passing by | in the distance |
on a sunny day | in black and white | seen from an airplane | covered in snow | with clouds over it | at dawn |
during a storm | in autumn
""",
    ),
    "ORG": (
        """
the logo of a company | a football team in blue shirts | an office building with a sign | the crest of a football club |
a shop front with large windows | a delivery truck with a logo | employees in uniform | a company headquarters |
a bank branch | a baseball team lined up | a press conference with sponsors' logos | a factory hall |
a storefront with customers waiting | a team badge | an airline counter | a hockey team on the ice | a scoreboard |
a stock chart with a company name | a band of four people | a newspaper office
""",
        """
on a white background | posing for a photo | in a stadium | with a large banner | on the side of a building |
on a blue flag | at an industry fair | behind a counter | before the match | next to a price list | on a screen |
in a shopping mall | celebrating the championship | on a business card | with a slogan below | in red letters
""",
    ),
    "MISC": (
        """
a movie poster | an album cover | a red sports car | a smartphone | a book cover | a screenshot of a video game |
a festival stage | a trophy | a small brown dog | a black cat | a tv show title card | a bottle of wine | a pair of sneakers |
a comic book | a laptop computer | a racing horse | a box of chocolates | a medal | a game console | a guitar
""",
        """
on a table | in a box | on display | in a shop window | on the floor | with a price tag | in bright colours |
with the release date | on a shelf | in the grass | with the title in large letters | with dramatic lighting |
next to a cup of coffee | in a collage | on a black background | in a museum case
""",
    ),
}

READ = {
    "PER": """
{X} FOR MAYOR 2016 | HAPPY BIRTHDAY {X} | {X} 23 | DR. {X} M.D. | MR {X} | VOTE {X} | {X} 7 PORTUGAL | REST IN PEACE {X} 1951 - 2016 |
{X} LIVE IN CONCERT | MEET {X} TODAY AT NOON | SENATOR {X} | MISS {X} | COACH {X} | {X} MVP 10
""",
    "LOC": """
WELCOME TO {X} | {X} 12 MILES | {X} CITY LIMITS POP. 4512 | GREETINGS FROM {X} | MAP OF {X} | {X} RIVER | {X} AIRPORT |
VISIT {X} | EXIT 14 {X} | {X} NATIONAL PARK | {X} NORTH SEA COAST | {X} CENTRAL STATION | {X} HARBOUR | UNIVERSITY AVE {X} CAPITAL
""",
    "ORG": """
{X} INC. | {X} F.C. EST. 1899 | {X} & CO | {X} BANK | {X} HEADQUARTERS | {X} UNITED 2 - 1 | {X} GROUP PLC | {X} CUSTOMER SERVICE |
JOIN {X} WE ARE HIRING | {X} STORES OPEN SUNDAY | {X} AIRLINES CHECK-IN | {X} LTD. | TEAM {X} | {X} CORPORATION ANNUAL REPORT
""",
    "MISC": """
{X} IN CINEMAS JULY 4 | {X} SEASON 2 | THE NEW {X} PRO | {X} CHAMPIONSHIP | {X} : A NOVEL | {X} - THE GAME | {X} THE ALBUM OUT NOW |
{X} FESTIVAL LINEUP | {X} XL 64GB | {X} AWARDS | {X} VOL. 3 | {X} THE MUSICAL | {X} GT TURBO | {X} EPISODE IV
""",
}


def _dealt(entries: str | list[str]) -> dict[str, list[str]]:
    """The entries of each split; a list that is written is taken in its order."""
    items = entries.split("|") if isinstance(entries, str) else entries
    items = [" ".join(item.split()) for item in items]
    places = {"train": (0, 1, 3, 4, 6, 8, 9), "valid": (5,), "test": (2, 7)}
    return {
        split: [item for number, item in enumerate(items) if number % 10 in chosen]
        for split, chosen in places.items()
    }


def _said(label: str, name: str, split: str, random: np.random.Generator) -> tuple[str, str]:
    """A kind of knowledge and its text."""
    if random.random() < 0.35:
        return "ocr", str(random.choice(_dealt(READ[label])[split])).format(X=name.upper())
    what, how = (str(random.choice(_dealt(half)[split])) for half in SAID[label])
    return "caption", f"{what} {how}"


def write_pictured_posts(folder: Path, seed: int = 1) -> None:
    """Write the splits, ``caption.jsonl`` and ``ocr.jsonl``.

    Args:
        folder: The folder, made where it is missing.
        seed: Decides everything that is random.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    names, sentences = _dealt(NAMES), _dealt(OPEN)
    clear = {label: _dealt(lines) for label, lines in CLEAR.items()}
    knowledge: dict[str, list[dict[str, str]]] = {"caption": [], "ocr": []}
    for split, size in SIZES.items():
        records = []
        # Two groups of four that the picture decides, then one group of four that the text does.
        for group in itertools.count():
            if len(records) >= size:
                break
            name = str(random.choice(names[split]))
            sentence = str(random.choice(sentences[split]))
            for label in TYPES:
                shown = label
                if group % 3 == 2:
                    sentence = str(random.choice(clear[label][split] or clear[label]["train"]))
                    shown = str(random.choice(TYPES))
                start = sentence.index("{x}")
                text = sentence.replace("{x}", name)
                identity = f"{split}{len(records)}"
                kind, said = _said(shown, name, split, random)
                knowledge[kind].append({"id": identity, kind: said})
                entity = {"start": start, "end": start + len(name), "label": label}
                records.append({"id": identity, "text": text, "entities": [entity]})
        _write(folder / f"{split}.jsonl", records[:size])
    for kind, said_of in knowledge.items():
        _write(folder / f"{kind}.jsonl", said_of)


def _write(path: Path, records: list[dict[str, object]] | list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    write_pictured_posts(parser.parse_args().folder)
