"""Rows of one text, two texts, or lists, as batches."""

import numpy as np
import pytest

from plugins.data.embedding.encoding import TextEncoder
from plugins.data.preference.dataset import PreferenceRows
from plugins.data.preference.rows import Preferences

ENCODER = TextEncoder(None, lambda text: [ord(c) for c in text], (1,), (), pad=9)
TEXTS = ["a", "bcd", "ef", "g", "hijkl", "m"]


def compared():
    return Preferences(
        TEXTS, np.array([[0, 1], [3, 2], [5, 4]]), np.array([0, 1, 2]), np.array([0.5, 1.5, 2.5]), np.array([1.0, 2, 3])
    )


def rated(groups=None):
    none = np.zeros(0)
    scores = np.array([0.0, 1, 2, 3, 4, 5])
    return Preferences(TEXTS, np.zeros((0, 2), int), none.astype(int), none, none, scores, groups)


def rows(found, objective, **options):
    return PreferenceRows(found, ENCODER, 20, objective, **options)


def test_a_comparison_is_a_row_of_two_texts():
    data = rows(compared(), "pairwise")
    assert data.sizes.tolist() == [4, 3, 6]
    batch = data.collater([data[2], data[0]])
    assert batch["id"].tolist() == [2, 0]
    assert batch["texts"].tolist() == [5, 4, 0, 1] and batch["rows"].tolist() == [0, 0, 1, 1]
    assert batch["net_input"]["src_tokens"].tolist() == [
        [1, 109, 9, 9, 9, 9], [1, 104, 105, 106, 107, 108], [1, 97, 9, 9, 9, 9], [1, 98, 99, 100, 9, 9],
    ]  # fmt: skip
    assert batch["net_input"]["src_lengths"].tolist() == [2, 6, 2, 4]
    assert (batch["nsentences"], batch["ntokens"]) == (2, 14)
    assert batch["outcomes"].tolist() == [2, 0]
    assert batch["margins"].tolist() == [2.5, 0.5] and batch["weights"].tolist() == [3, 1]
    assert "gains" not in batch and data.collater([]) == {}


def test_comparisons_are_lists_of_two_where_there_are_no_ratings():
    data = rows(compared(), "listwise")
    assert [row.tolist() for row in data.rows] == [[0, 1], [3, 2], [5, 4]]
    assert data.collater([1])["outcomes"].tolist() == [1]


def test_a_rating_is_a_row_of_one_text():
    data = rows(rated(), "pointwise")
    batch = data.collater([4, 1])
    assert batch["texts"].tolist() == [4, 1] and batch["gains"].tolist() == [4, 1] and batch["rows"].tolist() == [0, 1]
    assert data.sizes.tolist() == [2, 4, 3, 2, 6, 2] and "outcomes" not in batch


def test_groups_are_lists():
    data = rows(rated(np.array([1, 0, 1, 0, 0, 1])), "listwise")
    assert [row.tolist() for row in data.rows] == [[1, 3, 4], [0, 2, 5]]
    batch = data.collater([1])
    assert batch["gains"].tolist() == [0, 2, 5] and batch["rows"].tolist() == [0, 0, 0] and batch["nsentences"] == 1


@pytest.mark.parametrize(("size", "lengths"), [(8, [6]), (6, [6]), (4, [6]), (3, [3, 3]), (2, [2, 2, 2])])
def test_lists_without_groups_have_at_least_the_size(size, lengths):
    data = rows(rated(), "listwise", list_size=size)
    assert [len(row) for row in data.rows] == lengths
    assert sorted(np.concatenate(data.rows)) == list(range(6))


def test_lists_are_drawn_anew_in_each_epoch_of_training_alone():
    def epoch(data, seed):
        np.random.seed(seed)
        data.ordered_indices()
        assert data.sizes.tolist() == [max(data.lengths[row]) for row in data.rows]
        return [row.tolist() for row in data.rows]

    train = rows(rated(), "listwise", list_size=2, shuffle=True)
    assert epoch(train, 1) == epoch(train, 1) != epoch(train, 2)
    valid = rows(rated(), "listwise", list_size=2)
    assert epoch(valid, 1) == epoch(valid, 2)
    pairs = rows(compared(), "pairwise", shuffle=True)
    assert epoch(pairs, 1) == epoch(pairs, 2) == [[0, 1], [3, 2], [5, 4]]
