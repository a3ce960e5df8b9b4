"""Metrics of validation, for each kind of rows."""

import numpy as np
import pytest

from plugins.analysis.metrics import embedding, retrieval
from plugins.data.embedding import specs

A = np.array([[1.0, 0], [0, 1], [1, 1]])
B = np.array([[1.0, 0], [1, 0], [0, 1]])  # the second partner is found after the third row's


@pytest.mark.parametrize("block", [2, 1024])
def test_partners_are_ranked_among_all_rows(monkeypatch, block):
    monkeypatch.setattr(retrieval, "BLOCK", block)
    found = embedding.scores(specs.PAIRS, np.stack([A, [[1.0, -0.05], [1, 0.1], [0, 1]]]), None)
    assert found == pytest.approx({"accuracy_at_1": 1 / 3, "mrr": (1 + 1 / 2 + 1 / 2) / 3})


def test_equally_near_rows_are_in_any_order():
    """So a model that has collapsed finds a partner by chance."""
    found = embedding.scores(specs.PAIRS, np.stack([A, B]), None)  # two equal rows, then the third, then all three
    expected = {"accuracy_at_1": (1 / 2 + 1 / 3) / 3, "mrr": (3 / 4 + 5 / 12 + 11 / 18) / 3}
    assert found == pytest.approx(expected)
    same = embedding.scores(specs.PAIRS, np.full((2, 50, 7), 0.3), None)
    assert same == pytest.approx({"accuracy_at_1": 1 / 50, "mrr": sum(1 / rank for rank in range(1, 51)) / 50})


def test_pairs_of_the_last_class_come_first():
    """Cosines 1, 0, .71 of pairs that are similar, dissimilar, similar; then similar, similar, dissimilar."""
    for labels, expected in (([1, 0, 1], 1.0), ([1, 1, 0], (1 + 2 / 3) / 2), ([0, 2, 2], (1 / 2 + 2 / 3) / 2)):
        found = embedding.scores(specs.LABELED_PAIRS, np.stack([A, B]), np.array(labels))
        assert found == pytest.approx({"average_precision": expected})
    found = embedding.scores(specs.LABELED_PAIRS, np.stack([A, B]), np.array([1, 1, 1]))
    assert np.isnan(found["average_precision"])


def test_cosines_are_correlated_with_scores():
    found = embedding.scores(specs.SCORED_PAIRS, np.stack([A, B]), np.array([0.9, 0.1, 0.8]))
    assert found == pytest.approx({"spearman": 1.0, "pearson": 0.98492}, abs=1e-4)
    zero = {"spearman": 0.0, "pearson": 0.0}
    assert embedding.scores(specs.SCORED_PAIRS, np.stack([A, B]), np.ones(3)) == zero
    assert embedding.scores(specs.SCORED_PAIRS, np.stack([A, A]), np.array([1, 2, 3])) == zero  # 1 but for rounding


@pytest.mark.parametrize("kind", [specs.TRIPLETS, specs.MARGINS])
def test_triplets_are_anchor_positive_negative(kind):
    anchors, positives, negatives = np.array([[1.0, 0]] * 3), A, np.array([[0, 1.0], [1, 0], [0, 1]])
    found = embedding.scores(kind, np.stack([anchors, positives, negatives]), None)
    assert found == pytest.approx({"triplet_accuracy": 2 / 3})


def test_texts_have_geometry_only():
    found = embedding.scores(specs.TEXTS, A[None], None)
    assert found["mean_cosine"] == pytest.approx((0 + 2 / 2**0.5) / 3, abs=1e-6) and 0 <= found["isoscore"] <= 1


@pytest.mark.parametrize("kind", specs.KINDS)
def test_one_row_has_no_metrics(kind):
    found = embedding.scores(kind, np.ones((3, 1, 2)), np.zeros(1, int))
    assert tuple(found) == specs.METRICS[kind] and np.isnan(list(found.values())).all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_classes_that_cannot_be_compared_have_no_metrics(labels):
    found = embedding.labeled(A, np.array(labels))
    assert tuple(found) == specs.METRICS[specs.LABELED] and np.isnan(list(found.values())).all()


def test_separate_classes_have_the_best_scores():
    points = np.array([[1.0, 0], [1, 0.01], [0, 1], [0.01, 1]])
    found = embedding.scores(specs.LABELED, points[None], np.array([0, 0, 1, 1]))
    assert tuple(found) == specs.METRICS[specs.LABELED]
    assert found.pop("isoscore") < 0.1
    assert found.pop("partition_score") < 1 and found.pop("mean_cosine") < 1
    assert np.isnan([found.pop("knn_accuracy_5"), found.pop("knn_accuracy_20")]).all()  # of three other rows
    assert set(found.values()) == {1.0}
    wrong = embedding.labeled(points, np.array([0, 1, 0, 1]))
    assert wrong["knn_accuracy"] == wrong["map_at_r"] == 0 and wrong["triplet_accuracy"] < 1
