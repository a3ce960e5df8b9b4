"""Signatures estimate the Jaccard similarity of texts."""

import random

import numpy as np
import pytest

from plugins.data.text import minhash


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {""}),
        ("abc", {"abc"}),
        ("abcde", {"abcde"}),
        ("abcdeabcdef", {"abcde", "bcdea", "cdeab", "deabc", "eabcd", "bcdef"}),
    ],
)
def test_pieces_have_five_characters(text, expected):
    assert minhash.pieces(text) == expected


def test_the_jaccard_similarity_is_the_share_of_common_pieces():
    assert minhash.jaccard("abcdef", "abcdeg") == pytest.approx(1 / 3)
    assert minhash.jaccard("abcdef", "abcdef") == 1 and minhash.jaccard("abcdef", "uvwxyz") == 0


@pytest.mark.parametrize(
    ("text", "expected"), [("  A  b\tC. ", "a b c"), ("ﬁne…", "fine"), ("Ａb?!", "ab"), ("a.b", "a.b"), ("", "")]
)
def test_case_blanks_and_final_punctuation_are_normalized(text, expected):
    assert minhash.normalized(text) == expected


def texts(count):
    draw = random.Random(0)
    return ["".join(draw.choices("abcdefgh ", k=draw.randint(0, 300))) for _ in range(count)]


def test_the_share_of_equal_values_estimates_similarity():
    """The standard error of 128 values is at most 0.044."""
    draw, errors = random.Random(1), []
    for share in range(0, 300, 20):
        whole = "".join(draw.choices("abcdefghijklmnop", k=600))
        other = whole[:share] + "".join(draw.choices("abcdefghijklmnop", k=600 - share))
        a, b = minhash.signatures([whole, other])
        errors.append(np.mean(a == b) - minhash.jaccard(whole, other))
    assert abs(np.mean(errors)) < 0.03 and np.std(errors) < 0.06


def test_signatures_do_not_depend_on_the_other_texts():
    several = ["", "abc", *texts(6), "日本語のテキスト", "a\udcff b"]
    together = minhash.signatures(several)
    assert together.shape == (10, 128) and together.dtype == np.uint32
    for text, values in zip(several, together, strict=True):
        assert (minhash.signatures([text])[0] == values).all()
    assert (minhash.signatures(several, seed=1) != together).any()
    assert len(np.unique(together, axis=0)) == 10


def test_equal_pieces_have_equal_hashes_wherever_they_occur():
    hashes, begins = minhash.piece_hashes(["abcdefg", "xy", "cdefgabcde"])
    assert begins.tolist() == [0, 3, 4] and len(hashes) == 10
    assert hashes[2] == hashes[4] and hashes[0] == hashes[9]  # cdefg, abcde
    assert len(set(hashes.tolist())) == 8


def test_a_band_is_eight_values_in_their_order():
    values = np.arange(128, dtype=np.uint32)[None]
    keys = minhash.band_keys(values)
    assert keys.shape == (1, 16) and len(set(keys[0].tolist())) == 16
    for place in (0, 7, 8, 127):
        other = values.copy()
        other[0, place] += 1
        assert np.flatnonzero(minhash.band_keys(other)[0] != keys[0]).tolist() == [place // 8]
    swapped = values[:, [1, 0, *range(2, 128)]]
    assert minhash.band_keys(swapped)[0, 0] != keys[0, 0]
