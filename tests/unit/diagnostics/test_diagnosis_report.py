"""The summary of a diagnosis for readers."""

import numpy as np
import pytest

from plugins.diagnostics import diagnosis, diagnosis_report, formats


def measured(**more):
    return {"rows": 1200, "V": 0.51234, "V_interval": (0.4, 0.6), "V_calibrated": 0.7,
            "V_calibrated_interval": (0.65, 0.75), "H_yb": 1.5, **more}  # fmt: skip


CELLS = "1,200 | 0.512 | 0.400 to 0.600 | 0.700 | 0.650 to 0.750 | 1.500"
SUMMARY = measured(share_of_label_information=0.467, accuracy=0.8125) | {
    "classes": ["a", "b"], "folds": 5, "seeds": 2, "warnings": ["one", "two"],
    "stability": {"hardest_share": 0.05, "shared": 0.6, "correlation": 0.913},
    "slices": {"class": {"a": measured(), "b": measured(accuracy=0.25)}}, "inputs": {"first": measured()},
    "epochs": [{"epoch": 1, "V": 0.1, "V_calibrated": 0.2, "temperature": 1.5, "accuracy": 0.75}],
    "confident_learning": {"disagreement_share": 0.123, "joint": [[3, 1], [0, 4]], "flagged": {"both": 7}},
}  # fmt: skip


def test_every_section_has_its_table():
    lines = diagnosis_report.markdown(SUMMARY).splitlines()
    head = "|  | rows | V (bits) | 95 % | V calibrated | 95 % | H(Y) | V calibrated / H(Y) | accuracy |"
    assert lines.count(head) == 3
    for line in (
        "Warning: one.", "Warning: two.", f"| all rows | {CELLS} | 0.47 | 0.812 |", f"| a | {CELLS} |  |  |",
        f"| b | {CELLS} |  | 0.250 |", f"| first | {CELLS} |  |  |", "| 1 | 0.100 | 0.200 | 1.50 | 0.750 |",
        "| given label | a | b |", "| a | 3 | 1 |", "| b | 0 | 4 |", "| both | 7 |",
    ):  # fmt: skip
        assert line in lines, line
    for part in ("5 %", "60 %", "0.91"):
        assert any(part in line and "seed" in line for line in lines)
    assert any("12.3 %" in line for line in lines)
    assert [line for line in lines if line.startswith("## ")] == [
        "## By class", "## By input", "## By epoch", "## Model and label disagree",
    ]  # fmt: skip


def test_sections_without_content_are_left_out():
    bare = {key: value for key, value in SUMMARY.items()
            if key not in ("stability", "inputs", "epochs", "confident_learning")}  # fmt: skip
    lines = diagnosis_report.markdown(bare | {"slices": {}, "warnings": []}).splitlines()
    assert not [line for line in lines if line.startswith(("##", "Warning", "Of the hardest"))]


def test_the_sentence_has_bits_share_and_sizes():
    sentence = diagnosis_report.sentence(SUMMARY)
    for part in ("0.700 bits", "0.650 to 0.750", "47 %", "0.512 raw", "1,200 rows", "5 folds", "2 seeds"):
        assert part in sentence
    assert "%" not in diagnosis_report.sentence(measured(folds=5, seeds=2)).replace("95 %", "")


def test_a_learning_curve_has_its_sizes_and_the_size_for_its_limit():
    sizes = {"rows": [1000.0, 2000.0], "V_calibrated_by_seed": [[0.1, 0.2], [0.3, 0.3]],
             "fit": {"limit": 0.4321, "rows_for_95": 54321.0}}  # fmt: skip
    lines = diagnosis_report.markdown(SUMMARY | {"sizes": sizes}).splitlines()
    assert "| 1,000 | 0.150 | 0.100 0.200 |" in lines and "| 2,000 | 0.300 | 0.300 0.300 |" in lines
    assert any("0.432" in line and "54,321" in line for line in lines)
    assert "limit above 0" in diagnosis_report.limit_sentence(None)
    assert "still rises" in diagnosis_report.limit_sentence({"limit": 0.9, "b": -2.0, "rows_for_95": None})
    for fit in ({"limit": -0.1, "b": -2.0}, {"limit": 0.2, "b": 0.5}):
        assert "limit above 0" in diagnosis_report.limit_sentence(fit | {"rows_for_95": None})


def four(**more):
    """Four rows by two seeds; the second row repeats the first."""
    logits = np.array([[[3.0, 0], [3, 0], [0, 1], [2, 0]], [[3.0, 0], [0, 2], [0, 1], [2, 0]]])
    labels, folds = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    return diagnosis.diagnose(logits, labels, ["no", "yes"], folds, groups=np.array([5, 5, 6, 7]), **more)


def test_columns_of_a_classification_by_row():
    d = four()
    found = diagnosis_report.columns(d, [list("abcd")], ["r0", "r1", "r2", "r3"], split="dev")
    assert found["idx"] == ["r0", "r1", "r2", "r3"] and found["sentence1"] == list("abcd") and "sentence2" not in found
    assert found["label"] == ["no", "no", "yes", "yes"] and found["suggested_label"] == ["yes", "yes", "no", "no"]
    predicted = [d.classes[k] for k in d.predicted]
    assert found["predicted_label"] == predicted and predicted[0] == "no" and predicted[3] == "no"
    assert found["correct_yx"] == [predicted[i] == found["label"][i] for i in range(4)]
    assert (
        found["fold"] == [1, 1, 2, 2] and found["duplicate_of"] == ["", "r0", "", ""] and found["split"] == ["dev"] * 4
    )
    np.testing.assert_allclose(found["PVI"], (d.pvi[0] + d.pvi[1]) / 2)
    np.testing.assert_allclose(found["H_yx"], (d.h_yx[0] + d.h_yx[1]) / 2)
    np.testing.assert_allclose(found["PVI_sd"], np.abs(d.pvi_calibrated[0] - d.pvi_calibrated[1]) / 2)
    assert found["is_label_issue"] == d.flags["prune_by_noise_rate"].tolist() and found["aum"] == [""] * 4
    assert found["label_quality"] is d.quality and found["rank_score"] is d.rank_score
    mapped = {name: np.arange(4.0) for name in diagnosis_report.MAP_COLUMNS}
    assert diagnosis_report.columns(d, [list("abcd")], list("wxyz"), mapped)["variability"].tolist() == [0, 1, 2, 3]


def test_columns_of_a_table_of_bits_are_empty_where_it_says_nothing():
    bits = np.array([[1.0, 1.0], [0.5, 2.0]])
    d = diagnosis.diagnose_bits(bits, np.array([0, 1]), ["a", "b"], np.array([True, False]))
    found = diagnosis_report.columns(d, [["x", "y"]], ["0", "1"])
    assert found["correct_yx"] == [True, False] and found["split"] == ["train", "train"]
    for name in ("predicted_label", "is_label_issue", "label_quality", "suggested_label", "confidence"):
        assert found[name] == ["", ""], name
    unknown = diagnosis.diagnose_bits(bits, np.array([0, 1]), ["a", "b"])
    assert diagnosis_report.columns(unknown, [["x", "y"]], ["0", "1"])["correct_yx"] == ["", ""]
    assert "confident_learning" not in diagnosis_report.summarized(d, resamples=10)


def test_the_summary_counts_folds_groups_and_flags():
    d = four()
    slices = {"length": {"short": np.array([True, True, False, False]), "none": np.zeros(4, bool)}}
    found = diagnosis_report.summarized(d, slices, resamples=10, calibration="temperature")
    assert (found["classes"], found["seeds"], found["folds"], found["duplicate_groups"]) == (["no", "yes"], 2, 2, 3)
    assert found["calibration"] == "temperature" and found["warnings"] == d.warnings
    assert {name: list(values) for name, values in found["slices"].items()} == {
        "class": ["no", "yes"],
        "length": ["short"],
    }
    assert found["slices"]["class"]["yes"]["rows"] == 2
    assert found["slices"]["class"]["yes"]["V"] == pytest.approx(d.pvi[:, 2:].mean())
    learning = found["confident_learning"]
    assert learning["flagged"]["predicted_neq_given"] == int((d.predicted != d.labels).sum()) > 0
    assert learning["joint"] == d.joint.tolist() and len(learning["thresholds"]) == 2
    off = d.joint[0, 1] + d.joint[1, 0]
    assert learning["disagreement_share"] == pytest.approx(off / 4) and found["stability"]["hardest_share"] == 0.01


def test_arrays_of_a_diagnosis_are_read_back(tmp_path):
    d = four()
    table = diagnosis_report.columns(d, [list("abcd")], list("wxyz"))
    null = np.log2(np.full((4, 2), 0.5))
    diagnosis_report.write(tmp_path, d, table, diagnosis_report.summarized(d, resamples=10), null)
    found = formats.read(tmp_path / "probabilities.npz", "logits")
    np.testing.assert_allclose(found.logits, d.logits)
    assert found.labels.tolist() == [0, 0, 1, 1] and found.folds.tolist() == [0, 0, 1, 1]
    assert found.index == list("wxyz") and found.classes == ["no", "yes"] and (found.null_log2 == -1).all()
    with np.load(tmp_path / "probabilities.npz") as file:
        np.testing.assert_allclose(file["probs"][0, 0], [0.95257413, 0.04742587], atol=1e-6)  # 1 / (1 + exp(-3))
        assert file["groups"].tolist() == [5, 5, 6, 7]
    bare = diagnosis.diagnose_bits(np.ones((2, 2)), np.array([0, 1]), ["a", "b"])
    table = diagnosis_report.columns(bare, [["x", "y"]], ["0", "1"])
    diagnosis_report.write(tmp_path / "b", bare, table, diagnosis_report.summarized(bare, resamples=10))
    assert not (tmp_path / "b" / "probabilities.npz").exists()


def test_the_kind_of_calibration_is_a_line():
    assert any("bias" in line for line in diagnosis_report.markdown(SUMMARY | {"calibration": "a bias"}).splitlines())
    assert "Calibration" not in diagnosis_report.markdown(SUMMARY)


@pytest.mark.parametrize(("resamples", "of_slices"), [(1000, 250), (500, 125), (404, 101), (300, 100)])
def test_intervals_of_slices_have_a_quarter_of_the_resamples(monkeypatch, resamples, of_slices):
    asked, original = [], diagnosis.measured
    monkeypatch.setattr(
        diagnosis, "measured", lambda d, rows=None, resamples=1000: asked.append(resamples) or original(d, rows, 2)
    )
    diagnosis_report.summarized(four(), resamples=resamples)
    assert asked == [resamples, of_slices, of_slices]
