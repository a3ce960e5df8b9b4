"""The files of a comparison: which row of which data set each line is about."""

import csv
import json

import numpy as np

from plugins.diagnostics import comparison_report
from plugins.diagnostics.datasets import Rows


def rows(*texts, first):
    index = [str(first + i) for i in range(len(texts))]
    return Rows(("text",), [list(texts)], np.zeros(len(texts), int), ["x"], np.zeros(len(texts), int), ["t"], index)


def test_rows_of_both_data_sets_are_written_with_their_own_labels(tmp_path):
    parts = [rows("a, 1", "b", first=10), rows("c", "d | e", "f", first=20)]
    labels = [np.array([0, 1]), np.array([1, 1, 0])]
    found = {"V": {"A to B": (0.12345, -0.5)}, "told_apart": {"accuracy": 0.75, "majority": 0.5},
             "disagree": [(1, 0, 1), (3, 1, 0)], "words": [("joke", 3.14)]}  # fmt: skip
    text = comparison_report.write(tmp_path, parts, labels, ["no", "yes"], [(0, 2, 0.875)], found)
    [conflict] = csv.DictReader((tmp_path / "conflicts.csv").open(encoding="utf-8"))
    assert conflict == {"index_a": "10", "label_a": "no", "index_b": "22", "label_b": "no", "similarity": "0.875",
                        "text_a": "a, 1", "text_b": "f"}  # fmt: skip
    one, two = csv.DictReader((tmp_path / "disagreements.csv").open(encoding="utf-8"))
    assert one == {"data": "A", "index": "11", "label": "yes", "model_of_a": "no", "model_of_b": "yes", "text": "b"}
    assert two == {"data": "B", "index": "21", "label": "yes", "model_of_a": "yes", "model_of_b": "no", "text": "d | e"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["rows"], summary["conflicts"], summary["disagreements"]) == ([2, 3], 1, 2)
    assert summary["V"] == {"A to B": [0.12345, -0.5]} and summary["classes"] == ["no", "yes"]
    assert text == (tmp_path / "summary.md").read_text()
    for part in ("2 rows, B: 3 rows", "| A to B | 0.123 | -0.500 |", "1 pairs", "75.0 %", "50.0 %", "`joke` (3.1)"):
        assert part in text
    found |= {"words": [], "disagree": []}
    headers = [(tmp_path / name).read_text().splitlines()[0] for name in ("conflicts.csv", "disagreements.csv")]
    assert "Words that" not in comparison_report.write(tmp_path, parts, labels, ["no", "yes"], [], found)
    assert [(tmp_path / name).read_text().splitlines() for name in ("conflicts.csv", "disagreements.csv")] == [
        [header] for header in headers
    ]
