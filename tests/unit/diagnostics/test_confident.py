"""Confident learning, against values of cleanlab 2.9.0, and against cleanlab itself where it is installed."""

import time
import warnings

import numpy as np
import pytest
import toy

from plugins.diagnostics import confident

P = np.array([
    [.9, .05, .05], [.8, .1, .1], [.1, .8, .1], [.2, .7, .1], [.1, .2, .7], [.05, .05, .9], [.1, .85, .05],
    [.6, .3, .1], [.05, .15, .8], [.34, .33, .33],
])  # fmt: skip
Y = np.array([0, 0, 0, 1, 1, 2, 1, 1, 2, 2])
FOURTH = np.column_stack([P * 0.97, np.full(10, 0.03)])  # a class that no row is labeled with


def test_thresholds():
    np.testing.assert_allclose(confident.thresholds(P, Y), [0.6, 0.5125, 0.67666667], atol=1e-8)
    np.testing.assert_allclose(confident.thresholds(FOURTH, Y), [0.582, 0.497125, 0.65636667, 2], atol=1e-8)


def test_joint():
    assert confident.joint(P, Y).tolist() == [[2, 1, 0], [1, 2, 1], [0, 0, 2]]
    assert confident.joint(P, Y, calibrate=True).tolist() == [[2, 1, 0], [1, 2, 1], [0, 0, 3]]
    assert confident.joint(FOURTH, Y)[3].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("filter_by", confident.FILTERS)
def test_flags(filter_by):
    expected = [2, 4, 7, 9] if filter_by == "predicted_neq_given" else [2, 4, 7]
    assert np.flatnonzero(confident.issues(P, Y, filter_by)).tolist() == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("self_confidence", P[np.arange(10), Y]),
        ("normalized_margin", [0.925, 0.85, 0.15, 0.75, 0.25, 0.925, 0.875, 0.35, 0.825, 0.495]),
        ("confidence_weighted_entropy", [0.841535, 0.751541, 0.329976, 0.685034, 0.421103, 0.841535, 0.795476, 0.482634,
                                         0.758691, 0.459987]),
    ],
)  # fmt: skip
def test_scores(method, expected):
    np.testing.assert_allclose(confident.scores(P, Y, method), expected, atol=1e-6)


def test_probable_rows_of_a_planted_error_rank_first():
    random = np.random.default_rng(0)
    true = random.integers(3, size=2000)
    probabilities = random.dirichlet([1, 1, 1], 2000) * 0.4 + np.eye(3)[true] * 0.6
    given = true.copy()
    wrong = random.choice(2000, 200, False)
    given[wrong] = (true[wrong] + 1) % 3
    first = np.argsort(confident.scores(probabilities, given))[:200]
    assert np.isin(first, wrong).mean() > 0.5
    assert 0.05 < confident.noise_share(probabilities, given) < 0.2


def test_large_data_take_under_two_seconds():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3, 0.3, 0.3], 1_000_000)
    labels = (probabilities.cumsum(1) > random.random((1_000_000, 1))).argmax(1)
    began = time.process_time()
    flags = confident.issues(probabilities, labels)
    seconds = time.process_time() - began
    assert flags.any() and seconds < 2


@pytest.mark.parametrize(
    ("probabilities", "labels", "named"),
    [
        (P * 2, Y, ["probabilities", "row 0"]),
        (P * 0.9, Y, ["probabilities", "row 0"]),
        (np.where(P == 0.34, np.nan, P), Y, ["probabilities", "row 9"]),
        (P, Y[:-1], ["labels", 9, 10]),
        (P, Y + 1, ["labels", "[5]", "[3]"]),
    ],
)
def test_bad_input_is_named(probabilities, labels, named):
    with toy.refused(*named):
        confident.issues(probabilities, labels)


def test_unknown_names_are_refused_with_a_list_of_known_ones():
    with toy.refused("'prune'", "prune_by_class"):
        confident.issues(P, Y, "prune")
    with toy.refused("'margin'", "normalized_margin"):
        confident.scores(P, Y, "margin")


# Forty rows, of which none has the last label; literals of cleanlab 2.9.0


def forty():
    random = np.random.default_rng(11)
    p = (random.dirichlet([0.7] * 4, 40) * 1000).round() / 1000
    p[:, 0] += 1 - p.sum(1)
    y = (p.cumsum(1) > random.random((40, 1))).argmax(1)
    y = np.where(random.random(40) < 0.25, random.integers(4, size=40), y)
    return p, np.where(y == 3, 0, y)


def test_joint_and_noise_of_forty_rows():
    p, y = forty()
    assert confident.joint(p, y).tolist() == [[10, 3, 4, 0], [2, 4, 1, 0], [0, 1, 3, 0], [0, 0, 0, 1]]
    calibrated = confident.joint(p, y, calibrate=True)
    assert calibrated.tolist() == [[15, 4, 6, 0], [3, 5, 1, 0], [0, 2, 4, 0], [0, 0, 0, 0]]
    prior, noise, inverse = confident.noise_matrices(calibrated, y)
    np.testing.assert_allclose(prior, [0.45, 0.275, 0.275, 1e-6], atol=1e-6)
    np.testing.assert_allclose(noise, [
        [0.833333, 0.363636, 0.545455, 0], [0.166667, 0.454545, 0.090909, 0], [0, 0.181818, 0.363636, 0], [0] * 4,
    ], atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(inverse, [
        [0.6, 0.333333, 0, 0], [0.16, 0.555556, 0.333333, 0], [0.24, 0.111111, 0.666667, 0], [0] * 4,
    ], atol=1e-6)  # fmt: skip
    assert confident.noise_share(p, y) == pytest.approx(16 / 40)


FLAGGED = {
    "prune_by_noise_rate": [2, 4, 6, 13, 21, 23, 25, 26, 27, 29, 32, 34, 36, 37],
    "prune_by_class": [2, 6, 13, 19, 21, 23, 26, 27, 29, 32, 33, 34, 35, 37],
    "both": [2, 6, 13, 21, 23, 26, 27, 29, 32, 34, 37],
    "confident_learning": [4, 10, 18, 21, 25, 29, 32, 34, 36, 37],
    "predicted_neq_given": [2, 4, 6, 10, 12, 13, 16, 18, 19, 21, 23, 25, 26, 27, 28, 29, 32, 33, 34, 35, 36, 37, 39],
    "low_self_confidence": [6, 13, 19, 23, 26, 27, 32, 34, 35, 37],
    "low_normalized_margin": [4, 6, 13, 19, 26, 27, 32, 34, 35, 37],
}


@pytest.mark.parametrize("filter_by", confident.FILTERS)
def test_flags_of_forty_rows(filter_by):
    assert np.flatnonzero(confident.issues(*forty(), filter_by)).tolist() == FLAGGED[filter_by]
    assert FLAGGED["prune_by_noise_rate"] == np.flatnonzero(confident.issues(*forty())).tolist()


@pytest.mark.parametrize(
    ("method", "expected"),
    [("self_confidence", [0.3888, 0.4271, 0.3091, 0.3243, 0.3425, 0.3933]),
     ("normalized_margin", [0.5385, 0.5581, 0.4817, 0.4993, 0.4883, 0.5233])],
)  # fmt: skip
def test_scores_adjusted_by_the_thresholds(method, expected):
    np.testing.assert_allclose(confident.scores(*forty(), method, adjust=True)[:6], expected, atol=1e-4)
    with toy.refused("confidence_weighted_entropy"):
        confident.scores(P, Y, "confidence_weighted_entropy", adjust=True)


def test_equal_probabilities_agree_with_the_given_class():
    p = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])
    assert not confident.issues(p, np.array([0, 1, 0, 1]), "predicted_neq_given").any()


# The reference


def cases():
    random = np.random.default_rng(7)
    for classes, rows, concentration, missing in [(2, 300, 0.5, 0), (3, 500, 1, 0), (5, 400, 0.3, 1), (4, 60, 2, 1),
                                                   (8, 900, 0.2, 2), (3, 1000, 5, 0)]:  # fmt: skip
        p = random.dirichlet([concentration] * classes, rows)
        y = (p.cumsum(1) > random.random((rows, 1))).argmax(1)
        noisy = random.random(rows) < 0.15
        y = np.where(noisy, random.integers(classes, size=rows), y)
        yield p, np.where(y >= classes - missing, 0, y)


@pytest.mark.parametrize(("probabilities", "labels"), list(cases()), ids=lambda value: str(np.shape(value)))
def test_equal_to_cleanlab(probabilities, labels):
    pytest.importorskip("cleanlab", reason="the reference: pip install -r requirements/bench.txt")
    from cleanlab import count, filter, rank

    p, y = probabilities, labels
    np.testing.assert_allclose(confident.thresholds(p, y), count.get_confident_thresholds(y, p), atol=1e-9)
    for calibrate in (False, True):
        expected = count.compute_confident_joint(y, p, calibrate=calibrate)
        assert (confident.joint(p, y, calibrate=calibrate) == expected).all()
    ours = confident.noise_matrices(confident.joint(p, y, calibrate=True), y)
    for mine, theirs in zip(ours, count.estimate_latent(confident.joint(p, y, calibrate=True), y), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in confident.FILTERS:
            assert (confident.issues(p, y, name) == filter.find_label_issues(y, p, filter_by=name, n_jobs=1)).all()
    for method in confident.METHODS:
        np.testing.assert_allclose(
            confident.scores(p, y, method), rank.get_label_quality_scores(y, p, method=method), atol=1e-9
        )
    for method in confident.METHODS[:2]:
        expected = rank.get_label_quality_scores(y, p, method=method, adjust_pred_probs=True)
        np.testing.assert_allclose(confident.scores(p, y, method, adjust=True), expected, atol=1e-9)


def test_rounding_keeps_the_sums_of_rows_and_moves_the_entries_with_the_largest_error():
    exact = np.array([[0.4, 0.3, 0.3, 0, 0], [1.7, 1.6, 0.7, 0, 0], [0.45, 0.45, 0.4, 0.4, 0.3], [2, 0, 1, 0, 0]])
    assert confident._rounded(exact).tolist() == [[1, 0, 0, 0, 0], [2, 1, 1, 0, 0], [1, 1, 0, 0, 0], [2, 0, 1, 0, 0]]
