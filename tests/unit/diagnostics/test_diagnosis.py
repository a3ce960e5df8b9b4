"""A diagnosis of synthetic logits with known results."""

import dataclasses

import numpy as np
import pytest
import toy

from plugins.diagnostics import curves, diagnosis, diagnosis_report, slices


def made(rows=600, classes=3, seeds=2, sharpness=1.0, wrong=0.0, seed=0):
    """Logits (S, n, K), labels drawn from their softmax, folds; some labels are then made wrong."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (rows, classes))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(1)
    planted = random.choice(rows, int(wrong * rows), False)
    labels[planted] = (labels[planted] + 1) % classes
    noisy = logits + random.normal(0, 0.3, (seeds, rows, classes))
    return sharpness * noisy, labels, np.arange(rows) % 5, planted


def test_overconfident_models_hide_information_that_calibration_finds():
    logits, labels, folds, _ = made(sharpness=8)
    d = diagnosis.diagnose(logits, labels, list("abc"), folds)
    m = diagnosis.measured(d, resamples=100)
    assert m["V"] < 0 < 0.4 < m["V_calibrated"] and (d.temperatures > 5).all()
    assert any("over-confident" in line for line in d.warnings)
    assert m["V_calibrated_interval"][0] < m["V_calibrated"] < m["V_calibrated_interval"][1]


def test_planted_errors_come_first_and_suggestions_are_other_classes():
    logits, labels, folds, planted = made(rows=1500, wrong=0.1)
    d = diagnosis.diagnose(logits, labels, list("abc"), folds)
    first = np.argsort(d.rank_score)[:150]
    assert np.isin(first, planted).mean() > 0.4
    assert (diagnosis_report.suggested(d) != d.labels).all()


def test_the_null_of_a_fold_is_the_prior_of_the_others():
    null = diagnosis.prior_by_fold(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(2 ** null[0], [0.5, 0.5])
    np.testing.assert_allclose(2 ** null[2], [2.5 / 3, 0.5 / 3])


def test_a_collapsed_run_and_an_unused_class_are_named():
    logits, labels, folds, _ = made()
    logits[1] = [3.0, 0, 0]
    d = diagnosis.diagnose(np.concatenate([logits, np.full((2, 600, 1), -9.0)], -1), labels, list("abcd"), folds)
    assert any("seed number 2, fold 1" in line and "'a'" in line for line in d.warnings)
    assert any("'d'" in line for line in d.warnings)


def test_a_run_whose_answers_vary_is_not_reported():
    logits, labels, folds, _ = made()
    assert not any("seed number" in line for line in diagnosis.diagnose(logits, labels, list("abc"), folds).warnings)


def test_folds_of_another_number_of_rows_are_refused():
    logits, labels, folds, _ = made(rows=50)
    with toy.refused("folds", 49, 50):
        diagnosis.diagnose(logits, labels, list("abc"), folds[:49])


def test_predictions_without_folds_are_warned_of():
    logits, labels, _, _ = made(rows=50)
    assert "folds" in diagnosis.diagnose(logits, labels, list("abc")).warnings[0]


def test_a_small_class_stays_finite():
    logits, labels, folds, _ = made(rows=100)
    labels[:] = labels % 2
    labels[0] = 2
    d = diagnosis.diagnose(logits, labels, list("abc"), folds)
    assert np.isfinite(d.pvi).all() and any("'c'" in line and "never saw" in line for line in d.warnings)
    folds, labels[:2] = np.arange(100) % 4, 2
    d = diagnosis.diagnose(logits, labels, list("abc"), folds)
    assert [line for line in d.warnings if "'c'" in line] == ["class 'c' has 2 rows, fewer than folds"]


def test_folds_of_a_few_rows_do_not_count_as_collapsed():
    logits, labels, _, _ = made(rows=60)
    found = diagnosis.diagnose(logits, labels, list("abc"), np.arange(60) % 30).warnings
    assert not any("collapsed" in line for line in found)


def test_training_maps_of_runs_that_see_different_rows():
    logits = np.zeros((2, 4, 2), np.float32)
    logits[:, :, 0] = 1
    first, second = logits.copy(), logits.copy()
    first[:, 0], second[:, :2] = np.nan, np.nan
    found = diagnosis.training_map([list(first), list(second)], np.array([0, 0, 1, 0]))
    assert np.isnan(found["confidence"][0])
    np.testing.assert_allclose(found["confidence"][1:], [0.73105858, 0.26894142, 0.73105858], atol=1e-6)


def test_a_regression_has_bits_but_no_flags(tmp_path):
    random = np.random.default_rng(0)
    targets = random.uniform(0, 5, 300)
    d = diagnosis.diagnose_scores(targets + random.normal(0, 0.5, (2, 300)), targets, np.arange(300) % 3)
    summary = diagnosis_report.summarized(d, resamples=50)
    assert 1 < summary["V"] < 2 and summary["rmse"] == pytest.approx(0.5, abs=0.05) and not d.flags
    columns = diagnosis_report.columns(d, [["t"] * 300], [str(i) for i in range(300)])
    diagnosis_report.write(tmp_path, d, columns, summary)
    header = "idx,sentence1,label,H_yb,H_yx,correct_yx,predicted_label,PVI,"
    assert (tmp_path / "diagnosis.csv").read_text().startswith(header)


def test_the_files_of_a_classification(tmp_path):
    logits, labels, folds, _ = made(rows=200)
    groups = np.arange(200)
    groups[7] = 3
    d = diagnosis.diagnose(logits, labels, list("abc"), folds, groups=groups)
    summary = diagnosis_report.summarized(d, {"length": slices.by_number(np.arange(200))}, resamples=50)
    columns = diagnosis_report.columns(d, [["x"] * 200, ["y"] * 200], [f"r{i}" for i in range(200)])
    assert columns["duplicate_of"][7] == "r3" and columns["duplicate_of"][3] == ""
    assert list(columns) == [  # what users' programs read
        "idx", "sentence1", "sentence2", "label", "H_yb", "H_yx", "correct_yx", "predicted_label", "PVI",
        "PVI_calibrated", "PVI_sd", "confidence", "variability", "correctness", "forgetfulness", "threshold_closeness",
        "aum", "is_label_issue", "label_quality", "rank_score", "suggested_label", "fold", "duplicate_of", "split",
    ]  # fmt: skip
    diagnosis_report.write(tmp_path, d, columns, summary)
    assert {p.name for p in tmp_path.iterdir()} == {"diagnosis.csv", "probabilities.npz", "summary.json", "summary.md"}
    assert "## By length" in (tmp_path / "summary.md").read_text()
    with np.load(tmp_path / "probabilities.npz") as file:
        assert file["probs"].shape == (2, 200, 3)


def test_bits_by_epoch():
    logits, labels, folds, _ = made()
    weak, strong = diagnosis.by_epoch([logits * 0.1, logits], labels, folds)
    assert weak["V"] < strong["V"] and weak["V_calibrated"] == pytest.approx(strong["V_calibrated"], abs=0.01)


def test_slices_by_number_and_value():
    found = slices.by_number(np.array([1, 1, 1, 2, 3, 4, 5, 6]))
    assert sum(rows.sum() for rows in found.values()) == 8
    assert slices.by_value(["a", "b", "a"], "x")["a"].tolist() == [True, False, True]
    assert len(slices.by_value([str(i) for i in range(100)], "x")) == 4
    with toy.refused("--slices x"):
        slices.by_value([f"w{i}" for i in range(100)], "x")


def test_subsets_are_nested_and_keep_the_labels():
    labels = np.random.default_rng(0).integers(3, size=1000)
    small, large = (curves.nested(labels, share) for share in (0.1, 0.5))
    assert (large | ~small).all()
    assert small.sum() == pytest.approx(100, abs=5) and large.sum() == pytest.approx(500, abs=5)
    assert np.abs(np.bincount(labels[small]) / small.sum() - np.bincount(labels) / 1000).max() < 0.05


def test_a_power_law_is_recovered():
    sizes = np.array([100, 300, 1000, 3000, 10000])
    found = curves.fit(sizes, 1.2 - 5 * sizes**-0.5)
    assert found["limit"] == pytest.approx(1.2, abs=1e-3) and found["c"] == pytest.approx(0.5, abs=1e-2)
    assert found["rows_for_95"] == pytest.approx((5 / 0.06) ** 2, rel=0.02)
    assert curves.fit(sizes[:3], sizes[:3]) is None


def test_a_limit_is_at_most_the_entropy_of_the_labels_and_within_reach():
    """V that rises with the logarithm of the size has no limit; a power law would put it at several bits."""
    sizes = np.array([40, 80, 160, 320, 560, 800])
    found = curves.fit(sizes, 0.1 * np.log2(sizes) - 0.3, 1.0)
    assert 0.7 < found["limit"] <= 1.0 and found["b"] < 0 and found["rows_for_95"] is None
    flat = curves.fit(sizes, 0.5 - 4.0 / sizes, 1.0)
    assert flat["limit"] == pytest.approx(0.5, abs=1e-3) and flat["rows_for_95"] == pytest.approx(160, rel=0.02)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_out_of_range_is_refused(share):
    with toy.refused(f"--sizes {share:g}"):
        curves.nested(np.arange(50) % 2, share)


def test_a_share_without_rows_is_refused_and_the_whole_is_every_row():
    labels = np.arange(20) % 2
    with toy.refused("--sizes 0.01", 20):
        curves.nested(labels, 0.01)
    assert curves.nested(labels, 1).all()


def test_seeds_without_variance_have_no_correlation():
    d = diagnosis.diagnose(np.zeros((2, 12, 2)), np.arange(12) % 2, list("ab"), np.arange(12) % 3)
    assert diagnosis.stability(d)["correlation"] is None
    assert "correlates" not in diagnosis_report.markdown(diagnosis_report.summarized(d, resamples=10))


def test_the_null_of_a_single_fold_is_the_prior_of_all_rows():
    null = diagnosis.prior_by_fold(np.array([0, 0, 0, 1]), np.zeros(4, int), 2)
    np.testing.assert_allclose(2**null, [[3.5 / 5, 1.5 / 5]] * 4)


def test_seeds_that_differ_by_a_factor_have_the_same_calibrated_results():
    logits, labels, folds, _ = made(rows=300, seeds=1)
    one = diagnosis.diagnose(logits, labels, list("abc"), folds)
    two = diagnosis.diagnose(np.concatenate([logits, 3 * logits]), labels, list("abc"), folds)
    np.testing.assert_allclose(two.temperatures, [one.temperatures[0], 3 * one.temperatures[0]], rtol=1e-5)
    np.testing.assert_allclose(two.log_probabilities, one.log_probabilities, atol=1e-5)
    np.testing.assert_allclose(two.pvi_calibrated, np.repeat(one.pvi_calibrated, 2, 0), atol=1e-4)
    assert (two.pvi[0] == one.pvi[0]).all() and np.abs(two.pvi[1] - one.pvi[0]).max() > 0.5
    np.testing.assert_allclose(np.exp(two.log_probabilities).sum(1), 1)
    own = logits[0, 0] / one.temperatures[0, 0]
    np.testing.assert_allclose(one.log_probabilities[0], own - np.log(np.exp(own).sum()))


def test_fields_of_a_diagnosis_without_folds_but_with_a_null():
    logits = np.array([[[2.0, 0], [0, 1], [3, 0], [0, 2]], [[0, 2.0], [0, 1], [3, 0], [2, 0]]])
    labels, null = np.array([0, 1, 1, 0]), np.log2([[0.5, 0.5]] * 3 + [[0.25, 0.75]])
    d = diagnosis.diagnose(logits, labels, ("no", "yes"), null_log2=null)
    assert d.h_yb.tolist() == [1, 1, 1, 2] and d.classes == ["no", "yes"]
    assert d.correct.tolist() == [[True, True, False, False], [False, True, False, True]]
    np.testing.assert_allclose(d.h_yx[0], [0.18312, 0.45194, 4.39819, 3.06851], atol=1e-4)  # log2(1 + exp(...))
    np.testing.assert_allclose(d.pvi, d.h_yb - d.h_yx)
    assert d.folds.tolist() == [0] * 4 and d.groups.tolist() == [0, 1, 2, 3] and d.temperatures.shape == (2, 1)
    assert d.joint.sum() == 4 and d.quality.argmin() == 2 == d.rank_score.argmin()
    groups = np.array([7, 7, 8, 9])
    assert diagnosis.diagnose(logits, labels, ("no", "yes"), groups=groups).groups.tolist() == [7, 7, 8, 9]


@pytest.mark.parametrize(
    ("logits", "classes", "named"), [(np.zeros((4, 2)), "ab", "(4, 2)"), (np.zeros((1, 4, 2)), "abc", "3 names")]
)
def test_predictions_of_another_shape_are_refused(logits, classes, named):
    with toy.refused("logits", named):
        diagnosis.diagnose(logits, np.array([0, 1, 0, 1]), list(classes))


def test_a_bias_is_fitted_on_request():
    logits, labels, folds, _ = made(rows=400)
    shifted = logits + [3.0, 0, 0]
    plain, better = (
        diagnosis.measured(diagnosis.diagnose(shifted, labels, list("abc"), folds, bias=bias), resamples=10)
        for bias in (False, True)
    )
    assert better["V_calibrated"] > plain["V_calibrated"] + 0.1 and better["V"] == plain["V"]
    [last] = diagnosis.by_epoch([shifted], labels, folds, bias=True)
    assert last["V_calibrated"] == pytest.approx(better["V_calibrated"])


BITS, RIGHT = np.array([[1.0, 1.0, 1.0], [0.5, 2.0, 1.0]]), np.array([True, False, True])


def test_a_table_of_bits_is_diagnosed_as_it_is():
    d = diagnosis.diagnose_bits(BITS, np.array([0, 1, 0]), ["a", "b"], RIGHT)
    assert d.pvi.tolist() == [[0.5, -1, 0]] == d.pvi_calibrated.tolist() and d.h_yb.tolist() == [1, 1, 1]
    assert d.h_yx.tolist() == [[0.5, 2, 1]] and d.correct.tolist() == [[True, False, True]]
    np.testing.assert_allclose(d.rank_score, [1, 1 / 3, 2 / 3])
    assert d.predicted is None and d.logits is None and d.temperatures.tolist() == [[1]]
    assert d.folds.tolist() == [0, 0, 0] and d.groups.tolist() == [0, 1, 2]
    assert len(d.warnings) == 2 and "bits" in d.warnings[0] and "seed number 1" in d.warnings[1]
    assert diagnosis.diagnose_bits(BITS, np.array([0, 1, 0]), ["a", "b"]).correct is None


def test_means_of_all_rows_and_of_some():
    d = diagnosis.diagnose_bits(BITS, np.array([0, 1, 0]), ["a", "b"], RIGHT)
    d = dataclasses.replace(
        d, pvi=np.array([[0.5, -1, 0], [0.7, 0.6, -0.4]]), pvi_calibrated=np.array([[0.5, 0.25, 0]] * 2)
    )
    found = diagnosis.measured(d, resamples=50)
    assert found["rows"] == 3 and found["V"] == pytest.approx(0.4 / 6) and found["V_calibrated"] == pytest.approx(0.25)
    assert (found["H_yb"], found["H_yx"]) == (1, pytest.approx(3.5 / 3))
    assert found["V_by_seed"] == pytest.approx([-1 / 6, 0.3]) and found["V_calibrated_by_seed"] == [0.25, 0.25]
    assert found["negative_share"] == pytest.approx(2 / 3)  # means over the seeds: 0.6, -0.2, -0.2
    assert found["share_of_label_information"] == pytest.approx(0.25) and found["accuracy"] == pytest.approx(2 / 3)
    some = diagnosis.measured(d, np.array([True, True, False]), 50)
    assert some["rows"] == 2 and some["V"] == pytest.approx(0.2) and some["accuracy"] == 0.5
    assert some["V_calibrated_by_seed"] == [0.375, 0.375] and some["negative_share"] == 0.5
    certain = dataclasses.replace(d, h_yb=np.zeros(3), correct=None)
    found = diagnosis.measured(certain, resamples=10)
    assert found["share_of_label_information"] is None and found["accuracy"] is None


def test_a_regression_is_diagnosed_by_the_other_folds():
    targets, folds = np.array([0.0, 1, 2, 3, 4, 5]), np.array([0, 0, 0, 1, 1, 1])
    predictions = targets + [[1, -1, 1, 2, -2, 2], [1, 1, -1, 2, 2, -2]]
    d = diagnosis.diagnose_scores(predictions, targets, folds)
    # fold 0: s = 2, s0^2 = 2/3, mean 4; fold 1: s = 1, s0^2 = 2/3, mean 1
    np.testing.assert_allclose(d.h_yb[[0, 5]], 0.5 * np.log2(2 * np.pi * 2 / 3) + 16 / (4 / 3) / np.log(2))
    np.testing.assert_allclose(d.h_yx[:, 0], 0.5 * np.log2(2 * np.pi * 4) + 1 / 8 / np.log(2))
    np.testing.assert_allclose(d.h_yx[:, 5], 0.5 * np.log2(2 * np.pi) + 4 / 2 / np.log(2))
    np.testing.assert_allclose(d.pvi, d.h_yb - d.h_yx)
    assert (d.pvi == d.pvi_calibrated).all() and d.temperatures.tolist() == [[1], [1]]
    np.testing.assert_allclose(d.predicted, targets + [1, 0, 0, 2, 0, 0])
    assert d.groups.tolist() == list(range(6)) and d.rank_score.argmax() == d.pvi.mean(0).argmax() and d.classes == []
    assert diagnosis.diagnose_scores(predictions, targets, folds, np.zeros(6, int)).groups.tolist() == [0] * 6
    assert diagnosis.measured(d, resamples=10)["rmse"] == pytest.approx(np.sqrt(2.5))
    assert diagnosis.measured(d, folds == 0, 10)["rmse"] == pytest.approx(1)


def test_ranks_are_averaged_and_ties_share_one():
    np.testing.assert_allclose(diagnosis.ranked_together([3, 1, 1, 9]), [0.75, 0.375, 0.375, 1])
    np.testing.assert_allclose(diagnosis.ranked_together([1, 2], [20, 10]), [0.75, 0.75])


def test_seeds_are_compared_in_pairs():
    d = diagnosis.diagnose_bits(BITS, np.array([0, 1, 0]), ["a", "b"])
    assert diagnosis.stability(d) is None
    pvi = np.array([[0, 1.0, 2], [0, 2.0, 4], [2.0, 1, 0]])
    found = diagnosis.stability(dataclasses.replace(d, pvi=pvi, pvi_calibrated=pvi))
    assert found == {"hardest_share": 0.01, "shared": pytest.approx(1 / 3), "correlation": pytest.approx(-1 / 3)}


def test_epochs_are_numbered_and_have_the_accuracy_and_the_values_of_each_seed():
    labels = np.array([0, 1, 0, 0] * 5)
    right, wrong = 4.0 * np.eye(2)[labels], 4.0 * np.eye(2)[1 - labels]
    epochs = [np.zeros((2, 20, 2)), np.stack([right, wrong])]
    first, second = diagnosis.by_epoch(epochs, labels, np.arange(20) % 2, np.log2([0.75, 0.25]))
    assert (first["epoch"], second["epoch"], first["accuracy"], second["accuracy"]) == (1, 2, 0.75, 0.5)
    without = 0.75 * np.log2(4 / 3) + 0.25 * 2
    assert first["V"] == pytest.approx(without - 1) == first["V_calibrated"]
    bits = np.log2(1 + np.exp([-4.0, 4.0]))
    assert second["V_by_seed"] == pytest.approx(without - bits) and second["V"] == pytest.approx(without - bits.mean())
    assert second["temperature"] == pytest.approx((4 / np.log(11) + 100) / 2)
    assert second["V_calibrated_by_seed"] == pytest.approx(
        [without - np.log2(12 / 11), without - np.log2(1 + np.exp(0.04))]
    )
    found = diagnosis.by_epoch(epochs[:1], labels, np.zeros(20, int))[0]["V"]
    assert found == pytest.approx(0.75 * np.log2(21 / 15.5) + 0.25 * np.log2(21 / 5.5) - 1), "the prior of the labels"


def test_a_run_without_training_logits_is_refused():
    with toy.refused("logits"):
        diagnosis.training_map([[np.full((4, 2), np.nan)]], np.zeros(4, int))
