"""Agreement of clusters with classes."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics import clustering


def test_agreement_of_six_rows():
    found = clustering.agreement([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 2])
    expected = (0.739667377, 0.710309918, 0.771556174)
    assert [found[k] for k in ("v_measure", "homogeneity", "completeness")] == pytest.approx(expected, abs=1e-8)


def test_one_cluster_scores_zero():
    assert clustering.agreement([0, 0, 1, 1], [0, 0, 0, 0])["v_measure"] == 0


def test_only_the_corrected_scores_are_near_zero_for_random_clusters():
    draw = np.random.default_rng(0)
    found = clustering.agreement(draw.integers(0, 4, 200), draw.integers(0, 50, 200))
    assert found["v_measure"] > 0.1
    assert abs(found["ami"]) < 0.05 and abs(found["ari"]) < 0.05


def test_separate_clouds_are_found_and_the_result_is_the_same_again():
    draw = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 20)
    vectors = draw.normal(size=(60, 4)) + 20 * np.eye(4)[labels]
    found = clustering.clustering_metrics(vectors, labels)
    assert (found["ami"], found["ami_std"]) == (1, 0)
    assert found == clustering.clustering_metrics(vectors, labels)


def test_more_clusters_than_rows_are_refused():
    with toy.refused(2):
        clustering.clustering_metrics(np.eye(2), [0, 1], clusters=3)


def test_the_number_of_clusters_seeds_and_starts(monkeypatch):
    calls, found = [], iter([[0, 0, 1, 1], [0, 1, 0, 1]])

    def k_means(vectors, clusters, seed, starts):
        calls.append((clusters, seed, starts))
        return next(found)

    monkeypatch.setattr(clustering, "k_means", k_means)
    scores = clustering.clustering_metrics(np.eye(4), [5, 5, 9, 9], seeds=2, starts=3)
    assert calls == [(2, 0, 3), (2, 1, 3)]  # as many clusters as classes
    assert scores["v_measure"] == pytest.approx(0.5) and scores["v_measure_std"] == pytest.approx(0.5)
    assert scores["ari"] == pytest.approx((1 - 0.5) / 2)
    assert len(scores) == 10


def test_many_rows_are_clustered_in_samples(monkeypatch):
    for name, value in (("LARGE", 50), ("SAMPLE", 30), ("SAMPLES", 2)):
        monkeypatch.setattr(clustering, name, value)
    monkeypatch.setattr(clustering, "k_means", None)
    labels = np.repeat([0, 1], 30)
    vectors = np.random.default_rng(0).normal(size=(60, 3)) + 30 * np.eye(3)[labels]
    assert clustering.clustering_metrics(vectors, labels)["ari"] == 1


def test_k_means_has_a_seed():
    vectors = np.random.default_rng(0).normal(size=(80, 2))
    one, again, other = (clustering.k_means(vectors, 12, seed, 1) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    assert sorted(set(one)) == list(range(12))


def test_agreement_is_that_of_scikit_learn():
    from sklearn import metrics

    classes, clusters = [0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 2]
    found = clustering.agreement(classes, clusters)
    assert found["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(classes, clusters))
    assert found["ari"] == pytest.approx(metrics.adjusted_rand_score(classes, clusters))


def test_scores_are_means_over_five_seeds_of_ten_starts_with_their_deviation(monkeypatch):
    calls = []

    def k_means(vectors, clusters, seed, starts):
        calls.append((clusters, seed, starts))
        return np.array([0, 0, 1, 1]) if seed % 2 else np.zeros(4)

    monkeypatch.setattr(clustering, "k_means", k_means)
    found = clustering.clustering_metrics(np.eye(4), [5, 5, 7, 7])
    assert calls == [(2, seed, 10) for seed in range(5)]
    assert (found["ari"], found["ari_std"]) == pytest.approx((0.4, 0.24**0.5))
    clustering.clustering_metrics(np.eye(4), [5, 5, 7, 7], seeds=1, starts=3, clusters=4)
    assert calls[-1] == (4, 0, 3)


def test_as_many_clusters_as_rows_are_possible():
    assert clustering.clustering_metrics(np.eye(3), [0, 1, 2], seeds=1)["homogeneity"] == pytest.approx(1)


@pytest.mark.parametrize(("rows", "sampled"), [(60, False), (61, True)])
def test_ten_samples_of_many_rows_are_clustered(monkeypatch, rows, sampled):
    monkeypatch.setattr(clustering, "LARGE", 60)
    monkeypatch.setattr(clustering, "SAMPLE", 30)
    seen, agreement = [], clustering.agreement
    monkeypatch.setattr(clustering, "agreement", lambda *given: seen.append(len(given[0])) or agreement(*given))
    labels = np.arange(rows) % 3
    vectors = np.random.default_rng(1).normal(size=(rows, 4)) + 20 * np.eye(4)[labels]
    found = clustering.clustering_metrics(vectors, labels)
    assert found["ami"] == pytest.approx(1) and seen == ([30] * 10 if sampled else [rows] * 5)
