"""scripts/find_label_errors.py and scripts/apply_labels.py on a diagnosis of made-up predictions."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
import toy

from plugins.diagnostics import diagnosis, diagnosis_report


@pytest.fixture
def folder(tmp_path):
    """A data file of 120 rows with ten wrong labels, and its diagnosis by a model that knows better."""
    random = np.random.default_rng(0)
    true = np.arange(120) % 2
    labels = true.copy()
    labels[:10] = 1 - labels[:10]
    logits = (3 * np.eye(2)[true] + random.normal(0, 0.5, (2, 120, 2))).astype(np.float32)
    texts = [f"text {i}" for i in range(120)]
    d = diagnosis.diagnose(logits, labels, ["no", "yes"], np.arange(120) % 3)
    table = diagnosis_report.columns(d, [texts], [str(i) for i in range(120)])
    diagnosis_report.write(tmp_path / "d", d, table, diagnosis_report.summarized(d, resamples=50))
    lines = [f"{text}\t{('no', 'yes')[k]}\n" for text, k in zip(texts, labels, strict=True)]
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(lines))
    return tmp_path


def call(load_script, monkeypatch, name, *words):
    script = load_script(name)
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    script.main()


def test_from_a_diagnosis_to_a_mended_file(folder, load_script, monkeypatch):
    call(load_script, monkeypatch, "find_label_errors", folder / "d", "-o", folder / "errors", "--slices", "fold")
    rows = list(csv.DictReader((folder / "errors" / "errors.csv").open()))
    assert {int(row["row"]) for row in rows[:10]} == set(range(10)) and len(rows) == 120
    assert "Labels of d" in (folder / "errors" / "review.html").read_text()
    entries = [{"row": int(row["row"]), "index": row["index"], "texts": [row["sentence1"]],
                "given_label": row["given_label"], "label": row["suggested_label"], "is_error": True}
               for row in rows[:10]]  # fmt: skip
    (folder / "review.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    mended = folder / "mended.tsv"
    call(load_script, monkeypatch, "apply_labels", folder / "train.tsv", folder / "review.jsonl", "-o", mended)
    labels = [line.split("\t")[1] for line in mended.read_text().splitlines()[1:]]
    assert labels == ["no", "yes"] * 60
    assert len((folder / "mended.tsv.log.csv").read_text().splitlines()) == 11


def test_another_order_and_unknown_columns(folder, load_script, monkeypatch):
    call(load_script, monkeypatch, "find_label_errors", folder / "d", "-o", folder / "e", "--order", "self_confidence")
    with toy.refused("--slices mood", "diagnosis.csv", error=SystemExit):
        call(load_script, monkeypatch, "find_label_errors", folder / "d", "-o", folder / "e", "--slices", "mood")


def test_a_changed_file_and_a_missing_diagnosis_are_refused(folder, load_script, monkeypatch):
    entry = {"row": 1, "texts": ["other"], "given_label": "no", "label": "yes"}
    (folder / "review.jsonl").write_text(json.dumps(entry) + "\n")
    with toy.refused("train.tsv", "line 1"):
        files = folder / "train.tsv", folder / "review.jsonl"
        call(load_script, monkeypatch, "apply_labels", *files, "-o", folder / "m")
    assert not (folder / "m").exists()
    with toy.refused("probabilities.npz", error=SystemExit):
        call(load_script, monkeypatch, "find_label_errors", folder, "-o", folder / "e")


def test_rows_in_another_order_are_refused(folder, load_script, monkeypatch):
    shutil.copytree(folder / "d", folder / "swapped")
    table = folder / "swapped" / "diagnosis.csv"
    lines = table.read_text().splitlines()
    lines[1], lines[3] = lines[3], lines[1]  # rows with equal labels
    table.write_text("".join(line + "\n" for line in lines))
    with toy.refused("diagnosis.csv", "order"):
        call(load_script, monkeypatch, "find_label_errors", folder / "swapped", "-o", folder / "e2")


@pytest.mark.parametrize(("written", "warned"), [("false", False), ("true", True)])
def test_a_label_that_no_row_has_is_warned_of(tmp_path, load_script, monkeypatch, capsys, written, warned):
    """The classes of a task are true and false, JSON's booleans are read as True and False."""
    data, review, spec = (tmp_path / name for name in ("d.jsonl", "r.jsonl", "spec.yaml"))
    data.write_text(f'{{"text": "a", "label": true}}\n{{"text": "b", "label": {written}}}\n')
    spec.write_text('{name: t, files: {train: d.jsonl, valid: d.jsonl}, text: [text], label: label, '
                    'labels: ["true", "false"], metrics: [accuracy]}')  # fmt: skip
    entry = {"row": 0, "texts": ["a"], "given_label": "true", "label": "false"}
    review.write_text(json.dumps(entry) + "\n")
    call(load_script, monkeypatch, "apply_labels", data, review, "--spec", spec, "-o", tmp_path / "m.jsonl")
    assert (tmp_path / "m.jsonl").read_text() == data.read_text().replace("true", "false", 1)
    assert ("warning" in capsys.readouterr().out) == warned
