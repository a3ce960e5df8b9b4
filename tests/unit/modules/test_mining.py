"""Positives, negatives and valid anchors of a batch, by hand."""

import torch

from plugins.modules import mining

LABELS = torch.tensor([0, 1, 0, 2, 1])


def test_a_row_is_valid_with_another_row_of_its_class_and_one_of_another():
    positive, negative, valid = mining.masks(LABELS)
    assert positive.nonzero().tolist() == [[0, 2], [1, 4], [2, 0], [4, 1]]
    assert negative[0].tolist() == [False, True, False, True, True]
    assert valid.tolist() == [True, True, True, False, True]
    assert mining.masks(torch.zeros(3))[2].tolist() == [False] * 3


def test_partners_are_the_next_rows_cyclically():
    anchors, positives, negatives = mining.partners(LABELS)
    assert anchors.tolist() == [0, 1, 2, 4]
    assert positives.tolist() == [2, 4, 0, 1]
    assert negatives.tolist() == [1, 2, 3, 0]


def test_active_triplets_are_counted_for_each_pair():
    d = torch.tensor([[0.0, 1.0, 1.5, 3.0]]).repeat(4, 1)
    positive, negative, _ = mining.masks(torch.tensor([0, 0, 1, 1]))
    by_positive, by_negative = mining.count_active(d, positive, negative, margin=1.0)
    assert by_positive[0].tolist() == [0, 1, 0, 0]  # positive at 1: of the negatives at 1.5 and 3, one is below 2
    assert by_negative[0].tolist() == [0, 0, 1, 0]
