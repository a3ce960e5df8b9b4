"""The summary of a diagnosis for readers."""

from plugins.diagnostics import diagnosis_report


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
