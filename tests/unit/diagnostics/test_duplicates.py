"""Duplicates: exact, near, and none."""

import random

import numpy as np
import pytest

from plugins.diagnostics import duplicates


def sentence(draw, words=14):
    return " ".join("".join(draw.choices("abcdefghij", k=6)) for _ in range(words))


def test_normalization():
    assert duplicates.normalized("  The  CAT sat.\n") == "the cat sat"
    assert duplicates.normalized("ﬁne…") == "fine"  # NFKC
    assert duplicates.joined([["A b."], ["C"]]) == ["a b\tc"]


def test_exact_duplicates_share_a_number():
    found = duplicates.find(duplicates.joined([["The cat.", "A dog", "the  CAT"]]))
    assert found.exact.tolist() == [0, 1, 0] and found.groups[0] == found.groups[2] != found.groups[1]


def test_near_duplicates_are_found_and_others_are_not():
    draw = random.Random(0)
    texts = [sentence(draw) for _ in range(300)]
    near = [text[:-3] + "xyz" for text in texts[:100]]  # three of some hundred characters
    found = duplicates.find(texts + near)
    together = found.groups[:100] == found.groups[300:]
    assert together.mean() >= 0.97
    assert len(np.unique(found.groups)) >= 300
    assert (found.similarity >= 0.8).all()


def test_signatures_estimate_the_similarity():
    draw = random.Random(1)
    first = sentence(draw, 40)
    for cut in (20, 80, 140):
        second = first[:cut] + sentence(draw, 40)[cut:]
        a, b = duplicates.signatures([first, second])
        assert np.mean(a == b) == pytest.approx(duplicates.jaccard(first, second), abs=0.15)


def test_groups_are_chains():
    found = duplicates.find(["abcdefghijklmnopqrstuvwxyz" * 4 + tail for tail in ("", "1", "12", "123")])
    assert len(np.unique(found.groups)) == 1


def test_short_and_empty_texts_and_surrogates():
    found = duplicates.find(["", "a", "ab", "", "\ud800", "😀"])
    assert found.exact.tolist() == [0, 1, 2, 0, 3, 4] and len(found.pairs) == 0


def test_first_row_of_each_group():
    assert duplicates.first_of_group(np.array([5, 3, 5, 7])).tolist() == [0, 1, 0, 3]


BASE = "abcdefghijklmnopqrstuvwxyz0123456789"  # 32 pieces of 5 characters


def test_pairs_are_the_first_rows_of_near_duplicates_with_their_similarity():
    found = duplicates.find(["other", BASE, BASE + "!", BASE, BASE + "!"])
    assert found.pairs.tolist() == [[1, 2]] and found.similarity.tolist() == [pytest.approx(32 / 33)]
    assert found.exact.tolist() == [0, 1, 2, 1, 2] and found.groups[0] not in found.groups[1:]
    assert len(set(found.groups[1:])) == 1


def test_the_threshold_is_the_least_similarity():
    texts = [BASE, BASE + "!"]
    assert len(duplicates.find(texts, 32 / 33).pairs) == 1 and len(duplicates.find(texts, 0.98).pairs) == 0
    assert len(set(duplicates.find(texts, 0.98).groups)) == 2


def test_only_exact_duplicates_on_request():
    found = duplicates.find([BASE, BASE + "!", BASE], near=False)
    assert found.groups.tolist() == found.exact.tolist() == [0, 1, 0] and found.pairs.shape == (0, 2)
    assert found.similarity.shape == (0,)
    assert duplicates.find([BASE, BASE]).groups.tolist() == [0, 0]


def test_many_copies_with_changes_are_one_group():
    found = duplicates.find([BASE * 3 + f" {i}" for i in range(300)])
    assert len(set(found.groups)) == 1 and (found.similarity >= 0.8).all()


def test_signatures_are_those_of_each_text_and_follow_the_seed(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    texts = [f"{BASE}{i}" for i in range(5)]
    found = duplicates.signatures(texts, 3)
    assert found.shape == (5, 128)
    for row, text in zip(found, texts, strict=True):
        assert (duplicates.signatures([text], 3)[0] == row).all() and (duplicates.signatures([text], 4)[0] != row).any()
