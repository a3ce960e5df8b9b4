"""Duplicate documents of a corpus."""

import random

import numpy as np
import pytest

from plugins.data.mlm import duplicates
from plugins.data.mlm.duplicates import DuplicateFinder, digests, near_signatures


def texts(count, seed=0):
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghij", k=6)) for _ in range(500)]
    return [" ".join(generator.choices(words, k=60)) for _ in range(count)]


def dropped(tmp_path, documents, near=False, size=7):
    finder = DuplicateFinder(tmp_path, near)
    for start in range(0, len(documents), size):
        part = documents[start : start + size]
        finder.add(digests(part), near_signatures(part) if near else None)
    found, exact, nearly = finder.find(tmp_path / "dropped")
    return np.flatnonzero(found).tolist(), exact, nearly


@pytest.mark.parametrize("records", [1 << 21, 5])
def test_the_first_of_equal_documents_stays(tmp_path, monkeypatch, records):
    monkeypatch.setattr(duplicates, "_RECORDS", records)
    one = texts(20)
    documents = [*one, one[3], f"  {one[4].upper()} .", "new", one[3]]
    assert dropped(tmp_path, documents) == ([20, 21, 23], 3, 0)


@pytest.mark.parametrize("records", [1 << 21, 50])
def test_near_duplicates_are_dropped_and_other_documents_stay(tmp_path, monkeypatch, records):
    monkeypatch.setattr(duplicates, "_RECORDS", records)
    one = texts(100)
    documents = [*one, one[3] + " more", one[4][5:], one[3], one[5][:200] + one[6][200:]]
    assert dropped(tmp_path, documents, near=True) == ([100, 101, 102], 1, 2)


def test_no_documents_have_no_duplicates(tmp_path):
    assert dropped(tmp_path, [], near=True) == ([], 0, 0)
