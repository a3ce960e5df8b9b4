"""Statistics of a batch of labeled embeddings, by hand."""

import math

import pytest
import torch

from plugins.modules.batch_statistics import batch_statistics

SQUARE = torch.tensor([[0.0, 0], [0, 1], [5, 0], [5, 1]])


def test_distances_are_means_over_pairs_and_the_norm_over_rows():
    found = batch_statistics(SQUARE, torch.tensor([0, 0, 1, 1]))
    assert found["positive_distance"] == pytest.approx(1)
    assert found["negative_distance"] == pytest.approx((5 + 26**0.5) / 2)
    assert found["norm"] == pytest.approx((0 + 1 + 5 + 26**0.5) / 4)


@pytest.mark.parametrize("margin, violations", [(0.0, 0.0), (3.9, 0.0), (4.05, 0.5), (4.2, 1.0)])
def test_a_triplet_is_violated_whose_negative_is_not_farther_by_the_margin(margin, violations):
    """Positives are at 1, negatives at 5 and 5.099."""
    found = batch_statistics(SQUARE, torch.tensor([0, 0, 1, 1]), margin)
    assert found["violations"] == pytest.approx(violations)


def test_without_a_margin_a_violated_triplet_has_the_nearer_negative():
    assert (
        batch_statistics(SQUARE, torch.tensor([0, 1, 0, 1]))["violations"] == 0.5
    )  # positives at 5, negatives at 1, 5.1


def test_the_cosine_distance():
    x = torch.tensor([[1.0, 0], [2, 0], [0, 3]])
    found = batch_statistics(x, torch.tensor([0, 0, 1]), distance="cosine")
    assert (found["positive_distance"], found["negative_distance"]) == pytest.approx((0, 1))


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_a_batch_without_triplets(labels):
    found = batch_statistics(SQUARE, torch.tensor(labels))
    assert found["violations"] == 0
    assert (found["positive_distance"] == 0) == (labels[1] == 1)
    assert (found["negative_distance"] == 0) == (labels[1] == 0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("rows, rank", [
    ([[1, 0], [-1, 0], [0, 1], [0, -1]], 2), ([[1, 1], [2, 2], [4, 4]], 1), ([[1, 0], [-1, 0], [0, 2], [0, -2]], None),
])  # fmt: skip
def test_the_effective_rank_counts_directions_whatever_their_scale(rows, rank, scale):
    found = batch_statistics(scale * torch.tensor(rows, dtype=torch.float), torch.arange(len(rows)))
    expected = rank or math.exp(-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)))
    assert found["effective_rank"] == pytest.approx(expected, rel=1e-4)


def test_equal_vectors_have_no_rank_and_numbers_that_are_not_finite_none():
    labels = torch.tensor([0, 0, 1, 1])
    assert batch_statistics(torch.ones(4, 2), labels)["effective_rank"] == 0
    x = torch.tensor([[1.0, math.nan], [0, 1], [1, 0], [2, 2]])
    assert math.isnan(batch_statistics(x, labels)["effective_rank"])
