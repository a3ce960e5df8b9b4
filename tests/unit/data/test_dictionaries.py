"""Dictionaries with a mask that has no row."""

import hashlib

import pytest
import toy

from plugins.data.dictionaries import MaskDictionary, check_same, excluded_words, fingerprint, fit, unused_words


def dictionary(words="a b c", fillers=0):
    d = MaskDictionary()
    for word in words.split() + [f"madeupword{i:04d}" for i in range(fillers)]:
        d.add_symbol(word)
    return d


def test_a_mask_with_a_row_is_the_last_word():
    d = dictionary()
    d.add_mask()
    assert (len(d), d.index("<mask>"), d[7]) == (8, 7, "<mask>")


def test_a_mask_without_a_row_is_found_by_word_and_by_index_and_does_not_count():
    d = dictionary()
    d.omit_mask()
    assert (len(d), d.index("<mask>"), d[7], "<mask>" in d) == (7, 7, "<mask>", True)
    assert len(d.symbols) == len(d.count) == len(d.indices) == 7


def test_a_mask_without_a_row_is_encoded_and_written():
    d = dictionary()
    d.omit_mask()
    assert d.encode_line("a <mask> zzz", append_eos=False, add_if_not_exist=False).tolist() == [4, 7, 3]
    assert d.string([4, 7, 5]) == "a <mask> b"


def test_an_added_mask_row_can_be_omitted():
    d = dictionary()
    d.add_mask()
    d.omit_mask()
    assert (len(d), d.index("<mask>")) == (7, 7)


def test_requesting_an_existing_mask_symbol_adds_no_row():
    """fairseq's own tasks call ``add_symbol("<mask>")`` on whatever dictionary they get."""
    d = dictionary()
    d.omit_mask()
    assert d.add_symbol("<mask>") == d.index("<mask>") == 7
    assert len(d) == 7


def test_a_row_of_its_own_among_the_words_cannot_be_taken():
    d = dictionary("a <mask> b")
    with toy.refused("<mask>", "dict.txt"):
        d.omit_mask()


def test_an_index_beyond_the_mask_is_unknown():
    d = dictionary()
    d.omit_mask()
    assert d[8] == "<unk>"
    assert d.index("nothing") == d.unk()


def test_truncating_forgets_the_last_words_and_moves_the_mask():
    d = dictionary(fillers=2)
    d.omit_mask()
    d.truncate(7)
    assert (len(d), d.index("<mask>"), d.index("madeupword0000"), d.index("c")) == (7, 7, 3, 6)


@pytest.mark.parametrize("twice", [False, True])
def test_padding_goes_between_the_words_and_the_mask(twice):
    d = dictionary(fillers=1)  # 4 special symbols, 3 words, 1 filler
    d.add_mask()
    for _ in range(1 + twice):
        d.pad_to_multiple(6)
    assert (len(d), d.index("<mask>"), d.index("c"), d[11]) == (12, 11, 6, "<mask>")
    assert list(d.padding) == [8, 9, 10]
    assert [d[i] for i in d.padding] == ["madeupword0001", "madeupword0002", "madeupword0003"]
    assert [d.index(symbol) for symbol in d.symbols] == list(range(12))
    assert len(d.count) == 12


def test_padding_moves_a_mask_without_a_row():
    d = dictionary()
    d.omit_mask()
    d.pad_to_multiple(8)
    assert (len(d), d.index("<mask>"), d[8]) == (8, 8, "<mask>")


def test_padding_is_excluded_but_not_fillers_of_the_file():
    d = dictionary(fillers=1)
    d.pad_to_multiple(10)
    assert excluded_words(d, unused=False) == [8, 9]
    assert excluded_words(d, unused=True) == [1, 7, 8, 9]


def test_unused_words_are_padding_and_fillers():
    assert unused_words(dictionary(fillers=2)) == [1, 7, 8]


@pytest.mark.parametrize("fillers", [2, 3])
def test_two_or_three_fillers_are_trimmed(fillers):
    d = dictionary(fillers=fillers)
    d.omit_mask()
    fit(d, 7)
    assert len(d) == 7


@pytest.mark.parametrize("fillers, rows", [(1, 7), (4, 7), (3, 6), (0, 8), (2, 8)])
def test_any_other_difference_names_both_sizes(fillers, rows):
    d = dictionary(fillers=fillers)
    d.omit_mask()
    with toy.refused(7 + fillers, rows):
        fit(d, rows)


def test_fillers_are_not_trimmed_where_the_mask_has_a_row():
    d = dictionary(fillers=2)
    d.add_mask()
    with toy.refused(10, 8):
        fit(d, 8)


def test_a_file_is_read_in_its_order(tmp_path):
    (tmp_path / "dict.txt").write_text("b 5\na 2\n")
    d = MaskDictionary.load(str(tmp_path / "dict.txt"))
    assert (d.symbols[4:], d.count[4:]) == (["b", "a"], [5, 2])


def test_a_missing_file_is_named(tmp_path):
    with toy.refused(f"{tmp_path}/dict.txt"):
        MaskDictionary.load(str(tmp_path / "dict.txt"))


@pytest.mark.parametrize(
    "content",
    [b"just some prose here\n", b"word\n", b"a 1\na 2\n", "w\u00f6rd 1\n".encode("latin-1"), b'{"a": 1}'],
    ids=["prose", "no count", "twice the same word", "not UTF-8", "json"],
)
def test_a_foreign_file_gives_one_line_that_names_it(tmp_path, content):
    (tmp_path / "dict.txt").write_bytes(content)
    with toy.refused("dict.txt"):
        MaskDictionary.load(str(tmp_path / "dict.txt"))


def test_a_fingerprint_is_of_the_words_in_order_alone():
    d = dictionary("b a")
    assert fingerprint(d) == hashlib.sha256(b"<s>\n<pad>\n</s>\n<unk>\nb\na").hexdigest()
    same, other = dictionary("b a", fillers=2), dictionary("a b")
    same.add_mask()
    assert fingerprint(same) == fingerprint(d) != fingerprint(other)
    check_same(d, None, "a.pt")
    check_same(d, fingerprint(same), "a.pt")
    with toy.refused("dict.txt", "a.pt"):
        check_same(d, fingerprint(other), "a.pt")


def test_a_new_dictionary_has_a_mask_row_and_no_padding():
    d = MaskDictionary()
    assert d.mask_has_row and list(d.padding) == [] and "<mask>" not in d
    d.omit_mask()
    assert not d.mask_has_row
    d.add_mask()
    assert d.mask_has_row and d[4] == "<mask>" and len(d) == 5


def test_only_fillers_of_a_dictionary_without_a_mask_row_are_trimmed(caplog):
    d = dictionary("a b c d e")
    d.omit_mask()
    with toy.refused(9, 7):
        fit(d, 7)  # two words more, which are no fillers
    d = dictionary(fillers=3)
    d.omit_mask()
    with caplog.at_level("INFO"):
        fit(d, 7)
    assert caplog.records[0].args == ("madeupword0000, madeupword0001, madeupword0002", 7)
