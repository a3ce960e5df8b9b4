"""Characters and bytes as symbols."""

import pytest
import torch
import toy

from plugins.data.text.char_dictionary import CharDictionary


def test_only_characters_have_embedding_rows():
    dictionary = CharDictionary("\nabc")
    assert len(dictionary) == 4
    assert dictionary.pad() == dictionary.eos() == dictionary.bos() == dictionary.unk() == 4
    assert dictionary.characters == ["\n", "a", "b", "c"]
    assert [dictionary[i] for i in range(4)] == ["\n", "a", "b", "c"]


def test_text_becomes_ids_and_ids_become_text():
    dictionary = CharDictionary("\nabאש🙂")
    assert dictionary.encode("ba\n🙂ש").tolist() == [2, 1, 0, 5, 4]
    assert dictionary.encode("ba").dtype == torch.int64
    assert dictionary.decode(torch.tensor([2, 1, 0, 5, 4])) == "ba\n🙂ש"
    assert dictionary.encode("").tolist() == []


def test_any_order_of_the_characters_is_kept():
    dictionary = CharDictionary("cab")
    assert dictionary.encode("abc").tolist() == [1, 2, 0]
    assert dictionary.decode([0, 1, 2]) == "cab"
    with toy.refused("'z'"):
        dictionary.encode("az")


def test_padding_is_not_decoded():
    assert CharDictionary("ab").decode([1, 2, 0]) == "ba"


def test_bytes_are_all_256_and_broken_characters_are_shown_as_such():
    dictionary = CharDictionary.of_bytes()
    assert len(dictionary) == 256
    assert dictionary.encode("é").tolist() == [0xC3, 0xA9]
    assert dictionary.decode([0xC3, 0xA9, 0x41, 0xC3]) == "éA\ufffd"
    assert dictionary.characters[0xE9] == "é"


def test_an_unseen_character_is_named_with_its_code_point_and_place():
    with toy.refused("'é'", "U+00E9", 3):
        CharDictionary("ab").encode("abéaé")


@pytest.mark.parametrize("dictionary", [CharDictionary("\nabא"), CharDictionary.of_bytes()], ids=["char", "byte"])
def test_the_state_is_plain_and_gives_the_dictionary_back(dictionary):
    state = dictionary.state()
    assert set(map(type, state["characters"])) == {str}
    copy = CharDictionary.from_state(state)
    assert copy == dictionary
    assert (copy.unit, copy.pad()) == (dictionary.unit, dictionary.pad())


def test_a_character_twice_is_refused():
    with toy.refused(error=ValueError):
        CharDictionary("aba")


def test_ids_of_code_points_reach_at_least_the_last_one():
    dictionary = CharDictionary("ca")
    assert dictionary.ids_of(100).tolist()[96:] == [2, 1, 2, 0, 2]
    assert len(dictionary.ids_of(5)) == 100


def test_half_a_surrogate_pair_is_unseen_and_bytes_are_bytes():
    with toy.refused("U+DCFF", 2):
        CharDictionary("a").encode("a\udcff")
    dictionary = CharDictionary.of_bytes()
    assert dictionary.encode(b"\xff\x00").tolist() == [255, 0]
    assert dictionary.encode("\udcff").tolist() == [63]


def test_bytes_are_all_256_in_order():
    for symbols in (["a"], [*map(chr, range(255, -1, -1))]):
        with toy.refused(error=ValueError):
            CharDictionary(symbols, "byte")
