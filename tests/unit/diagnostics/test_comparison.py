"""Two data sets in which one word implies different labels."""

import csv
import json
import random
import sys

import numpy as np
import pytest
import toy

from plugins.diagnostics import comparison
from plugins.diagnostics.datasets import Rows


@pytest.fixture
def files(tmp_path):
    """``joke`` is rude in A and fine in B; other words agree; one text is in both with different labels."""
    draw = random.Random(0)
    for name, joke in (("a", "rude"), ("b", "fine")):
        rows = []
        for i in range(300):
            label = ("rude", "fine")[i % 2]
            words = draw.choices([f"{label}{j}" for j in range(12)], k=3)
            words += draw.choices([f"{name}{j}" for j in range(9)])
            if i % 5 == 0:
                words, label = [f"{name}x{i}", "joke", "joke2", "joke3"], joke
            rows.append((" ".join(words), label))
        rows.append(("exactly the same text here", joke))
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\n" + "".join(f"{t}\t{k}\n" for t, k in rows))
    return tmp_path


def call(load_script, monkeypatch, *words):
    script = load_script("compare_data")
    monkeypatch.setattr(sys, "argv", ["compare_data.py", *map(str, words)])
    script.main()


def test_what_differs_is_named(files, load_script, monkeypatch):
    call(load_script, monkeypatch, files / "a.tsv", files / "b.tsv", "-o", files / "out")
    summary = json.loads((files / "out" / "summary.json").read_text())
    assert summary["V"]["A to A"][1] > summary["V"]["A to B"][1] + 0.1
    assert {word for word, _ in summary["words"]} >= {"joke", "joke2"}
    assert summary["told_apart"]["accuracy"] > 0.9 > 0.7 > summary["told_apart"]["majority"]
    conflict = next(csv.DictReader((files / "out" / "conflicts.csv").open()))  # the most similar pair
    assert (conflict["label_a"], conflict["label_b"], conflict["similarity"]) == ("rude", "fine", "1")
    rows = list(csv.DictReader((files / "out" / "disagreements.csv").open()))
    assert len(rows) == summary["disagreements"] >= 100 and all("joke" in row["text"] for row in rows)


def test_the_same_data_set_has_no_conflicts_and_equal_sizes_are_drawn(files, load_script, monkeypatch):
    call(load_script, monkeypatch, files / "a.tsv", files / "a.tsv", "-o", files / "out", "--equal")
    summary = json.loads((files / "out" / "summary.json").read_text())
    assert (summary["conflicts"], summary["disagreements"]) == (0, 0)


def test_classes_must_fit_each_other(files, load_script, monkeypatch):
    (files / "c.tsv").write_text("text\tlabel\nx\tbad\ny\tgood\n")
    with toy.refused("bad", "--map"):
        call(load_script, monkeypatch, files / "a.tsv", files / "c.tsv", "-o", files / "out")
    (files / "map.yaml").write_text("{bad: rude, rude: rude, fine: fine}")
    with toy.refused("--map", "good"):
        words = files / "a.tsv", files / "c.tsv", "--map", files / "map.yaml", "-o", files / "out"
        call(load_script, monkeypatch, *words)


@pytest.mark.parametrize("mapping", [{"a": ["x"], "b": "y"}, {"a": "x", "b": "x"}])
def test_common_classes_are_at_least_two_names(mapping):
    rows = Rows(("text",), [["x y", "z", "w"]], np.array([0, 1, 0]), ["a", "b"], np.zeros(3, int), ["t"], list("012"))
    with toy.refused("--map"):
        comparison.same_classes(rows, rows, mapping)
    with toy.refused("3 rows"):
        comparison.compare(rows, rows.take(np.arange(2)), [rows.labels, rows.labels[:2]], 2)


def test_labels_become_ids_of_the_common_classes():
    def rows(classes, labels):
        return Rows(("text",), [["x"] * len(labels)], np.array(labels), classes, np.zeros(len(labels), int), ["t"],
                    [str(i) for i in range(len(labels))])  # fmt: skip

    one, other = rows(["b", "a"], [0, 1, 1]), rows(["a", "b"], [0, 1])
    classes, first, second = comparison.same_classes(one, other, None)
    assert (classes, first.tolist(), second.tolist()) == (["a", "b"], [1, 0, 0], [0, 1])
    with toy.refused("c, d", "--map"):
        comparison.same_classes(rows(["a", "b", "c"], [0]), rows(["a", "b", "d"], [0]), None)
