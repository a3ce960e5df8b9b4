"""V-usable information, against values of scipy and the laws that define it."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics.bootstrap import interval
from plugins.diagnostics import usable_information

LOGITS = np.array([[2, 0, -1], [0, 1, 0], [0, 0, 5], [-30, 60, 0]], float)
LABELS = np.array([0, 0, 2, 0])
NULL = np.log2(np.array([4, 1, 2]) / 7)


def test_pvi_of_four_rows():
    """scipy.special.log_softmax; the last row's probability underflows in float32."""
    expected = [0.56231891, -1.43090667, 1.78804315, -129.03519876]
    np.testing.assert_allclose(usable_information.pvi(LOGITS, LABELS, NULL), expected, atol=1e-8)
    np.testing.assert_allclose(usable_information.pvi(LOGITS.astype(np.float32), LABELS, NULL), expected, atol=1e-6)


def test_bits_with_and_without_the_input():
    h_yb, h_yx = usable_information.entropies(LOGITS, LABELS, NULL)
    np.testing.assert_allclose(h_yb, [0.80735492, 0.80735492, 1.80735492, 0.80735492], atol=1e-8)
    np.testing.assert_allclose(h_yx, [0.24503601, 2.23826160, 0.01931177, 129.842554], atol=1e-6)


def test_a_null_for_each_row_and_logits_of_each_seed():
    one = usable_information.pvi(LOGITS, LABELS, NULL)
    nulls = np.repeat(NULL[None], 4, 0)
    np.testing.assert_allclose(usable_information.pvi(np.stack([LOGITS, LOGITS]), LABELS, nulls), [one, one])


def test_prior_of_a_class_without_training_rows_is_finite():
    np.testing.assert_allclose(2 ** usable_information.prior_log2([0, 0, 0, 1], 3), [3.5 / 5.5, 1.5 / 5.5, 0.5 / 5.5])
    np.testing.assert_allclose(2 ** usable_information.prior_log2([0, 1, 1, 1], 2, smoothing=0), [0.25, 0.75])


def test_several_annotators():
    found = usable_information.expected_pvi(LOGITS[:1], np.array([[0.5, 0.5, 0]]), NULL)
    single = [usable_information.pvi(LOGITS[:1], [k], NULL)[0] for k in (0, 1)]
    np.testing.assert_allclose(found, [np.mean(single)])


def test_independent_labels_have_no_usable_information():
    """A calibrated random guesser: the interval contains 0 in about 95 of 100 data sets."""
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        labels, logits = random.integers(3, size=400), random.normal(0, 0.5, (400, 3))
        scaled, _ = usable_information.calibrated(logits, labels, np.arange(400) % 5)
        bits = usable_information.pvi(scaled, labels, usable_information.prior_log2(labels, 3))
        low, high = interval(bits, resamples=300, seed=seed)
        covered += low - 0.01 <= 0 <= high + 0.01
    assert covered >= 54


@pytest.mark.parametrize("factor", [0.2, 1, 8])
def test_temperature_undoes_a_factor(factor):
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (20000, 3))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(1)  # drawn from softmax(logits)
    assert usable_information.temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_calibration_does_not_lower_the_information():
    random = np.random.default_rng(2)
    null = np.log2([1 / 3] * 3)
    for sharpness in (0.3, 1, 3, 10):
        logits = random.normal(0, 2, (3000, 3))
        labels = (logits + random.gumbel(size=logits.shape)).argmax(1)
        scaled, temperatures = usable_information.calibrated(sharpness * logits, labels, np.arange(3000) % 5)
        raw, better = (usable_information.pvi(z, labels, null).mean() for z in (sharpness * logits, scaled))
        assert better >= raw - 0.002 and len(temperatures) == 5


def test_temperature_and_bias_undo_a_factor_and_a_shift():
    random = np.random.default_rng(5)
    logits = random.normal(0, 2, (20000, 3))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(1)  # drawn from softmax(logits)
    found, bias = usable_information.temperature_and_bias((logits - [1, 0, -1]) * 4, labels)
    assert found == pytest.approx(4, rel=0.05)
    np.testing.assert_allclose(bias, [1, 0, -1], atol=0.08)


def test_a_bias_calibrates_an_uninformative_model_to_the_class_prior():
    """A temperature alone moves predictions towards equal shares: one bit per row, where H(Y) is 0.47."""
    random = np.random.default_rng(6)
    labels = (random.random(5000) < 0.1).astype(int)
    logits, folds, null = random.normal(size=(5000, 2)), np.arange(5000) % 5, np.log2([0.9, 0.1])
    plain, shifted = (
        usable_information.pvi(usable_information.calibrated(logits, labels, folds, bias)[0], labels, null).mean()
        for bias in (False, True)
    )
    assert plain == pytest.approx(-0.53, abs=0.03) and shifted == pytest.approx(0, abs=0.003)


def test_a_class_without_rows_has_a_finite_bias():
    _, bias = usable_information.temperature_and_bias(np.zeros((20, 3)), np.arange(20) % 2)
    assert np.isfinite(bias).all() and bias[2] < -5 and bias.sum() == pytest.approx(0)


def test_temperature_of_a_fold_does_not_see_its_own_rows():
    random = np.random.default_rng(3)
    logits, labels, folds = random.normal(size=(40, 2)), random.integers(2, size=40), np.arange(40) % 2
    changed = np.where(folds == 0, 1 - labels, labels)
    scaled, temperatures = usable_information.calibrated(logits, labels, folds)
    assert usable_information.calibrated(logits, changed, folds)[1][0] == temperatures[0]
    np.testing.assert_allclose(scaled[folds == 0], logits[folds == 0] / temperatures[0])


def test_an_error_in_one_fold_does_not_cost_more_than_before_the_calibration():
    """The other folds have no errors: n correct rows leave another error a probability of 1 / (n + 2)."""
    labels, folds = np.arange(81) % 2, np.arange(81) // 2 % 3
    logits = 6.0 * np.eye(2)[labels]
    logits[0] = logits[0][::-1]
    scaled, temperatures = usable_information.calibrated(logits, labels, folds)
    raw, better = (usable_information.pvi(z, labels, np.array([-1.0, -1.0])) for z in (logits, scaled))
    assert temperatures[0] == pytest.approx(6 / np.log(np.sum(folds != 0) + 1))
    assert better[0] == pytest.approx(1 - np.log2(np.sum(folds != 0) + 2)) and better[0] > raw[0]
    assert better.mean() > raw.mean()


def test_perfect_logits_stop_at_the_coldest_temperature():
    assert usable_information.temperature(np.array([[9.0, 0], [0, 9]]), [0, 1]) == 0.01
    assert usable_information.temperature(np.array([[9.0, 0], [0, 9]]), [1, 0]) == 100


@pytest.mark.parametrize(("r2", "bits"), [(0.5, 0.5), (0.9, 1.660964)])
def test_gaussian_information_of_a_regression(r2, bits):
    """-1/2 log2(1 - R^2), in sample."""
    random = np.random.default_rng(4)
    signal, noise = np.linalg.qr(random.normal(size=(1000, 3)) - [[0, 0, 0]])[0][:, :2].T
    signal, noise = signal - signal.mean(), noise - noise.mean()
    noise -= signal * (noise @ signal) / (signal @ signal)
    targets = np.sqrt(r2) * signal / signal.std() + np.sqrt(1 - r2) * noise / noise.std()
    found, without = usable_information.gaussian_pvi(np.sqrt(r2) * signal / signal.std(), targets)
    assert found.mean() == pytest.approx(bits, abs=1e-6)
    assert without.mean() == pytest.approx(0.5 * np.log2(2 * np.pi * np.e), abs=1e-6)


def test_gaussian_needs_targets_that_differ():
    with toy.refused("targets"):
        usable_information.gaussian_pvi([1, 2, 3], [2, 2, 2])


def test_interval_keeps_groups_together():
    """Ten copies of each row contain no more information than the rows alone, so the interval must not shrink."""
    random = np.random.default_rng(5)
    values = random.normal(size=200)
    alone = interval(values)
    copies = interval(np.repeat(values, 10), np.repeat(np.arange(200), 10))
    naive = interval(np.repeat(values, 10))
    assert np.diff(copies)[0] == pytest.approx(np.diff(alone)[0], rel=0.1)
    assert np.diff(naive)[0] < 0.5 * np.diff(alone)[0]


def test_interval_has_the_spread_of_seeds_in_it():
    constant = np.repeat([[0.0], [1.0], [2.0]], 50, 1)  # rows do not differ, seeds do
    low, high = interval(constant)
    assert low < 0.5 and high > 1.5


def test_stability_of_the_lowest_rows():
    values = np.arange(100.0)
    assert usable_information.shared_lowest(np.stack([values, values]), 0.1) == 1
    assert usable_information.shared_lowest(np.stack([values, -values]), 0.1) == 0
    assert usable_information.shared_lowest(np.stack([values, np.roll(values, 5)]), 0.1) == 0.5


@pytest.mark.parametrize(
    ("logits", "labels", "named"),
    [
        ([[0, np.nan], [1, 2]], [0, 1], ["logits", "row 0"]),
        ([[0, 1], [1, np.inf]], [0, 1], ["logits", "row 1"]),
        ([[0, 1], [1, 2]], [0, 1, 1], ["labels", "3 rows"]),
        ([[0, 1], [1, 2]], [0, 2], ["labels", "[1]", "[2]"]),
        ([[0, 1], [1, 2]], [0, 0.5], ["labels"]),
        ([[0], [1]], [0, 0], ["logits", "(2, 1)"]),
        (np.zeros((0, 2)), [], ["logits", "(0, 2)"]),
    ],
)
def test_bad_predictions_are_named(logits, labels, named):
    with toy.refused(*named):
        usable_information.pvi(np.array(logits), np.array(labels), [-1.0] * np.shape(logits)[1])


def test_a_null_of_another_size_is_refused():
    with toy.refused("null_log2"):
        usable_information.pvi(LOGITS, LABELS, [-1.0, -1.0])


def test_gaussian_information_by_fold():
    """Of each fold by the other: means 4 and 1, s of 2 and 1, s0^2 of 2/3."""
    targets, folds = np.array([0.0, 1, 2, 3, 4, 5]), np.array([0, 0, 0, 1, 1, 1])
    found, without = usable_information.gaussian_pvi(targets + [1, -1, 1, 2, -2, 2], targets, folds)
    half = 0.5 * np.log2(2 * np.pi)
    np.testing.assert_allclose(without[[0, 5]], half + 0.5 * np.log2(2 / 3) + 12 / np.log(2))
    np.testing.assert_allclose((without - found)[[0, 5]], half + [1 + 0.125 / np.log(2), 2 / np.log(2)])


@pytest.mark.parametrize(
    ("predictions", "targets", "named"),
    [([1.0, 2], [1.0, 2, 3], "(3,)"), ([[1.0], [2]], [[1.0], [3]], "(2, 1)"), ([1, np.nan], [1, 2], "NaN"),
     ([1, 2], [1, np.inf], "NaN"), ([1, 2], [1, 2], "exactly")],
)  # fmt: skip
def test_scores_that_cannot_be_used_are_refused(predictions, targets, named):
    with toy.refused(named):
        usable_information.gaussian_pvi(np.array(predictions), np.array(targets))


def test_folds_and_seeds_that_do_not_fit_are_refused():
    with toy.refused("folds", 3, 4):
        usable_information.calibrated(LOGITS, LABELS, np.zeros(3))
    for values in (np.zeros((1, 5)), np.zeros(5)):
        with toy.refused("two seeds"):
            usable_information.shared_lowest(values)
    with toy.refused("null_log2"):
        usable_information.pvi(LOGITS, LABELS, np.array([-1, np.nan, -1]))


def test_at_least_one_row_is_lowest_and_pairs_of_seeds_are_averaged():
    first, second = np.arange(10.0), np.roll(np.arange(10.0), 1)
    assert usable_information.shared_lowest(np.stack([first, first, second]), 0.01) == pytest.approx(1 / 3)
    assert usable_information.shared_lowest(np.stack([first, second]), 0.2) == 0.5
    assert usable_information.shared_lowest(np.stack([np.arange(200.0), np.roll(np.arange(200.0), 1)])) == 0.5


def test_a_single_fold_is_calibrated_on_itself_and_its_bias_is_added():
    logits = np.array([[2.0, 0], [2, 0], [0, 2], [2, 0]] * 5)
    labels = np.array([0, 0, 1, 1] * 5)
    scaled, found = usable_information.calibrated(logits, labels, np.zeros(20))
    assert found == pytest.approx([2 / np.log(3)])  # three of four are right
    np.testing.assert_allclose(scaled, logits / found[0])
    shifted, found = usable_information.calibrated(logits, labels, np.zeros(20), bias=True)
    p = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    assert p[0] == pytest.approx([2 / 3, 1 / 3], abs=1e-3) and p[2, 1] > 0.99
