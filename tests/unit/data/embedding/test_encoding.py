"""Texts to the tokens of each model, with the symbols around them."""

import numpy as np
import pytest
import toy

from plugins.data.dictionaries import fingerprint
from plugins.data.embedding import encoding
from plugins.data.text.char_dictionary import CharDictionary


@pytest.mark.parametrize(
    ("longest", "expected"), [(9, [1, 5, 6, 7, 2, 3]), (6, [1, 5, 6, 7, 2, 3]), (5, [1, 5, 6, 2, 3])]
)
def test_a_text_is_truncated_and_its_symbols_stay(longest, expected):
    encoder = encoding.TextEncoder(None, lambda text: [5, 6, 7], (1,), (2, 3))
    assert encoder("abc", longest).tolist() == expected and encoder("abc", longest).dtype == np.int64


def test_half_a_surrogate_pair_is_not_text():
    encoder = encoding.TextEncoder(None, lambda text: [5])
    with toy.refused("row 2", "character 1"):
        encoding.encode_all(["ab", "a\ud800"], encoder, 9, ["1", "2"])


def test_shorter_rows_are_padded_on_the_right():
    encoder = encoding.TextEncoder(None, list, pad=8)
    tokens, sizes = encoder.batch([np.array([1, 2]), np.array([3]), np.array([4, 5, 6])])
    assert tokens.tolist() == [[1, 2, 8], [3, 8, 8], [4, 5, 6]] and tokens.dtype == np.int64
    assert sizes.tolist() == [2, 1, 3]


def test_a_masked_lm_reads_text_between_bos_and_eos(toy_data, tmp_path):
    encoder = encoding.masked(str(toy_data))
    ids, d = encoder(toy.sentences(1)[0], 100), encoder.dictionary
    assert (ids[0], ids[-1], encoder.pad) == (d.bos(), d.eos(), d.pad())
    assert d.string(ids[1:-1]).replace(" ", "").replace("▁", " ").strip() == toy.sentences(1)[0]
    assert encoder.identity() == {"dictionary_sha256": fingerprint(d)}
    encoder.save(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dict.txt", "sentencepiece.bpe.model"]


def test_a_character_lm_reads_characters_alone():
    encoder = encoding.characters(CharDictionary("abc"))
    assert encoder("cab", 9).tolist() == [2, 0, 1]
    assert encoder.pad == 0 and encoder.identity() == {"dictionary": CharDictionary("abc").state()}


def test_texts_of_a_data_set_take_half_the_memory():
    encoder = encoding.TextEncoder(None, lambda text: [ord(c) for c in text])
    rows = encoding.encode_all(["ab", "c"], encoder, 9, ["1", "2"])
    assert [row.tolist() for row in rows] == [[97, 98], [99]] and rows[0].dtype == np.int32
