"""Neighbors and the metrics of their classes."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics import retrieval

LINE = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0, 1.0]])  # by angle
CLOUD = np.random.default_rng(0).normal(size=(70, 8))
LABELS = np.arange(70) % 5


def test_search_returns_the_nearest_first():
    index, cosine = retrieval.search(LINE[:1], LINE, 3)
    assert index.tolist() == [[0, 1, 2]]
    assert cosine[0].tolist() == pytest.approx([1, 0.99388, 0.70711], abs=1e-5)


def test_blocks_make_no_difference():
    whole, parts = retrieval.search(CLOUD, CLOUD, 6), retrieval.search(CLOUD, CLOUD, 6, block=7)
    assert (whole[0] == parts[0]).all()


def test_ties_go_to_the_lower_index():
    assert retrieval.search(LINE[:1], np.tile(LINE[:1], (4, 1)), 4)[0].tolist() == [[0, 1, 2, 3]]


def test_class_metrics_of_a_line_by_hand():
    """Classes a a b b b: the third row's nearest others are the second and the fourth, in this order."""
    found = retrieval.class_metrics(LINE, ["a", "a", "b", "b", "b"])
    assert found["knn_accuracy_1"] == pytest.approx(4 / 5)
    assert found["r_precision"] == pytest.approx((1 + 1 + 0.5 + 1 + 1) / 5)
    assert found["map_at_r"] == pytest.approx((1 + 1 + 0.5 / 2 + 1 + 1) / 5)
    assert "knn_accuracy_5" not in found


def test_class_metrics_agree_with_scikit_learn():
    from sklearn.metrics import ndcg_score
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    found = retrieval.class_metrics(CLOUD, LABELS)
    nearest = KNeighborsClassifier(1, metric="cosine")
    assert found["knn_accuracy_1"] == pytest.approx(cross_val_score(nearest, CLOUD, LABELS, cv=LeaveOneOut()).mean())
    unit = retrieval.unit(CLOUD)
    scores = unit @ unit.T
    others = ~np.eye(70, dtype=bool)
    relevant = (LABELS[:, None] == LABELS)[others].reshape(70, 69)
    assert found["ndcg_at_10"] == pytest.approx(ndcg_score(relevant, scores[others].reshape(70, 69), k=10), abs=1e-6)


def test_the_majority_of_neighbors_precedes_the_nearest():
    assert retrieval.majority(np.array([[0, 1, 1], [2, 1, 0], [1, 1, 1]]), 3).tolist() == [1, 2, 1]


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4]])
def test_classes_of_one_row_are_refused(labels):
    with toy.refused(5):
        retrieval.class_metrics(LINE, labels)


@pytest.mark.parametrize("k", [0, 6])
def test_k_has_to_fit(k):
    with toy.refused(k):
        retrieval.search(LINE, LINE, k)


def test_random_triplets_have_a_positive_other_than_the_anchor():
    triplets = retrieval.random_triplets([0, 0, 0, 1, 1, 2])
    labels = np.array([0, 0, 0, 1, 1, 2])[triplets]
    assert sorted(triplets[:, 0]) == [0, 1, 2, 3, 4]  # the class of one row has no anchor
    assert (triplets[:, 0] != triplets[:, 1]).all()
    assert (labels[:, 0] == labels[:, 1]).all() and (labels[:, 0] != labels[:, 2]).all()
    assert (retrieval.random_triplets(LABELS) == retrieval.random_triplets(LABELS)).all()


def test_hard_triplets_are_harder_and_keep_their_classes():
    random, hard = retrieval.random_triplets(LABELS), retrieval.hard_triplets(CLOUD, LABELS)
    assert (LABELS[hard[:, 2]] != LABELS[hard[:, 0]]).all()
    assert retrieval.triplet_accuracy(CLOUD, hard) < retrieval.triplet_accuracy(CLOUD, random) - 0.2


def test_a_tie_counts_as_a_wrong_triplet():
    vectors = np.array([[1.0, 0], [0, 1], [0, 1]])
    assert retrieval.triplet_accuracy(vectors, np.array([[0, 1, 2]])) == 0


def test_a_zero_vector_stays_zero():
    assert retrieval.unit(np.array([[0.0, 0], [3, 4]])).tolist() == [[0, 0], pytest.approx([0.6, 0.8])]
    for scale in (1e-30, 1e30):  # the squares of float32 numbers vanish, or overflow
        assert retrieval.unit(scale * np.array([[0.0, 0], [3, 4]])).tolist() == [[0, 0], pytest.approx([0.6, 0.8])]


def test_widths_have_to_agree():
    with toy.refused(2, 8):
        retrieval.search(LINE, CLOUD, 1)


def test_neighbors_that_do_not_exist_are_left_out():
    found = retrieval.class_metrics(LINE, ["a", "a", "b", "b", "b"], (1, 4, 5))
    assert set(found) == {"knn_accuracy_1", "knn_accuracy_4", "r_precision", "map_at_r", "ndcg_at_10"}
    assert found["knn_accuracy_4"] == pytest.approx(
        2 / 5
    )  # three others of an a are b; the third row is nearer to an a


def test_r_precision_of_a_class_larger_than_the_cut():
    labels = np.repeat([0, 1], [15, 5])
    points = np.stack([np.cos(labels * 1.5), np.sin(labels * 1.5)], 1)
    points += np.random.default_rng(0).normal(size=points.shape) * 0.01
    found = retrieval.class_metrics(points, labels)
    assert [found[name] for name in ("r_precision", "map_at_r", "ndcg_at_10")] == pytest.approx([1, 1, 1])


def test_rows_alone_in_their_class_are_not_searched_for():
    found = retrieval.class_metrics(LINE, [0, 0, 1, 2, 2])
    assert found["r_precision"] == 1 and found["knn_accuracy_1"] == pytest.approx(4 / 5)


def test_leave_one_out_goes_on_block_by_block():
    whole = [found for _, found in retrieval.leave_one_out(CLOUD, 3)]
    rows, parts = zip(*retrieval.leave_one_out(CLOUD, 3, block=32), strict=True)
    assert np.concatenate(rows).tolist() == list(range(70)) and len(parts) == 3
    assert (np.concatenate(parts) == np.concatenate(whole)).all()
    assert (np.concatenate(whole) != np.arange(70)[:, None]).all()


def test_triplets_need_two_classes_and_a_positive():
    for labels in ([0, 0, 0], [0, 1, 2]):
        with toy.refused("classes"):
            retrieval.random_triplets(labels)


def test_the_hardest_of_many_candidates_is_the_nearest_negative():
    hard = retrieval.hard_triplets(LINE, np.array([0, 0, 1, 1, 1]), candidates=60)
    nearest = {0: 2, 1: 2, 2: 1, 3: 1, 4: 1}
    assert all(nearest[anchor] == negative for anchor, _, negative in hard)


def test_other_seeds_draw_other_triplets():
    assert (retrieval.random_triplets(LABELS, 1) != retrieval.random_triplets(LABELS, 2)).any()
    one, two = (retrieval.hard_triplets(CLOUD, LABELS, seed=seed) for seed in (1, 2))
    assert (one != two).any()


@pytest.mark.parametrize(
    ("neighbors", "winner"),
    [
        ([1, 0, 0], 0),
        ([1, 0], 1),
        ([2, 1, 1, 2, 0], 2),
        ([0, 1, 1, 0, 2], 0),
        ([0, 2, 2, 1, 1], 2),
        ([1, 1, 0, 0, 0], 0),
    ],
)
def test_of_equally_frequent_classes_the_nearer_wins(neighbors, winner):
    assert retrieval.majority(np.array([neighbors]), 3).tolist() == [winner]


def test_accuracies_of_five_neighbors_are_those_of_a_majority():
    """Against a vote over scikit-learn's neighbors, where one class has most of them."""
    from collections import Counter

    from sklearn.neighbors import NearestNeighbors

    labels = np.arange(70) % 2  # five votes for two classes: no ties
    nearest = NearestNeighbors(n_neighbors=6, metric="cosine").fit(CLOUD).kneighbors(CLOUD)[1][:, 1:]
    votes = [Counter(labels[row].tolist()).most_common(1)[0][0] for row in nearest]
    found = retrieval.class_metrics(CLOUD, labels)
    assert found["knn_accuracy_5"] == pytest.approx(np.mean(votes == labels))
    assert {name for name in found if name.startswith("knn")} == {"knn_accuracy_1", "knn_accuracy_5", "knn_accuracy_20"}


def test_the_depth_of_a_large_class_is_its_size():
    """Two classes of 35: R is 34."""
    labels = np.arange(70) % 2
    scores = retrieval.unit(CLOUD) @ retrieval.unit(CLOUD).T
    np.fill_diagonal(scores, -2)
    relevant = labels[np.argsort(-scores, axis=1)[:, :34]] == labels[:, None]
    precision = relevant.cumsum(1) / np.arange(1, 35)
    found = retrieval.class_metrics(CLOUD, labels, (1,))
    assert found["r_precision"] == pytest.approx(relevant.mean())
    assert found["map_at_r"] == pytest.approx((precision * relevant).sum(1).mean() / 34)


def test_a_row_alone_in_its_class_is_not_searched_for_its_own_kind():
    found = retrieval.class_metrics(LINE[:3], [0, 0, 1])
    assert (found["r_precision"], found["map_at_r"], found["knn_accuracy_1"]) == pytest.approx((1, 1, 2 / 3))
    assert found["ndcg_at_10"] == pytest.approx(1)


@pytest.mark.parametrize("labels", [[0], [0, 1]])
def test_two_rows_of_a_class_are_needed(labels):
    with toy.refused(len(labels)):
        retrieval.class_metrics(LINE[: len(labels)], labels)
    assert retrieval.class_metrics(LINE[:2], [0, 0])["knn_accuracy_1"] == 1


def test_triplets_are_drawn_by_the_seed():
    default, other = retrieval.random_triplets(LABELS), retrieval.random_triplets(LABELS, 2)
    assert (default == retrieval.random_triplets(LABELS, 1)).all() and (default != other).any()
    hard = retrieval.hard_triplets(CLOUD, LABELS)
    assert (hard == retrieval.hard_triplets(CLOUD, LABELS, 10, 1)).all() and (hard[:, :2] == default[:, :2]).all()
    assert (hard != retrieval.hard_triplets(CLOUD, LABELS, 10, 2)).any()
