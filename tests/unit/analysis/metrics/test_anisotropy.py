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


def test_the_mean_norm_is_that_of_the_vectors_themselves():
    assert anisotropy.geometry(np.array([[3.0, 4], [0, 1]]))["mean_norm"] == 3


@pytest.mark.parametrize("scale", [1, 1000])
def test_the_partition_score_is_finite_at_any_scale(scale):
    assert 0 <= anisotropy.partition_score(scale * E) <= 1


def test_the_partition_score_compares_both_directions_of_each_axis():
    """A line: exp(-1) + exp(3) along it, exp(1) + exp(-3) against it, and 2 across it."""
    found = anisotropy.partition_score(np.array([[-1.0, 0], [3, 0]]))
    assert found == pytest.approx(2 / (np.exp(-1) + np.exp(3)))


def test_whitening_can_remove_the_mean_alone_or_everything():
    np.testing.assert_allclose(anisotropy.whiten(E, 0), E - E.mean(0), atol=1e-6)
    np.testing.assert_allclose(anisotropy.whiten(E, 2), 0, atol=1e-6)
    np.testing.assert_array_equal(anisotropy.whiten(E), anisotropy.whiten(E, 1))
    with toy.refused("--whiten -1"):
        anisotropy.whiten(E, -1)


def test_pairs_are_drawn_by_the_seed_and_never_of_a_row_with_itself(monkeypatch):
    """The uniformity of opposite rows is -8; with itself a row would add exp(0)."""
    monkeypatch.setattr(anisotropy, "PAIRS", 14)
    assert anisotropy.uniformity(E) == anisotropy.uniformity(E, seed=1) != anisotropy.uniformity(E, seed=2)
    opposite = np.array([[1.0, 0], [-1, 0]])
    monkeypatch.setattr(anisotropy, "PAIRS", 0.5)
    monkeypatch.setattr(anisotropy.np.random, "default_rng", lambda seed: Draw())
    assert anisotropy.uniformity(opposite) == pytest.approx(-8)


class Draw:
    """The lowest numbers in the range."""

    def integers(self, low, high, count):
        return np.full(9, low)


def test_all_pairs_are_taken_up_to_the_limit(monkeypatch):
    monkeypatch.setattr(anisotropy, "PAIRS", 15)
    monkeypatch.setattr(anisotropy.np.random, "default_rng", None)
    assert anisotropy.uniformity(E) == pytest.approx(-2.24866699)
