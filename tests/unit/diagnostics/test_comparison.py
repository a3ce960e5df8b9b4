"""Two data sets in which one word implies different labels."""

import csv
import json
import random
import sys

import numpy as np
import pytest
import toy
from scipy import sparse

from plugins.diagnostics import comparison, lexical
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
    (files / "copy.tsv").write_bytes((files / "a.tsv").read_bytes())
    call(load_script, monkeypatch, files / "a.tsv", files / "copy.tsv", "-o", files / "out", "--equal")
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


def test_few_rows_of_either_data_set_are_refused():
    parts = [rows_of([f"word{i}" for i in range(n)], [i % 2 for i in range(n)]) for n in (10, 9)]
    comparison.compare(parts[0], parts[0], [parts[0].labels] * 2, 2)
    with toy.refused("9 rows", "10"):
        comparison.compare(*parts, [part.labels for part in parts], 2)


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


def rows_of(texts, labels, classes=("no", "yes")):
    zeros = np.zeros(len(texts), int)
    return Rows(("text",), [list(texts)], np.array(labels), list(classes), zeros, ["t"], list(map(str, zeros)))


def test_conflicts_are_pairs_across_the_data_sets_the_most_similar_first():
    first = rows_of(
        ["the cat sat on the mat today", "no text like it", "The cat sat on the mat today.", "agreed"], [0, 0, 1, 1]
    )
    second = rows_of(
        ["quite another", "the cat sat on the mat todays", "agreed", "the cat sat on the mat today"], [1, 0, 1, 1]
    )
    found = comparison.conflicts(first, second, [first.labels, second.labels], 0.8)
    assert [(a, b) for a, b, _ in found] == [(0, 3), (2, 1)]
    assert [value for _, _, value in found] == [1.0, pytest.approx(24 / 25)]  # pieces of 28 and of 29 characters
    assert comparison.conflicts(first, second, [first.labels, second.labels], 0.97) == [(0, 3, 1.0)]
    swapped = comparison.conflicts(second, first, [second.labels, first.labels], 0.8)
    assert [(b, a) for a, b, _ in swapped] == [(0, 3), (2, 1)]


def test_data_sets_are_told_apart_within_each_label():
    """Label 0: the first word is that of the side. Label 1: one side only. Label 2: no word differs."""
    labels = np.repeat([0, 1, 2], [12, 3, 6])
    side = np.array([0] * 4 + [1] * 8 + [1] * 3 + [0, 0, 0, 0, 1, 1])
    x = sparse.csr_matrix(np.stack([side, 1 - side], 1)[:12].tolist() + [[1, 0]] * 9, dtype=np.float32)
    fold = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    found = comparison.separability(x, labels, side, fold)
    assert found == {"accuracy": pytest.approx(16 / 18), "majority": pytest.approx(12 / 18), "rows": 18}
    alone = comparison.separability(x[12:15], labels[12:15], side[12:15], fold[12:15])
    assert alone == {"accuracy": 0, "majority": 0, "rows": 0}


def test_words_that_mark_rows_are_the_most_overrepresented_ones():
    words = [f"w{i}" for i in range(40)]
    x = np.zeros((200, 41), np.float32)
    x[np.arange(200), 1 + np.arange(200) % 40] = 1  # a word for all, by turns
    x[:50, 0] = 1
    marked = comparison.marking_words(sparse.csr_matrix(x), ["unused", "mark", *words], np.arange(1, 42), np.arange(50))
    assert marked[0][0] == "mark" and marked[0][1] > 2 and len(marked) == 1
    assert comparison.marking_words(sparse.csr_matrix(x), ["mark", *words], np.arange(41), np.arange(0)) == []
    many = np.concatenate([np.repeat(np.eye(2, dtype=np.float32), 25, 1)] * 30)  # 25 words of either kind of row
    found = comparison.marking_words(sparse.csr_matrix(many), words + words, np.arange(50), np.arange(0, 60, 2))
    assert [word for word, _ in found] == words[:20] and len({value for _, value in found}) == 1


def test_the_results_of_two_data_sets_do_not_depend_on_their_order(monkeypatch):
    monkeypatch.setattr(lexical, "STRENGTHS", (1.0,))
    draw = random.Random(1)

    def drawn(name, flip, count):
        labels = [i % 2 for i in range(count)]
        words = [f"{'no' if label else 'yes'}{draw.randrange(4)} {name}{draw.randrange(3)}" for label in labels]
        texts = [f"{text} joke" if i % 3 == 0 else text for i, text in enumerate(words)]
        return rows_of(texts, [flip if i % 3 == 0 else label for i, label in enumerate(labels)])

    one, two = drawn("a", 0, 90), drawn("b", 1, 60)
    there = comparison.compare(one, two, [one.labels, two.labels], 2)
    back = comparison.compare(two, one, [two.labels, one.labels], 2)
    for name, other in (("A to A", "B to B"), ("A to B", "B to A"), ("B to A", "A to B"), ("B to B", "A to A")):
        assert there["V"][name] == pytest.approx(back["V"][other], abs=2e-3)
    assert there["V"]["A to A"][1] > 0.5 > 0 > there["V"]["A to B"][0]
    assert there["disagree"]
    swapped = sorted(((row + 60 if row < 90 else row - 90), b, a) for row, a, b in there["disagree"])
    assert swapped == sorted(back["disagree"])
    assert all((row % 90) % 3 == 0 and (a, b) == (0, 1) for row, a, b in there["disagree"])
    assert there["told_apart"] == pytest.approx(back["told_apart"], abs=0.02)
