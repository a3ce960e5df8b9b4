"""A diagnosis of synthetic logits with known results."""

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
