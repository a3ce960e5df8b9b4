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


def test_documents_are_equal_if_all_128_bits_are(tmp_path):
    finder = DuplicateFinder(tmp_path, near=False)
    finder.add(np.array([[1, 2], [1, 3], [2, 2], [1, 3]], np.uint64), None)
    found, exact, near = finder.find(tmp_path / "dropped")
    assert (found.tolist(), exact, near) == ([False, False, False, True], 1, 0)


def similar(tmp_path, *rows, pairs=1 << 15, **options):
    """Return which documents are dropped, given how many of the first values of 128 are those of documents before."""
    values = np.arange(128, dtype=np.uint32) + 1000 * np.arange(1, len(rows) + 1, dtype=np.uint32)[:, None]
    for number, (other, equal) in enumerate(rows):
        values[number, :equal] = values[other, :equal]
    finder = DuplicateFinder(tmp_path, True, **options)
    finder.add(np.arange(2 * len(rows), dtype=np.uint64).reshape(-1, 2), values)
    return np.flatnonzero(finder.find(tmp_path / "dropped")[0]).tolist()


@pytest.mark.parametrize(
    ("options", "equal", "dropped"),
    [({}, 103, [1]), ({}, 102, []), ({"threshold": 0.5}, 64, [1]), ({"threshold": 0.5}, 63, [])],
)
def test_near_duplicates_agree_in_four_fifths_of_the_values(tmp_path, options, equal, dropped):
    assert similar(tmp_path, (0, 0), (0, equal), **options) == dropped


@pytest.mark.parametrize("pairs", [1 << 15, 1, 2])
@pytest.mark.parametrize(
    ("rows", "dropped"),
    [
        ([(0, 0), (0, 20), (0, 110)], [2]),  # all share a band: the third is like the first, not like the second
        ([(0, 0), (0, 20), (1, 110)], [2]),  # the third is like the second, not like the first
        ([(0, 0), (0, 110), (2, 0), (2, 110), (4, 0), (4, 110)], [1, 3, 5]),
    ],
)
def test_a_document_is_compared_with_the_first_and_the_one_before(tmp_path, monkeypatch, rows, dropped, pairs):
    monkeypatch.setattr(duplicates, "_PAIRS", pairs)
    assert similar(tmp_path, *rows) == dropped


def test_signatures_do_not_depend_on_the_batch(monkeypatch):
    monkeypatch.setattr(duplicates, "LONGEST", 150_000)
    documents = [letter * 3 + "Some text. " * 9000 for letter in "abc"] + ["x"] * 2
    alone = [near_signatures([document]) for document in documents]
    assert (near_signatures(documents) == np.concatenate(alone)).all()
    assert len(near_signatures(documents[:2])) == 2  # 200,000 characters: a whole batch
    assert near_signatures([]).shape == (0, 128)


def test_near_duplicates_are_compared_by_their_first_million_characters(monkeypatch):
    assert duplicates.LONGEST == 1_000_000
    monkeypatch.setattr(duplicates, "LONGEST", 100)
    one = " ".join(texts(1))
    assert (near_signatures([one[:100] + "something else"]) == near_signatures([one])).all()
    assert (near_signatures([one[:90] + "something else"]) != near_signatures([one])).any()


def test_texts_are_compared_in_lower_case():
    assert (near_signatures(["Some  TEXT here."]) == near_signatures(["some text here"])).all()
