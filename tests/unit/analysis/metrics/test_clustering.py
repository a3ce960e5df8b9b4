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
