"""Measures of geometry, against values computed with numpy and laws of their papers."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics import anisotropy

E = np.array([(1, 0), (0.8, 0.6), (0.6, -0.8), (0, 1), (-0.6, 0.8), (-1, 0)])
GAUSSIAN = np.random.default_rng(0).normal(size=(4000, 16))


def test_values_of_six_rows():
    found = anisotropy.geometry(E)
    expected = {
        "mean_cosine": -0.09333333, "partition_score": 0.56184866, "isoscore": 0.81729730,
        "uniformity": -2.24866699, "effective_rank": 1.90028027, "mean_norm": 1,
    }  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-7)


def test_the_mean_cosine_measures_the_mean_and_not_the_shape():
    shifted, loud = GAUSSIAN + 3, GAUSSIAN * np.where(np.arange(16) == 0, 100, 1)
    assert abs(anisotropy.mean_cosine(GAUSSIAN)) < 0.005
    assert anisotropy.mean_cosine(shifted) > 0.85 and anisotropy.isoscore(shifted) > 0.95
    assert abs(anisotropy.mean_cosine(loud)) < 0.01 and anisotropy.isoscore(loud) < 0.05


def test_effective_rank_counts_even_dimensions():
    assert anisotropy.effective_rank(GAUSSIAN) == pytest.approx(16, rel=0.01)
    assert anisotropy.effective_rank(np.outer(np.arange(5.0), np.ones(3))) == pytest.approx(1)


def test_alignment_is_zero_for_equal_pairs_and_four_for_opposite_ones():
    assert anisotropy.alignment(E, 2 * E) == pytest.approx(0, abs=1e-12)
    assert anisotropy.alignment(E, -E) == pytest.approx(4)


def test_whitening_removes_the_mean_and_the_first_component():
    loud = GAUSSIAN * np.where(np.arange(16) == 0, 100, 1) + 3
    white = anisotropy.whiten(loud, 1)
    assert np.abs(white.mean(0)).max() < 1e-4
    assert anisotropy.isoscore(white) > 0.8


def test_sampled_uniformity_is_near_that_of_all_pairs(monkeypatch):
    whole = anisotropy.uniformity(GAUSSIAN[:600])
    monkeypatch.setattr(anisotropy, "PAIRS", 20_000)
    assert anisotropy.uniformity(GAUSSIAN[:600]) == pytest.approx(whole, abs=0.03)


def test_one_vector_has_no_geometry():
    with toy.refused(1):
        anisotropy.geometry(E[:1])


def test_too_many_components_are_refused():
    with toy.refused("--whiten 3"):
        anisotropy.whiten(E, 3)


def test_whitening_removes_as_many_directions_as_given():
    mean, one, two = (anisotropy.whiten(GAUSSIAN + 3, n) for n in (0, 1, 2))
    assert mean == pytest.approx(GAUSSIAN - GAUSSIAN.mean(0), abs=1e-5)
    assert [np.linalg.matrix_rank(x, tol=1e-2) for x in (mean, one, two)] == [16, 15, 14]
    assert (anisotropy.whiten(GAUSSIAN) == anisotropy.whiten(GAUSSIAN, 1)).all()
    with toy.refused("--whiten -1"):
        anisotropy.whiten(E, -1)


def test_equal_vectors_use_no_dimension():
    found = anisotropy.geometry(np.ones((3, 2)))
    assert found["isoscore"] == found["effective_rank"] == 0
    assert (found["mean_cosine"], found["uniformity"]) == pytest.approx((1, 0), abs=1e-6)
    assert anisotropy.isoscore(np.arange(3.0)[:, None]) == 0


def test_large_vectors_have_a_finite_partition_score():
    assert anisotropy.partition_score(1000 * E) == pytest.approx(0, abs=1e-12)
    assert anisotropy.partition_score(1e-9 * E) == pytest.approx(1)
