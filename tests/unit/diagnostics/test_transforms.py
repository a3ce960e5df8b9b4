"""Inputs with one attribute of the text."""

import pytest
import toy

from plugins.diagnostics import transforms

PAIR = [["A man runs home.", "x"], ["The man is home", "y"]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full", ("A man runs home.", "The man is home")),
        ("empty", ("",)),
        ("first", ("A man runs home.",)),
        ("second", ("The man is home",)),
        ("length", ("4", "4")),
        ("overlap", ("man home",)),
        ("start:2", ("A man", "The man")),
    ],
)
def test_transforms_keep_their_part_of_the_text(name, expected):
    columns = transforms.apply(transforms.make(name, 2), PAIR)
    assert tuple(column[0] for column in columns) == expected


def test_lists_of_words(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("MAN\n\nhome\n")
    found = {kind: transforms.make(f"{kind}:{path}", 1)(("A man runs home.",), 0)[0] for kind in ("words", "without")}
    assert found == {"words": "man home", "without": "A runs ."}
    assert transforms.make(f"masked:{path}", 1)(("A man runs.",), 0) == ("A <mask> runs.",)


def test_matched_words_are_others_of_the_same_frequency(tmp_path):
    """Four words in 40 rows, 40 in three, and the listed ones in as many: their partners are the only equals."""
    often, seldom = ["ab", "cd", "the", "of"], [f"w{i}" for i in range(40)]
    texts = [[f"{' '.join(often) if i < 40 else ''} {' '.join(seldom) if i < 3 else ''} rest{i}" for i in range(60)]]
    (tmp_path / "list.txt").write_text("AB\ncd\nnever\n")
    found = [transforms.make(f"matched:{tmp_path / 'list.txt'}", 1, seed, texts=texts) for seed in (1, 1, 2)]
    masked = [transform(("ab cd the of " + " ".join(seldom),), 0)[0] for transform in found]
    assert masked[0] == masked[1] and masked[0].count("<mask>") == 2 and masked[0].startswith("ab cd")
    (tmp_path / "list.txt").write_text("never\n")
    with toy.refused("--inputs matched"):
        transforms.make(f"matched:{tmp_path / 'list.txt'}", 1, texts=texts)


def test_shuffling_differs_by_row_and_repeats_with_the_seed():
    text = "one two three four five six seven"
    shuffle, again, other = (transforms.make("shuffled", 1, seed) for seed in (1, 1, 2))
    assert sorted(shuffle((text,), 0)[0].split()) == sorted(text.split())
    assert shuffle((text,), 0) == again((text,), 0) != other((text,), 0)
    assert shuffle((text,), 0) != shuffle((text,), 1)


@pytest.mark.parametrize("name", ["all", "second", "overlap", "words", "full:x", "start:0", "start:x"])
def test_what_does_not_exist_or_fit_is_named(name):
    with toy.refused(f"--inputs {name}"):
        transforms.make(name, 1)


def test_missing_and_empty_lists_are_named(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("empty.txt", "none.txt"):
        with toy.refused(name):
            transforms.make(f"words:{tmp_path / name}", 1)


def test_nouns_are_replaced_by_what_is_above_them(tmp_path, monkeypatch):
    class Nouns:
        def substitute(self, word):
            return {"Man": "Person"}.get(word)

    monkeypatch.setattr(transforms.wordnet, "find", lambda folder: folder)
    monkeypatch.setattr(transforms.wordnet, "load", lambda folder: {"here": Nouns()}[folder])
    (tmp_path / "list.txt").write_text("man\nhome\n")
    change = transforms.make(f"hypernyms:{tmp_path / 'list.txt'}", 2, wordnet_folder="here")
    assert change(("Man at  home.", "men"), 0) == ("Person at  home.", "men")


def test_masks_and_blanks_of_both_texts(tmp_path):
    (tmp_path / "list.txt").write_text("  man \nstate-of-the-art\n")
    named = f"masked:{tmp_path / 'list.txt'}"
    assert transforms.make(named, 2, mask="[M]")(("A  man,", "a state-of-the-art man"), 0) == ("A  [M],", "a [M] [M]")
    without = transforms.make(f"without:{tmp_path / 'list.txt'}", 1)
    assert without((" A  man runs",), 0) == ("A runs",)


def test_columns_are_shuffled_apart_and_empty_data_refused():
    pair = ("one two three four five six seven",) * 2
    first, second = transforms.make("shuffled", 2, 3)(pair, 0)
    assert first != second and sorted(first.split()) == sorted(pair[0].split())
    assert transforms.apply(transforms.make("start:1", 1), [["a b", "c d"]]) == [["a", "c"]]
    with toy.refused("rows"):
        transforms.apply(transforms.make("full", 1), [[]])
