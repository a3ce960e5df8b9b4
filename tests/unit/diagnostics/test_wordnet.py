"""WordNet's files: a fixture of a few synsets in their format, and the real ones where they are installed."""

import pytest
import toy

from plugins.diagnostics import wordnet
from plugins.errors import UserError

LICENSE = "  1 This software and database is being provided to you\n"
SYNSETS = [  # words, hypernym; the root first
    ("entity", None), ("animal beast", 0), ("canine", 1), ("dog domestic_dog", 2), ("person", 0), ("man", 4),
    ("box", 0), ("Hot_Dog", 1),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Twenty lines in the formats of wndb(5WN)."""
    offsets, data = [], LICENSE
    for words, above in SYNSETS:
        offsets.append(len(data))
        names = words.split()
        pointers = "000" if above is None else f"001 @ {offsets[above]:08d} n 0000"
        listed = " ".join(f"{name} 0" for name in names)
        data += f'{offsets[-1]:08d} 03 n {len(names):02x} {listed} {pointers} | a definition; "with | bars"\n'
    index = LICENSE
    for (words, _), offset in zip(SYNSETS, offsets, strict=True):
        for word in words.split():
            index += f"{word.lower()} n 1 1 @ 1 0 {offset:08d}\n"
    (tmp_path / "data.noun").write_text(data)
    (tmp_path / "index.noun").write_text(index)
    (tmp_path / "noun.exc").write_text("men man\n")
    return tmp_path


def test_chain_to_the_root(folder):
    nouns = wordnet.load(folder)
    assert nouns.chain("dog") == ["dog", "canine", "animal", "entity"]
    assert nouns.hypernym("entity") is None and nouns.hypernym("nonsense") is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [("dog", "canine"), ("Dogs", "Canines"), ("DOG", "CANINE"), ("men", "persons"), ("boxes", "entities"),
     ("hot dog", "animal"), ("entity", None), ("runs", None)],
)  # fmt: skip
def test_case_and_number_are_kept(folder, word, expected):
    assert wordnet.load(folder).substitute(word) == expected


def test_missing_and_damaged_files_are_named(folder, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    with toy.refused("--wordnet", "empty"):
        wordnet.find(empty)
    monkeypatch.setattr(wordnet, "PLACES", ())
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    with toy.refused("wordnet-base", "--wordnet"):
        wordnet.find()
    monkeypatch.setenv("WNSEARCHDIR", str(folder))
    assert wordnet.find() == folder
    (folder / "index.noun").write_text("dog n x\n")
    with toy.refused("index.noun:1"):
        wordnet.load.__wrapped__(folder)
    (folder / "index.noun").write_text("dog n 1 1 @ 1 0 00000003\n")
    with toy.refused("data.noun"):
        wordnet.load.__wrapped__(folder).hypernym("dog")


def test_wordnet_3_is_read():
    try:
        nouns = wordnet.load(wordnet.find())
    except UserError:
        pytest.skip("needs WordNet 3.0: apt-get install wordnet-base")
    assert nouns.index["dog"][0] == 2084071 and nouns.synset(2084071)[1] == [2083346, 1317541]
    assert len(nouns.chain("dog")) == 14 and nouns.chain("dog")[-1] == "entity"
    assert nouns.hypernym("king") == "sovereign" and len(nouns.index) == 117798


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("city", "cities"), ("day", "days"), ("box", "boxes"), ("church", "churches"), ("dish", "dishes"),
     ("bus", "buses"), ("cat", "cats"), ("buzz", "buzzes"), ("guy", "guys")],
)  # fmt: skip
def test_plurals_are_regular(noun, expected):
    assert wordnet.plural(noun) == expected


def test_a_synset_has_its_words_and_only_hypernyms_of_nouns(folder):
    pointers = "~ 00000007 n 0000 @ 00000008 n 0000 @i 00000009 n 0000 @ 00000005 v 0000"
    line = f"00000000 03 n 02 big_cat 0 lion 1 004 {pointers} | x\n"
    nouns = wordnet.WordNet({"lion": [0, 5]}, line.encode(), {})
    assert nouns.synset(0) == (["big cat", "lion"], [8, 9])
    assert wordnet.WordNet({}, line.rstrip("\n").encode(), {}).synset(0)[1] == [8, 9]
    many = "00000000 03 n 0b " + " ".join(f"w{i} 0" for i in range(11)) + " 000 | x"
    assert len(wordnet.WordNet({}, many.encode(), {}).synset(0)[0]) == 11, "their number is hexadecimal"
    for damaged in ("00000000 03 n zz", "00000000 03 n 02 a 0", "", "00000004 03 n 01 a 0 000"):
        with toy.refused("data.noun"):
            wordnet.WordNet({}, damaged.encode(), {}).synset(0)


def test_a_cycle_of_hypernyms_ends():
    line = "00000000 03 n 01 a 0 001 @ 00000000 n 0000 | x\n"
    assert wordnet.WordNet({"a": [0]}, line.encode(), {}).chain("a") == ["a"] * 100
    assert wordnet.WordNet({}, b"", {}).chain("a") == []


def test_senses_are_the_last_fields_and_a_split_data_file_is_joined(folder):
    data = (folder / "data.noun").read_bytes()
    end = data.index(b"\n", len(LICENSE)) + 1
    dog = wordnet.load.__wrapped__(folder).index["dog"][0]
    (folder / "data.noun").unlink()
    (folder / "data.noun1").write_bytes(data[: end - 1])
    (folder / "data.noun2").write_bytes(data[end:])
    (folder / "noun.exc").unlink()
    text = (folder / "index.noun").read_text() + f"pet n 2 1 @ 2 1 {dog:08d} 00000009\n"
    (folder / "index.noun").write_text(text)
    assert wordnet.find(folder) == folder
    nouns = wordnet.load.__wrapped__(folder)
    assert nouns.data == data and nouns.index["pet"] == [dog, 9] and nouns.hypernym("pet") == "canine"
    assert nouns.exceptions == {} and nouns.lemma("Domestic dog") == "domestic_dog" and nouns.lemma("men") == "man"
    (folder / "index.noun").write_bytes(b"\xff\xfe")
    with toy.refused(str(folder), "WordNet"):
        wordnet.load.__wrapped__(folder)
    (folder / "index.noun").unlink()
    with toy.refused("index.noun"):
        wordnet.load.__wrapped__(folder)


def test_a_letter_is_not_all_capitals(folder):
    nouns = wordnet.load.__wrapped__(folder)
    nouns.index["x"] = nouns.index["dog"]
    assert nouns.substitute("X") == "Canine"
