"""Inspections of small data sets, against numbers counted by hand."""

import dataclasses

import numpy as np
import pytest
import toy
from inspection_rows import CAT, DOG, data

from plugins.diagnostics import divergence, inspection, lexical
from plugins.diagnostics.datasets import Rows


@pytest.fixture(autouse=True)
def one_strength(monkeypatch):
    """No search for the regularization of linear models, which is most of the time of an inspection."""
    monkeypatch.setattr(lexical, "STRENGTHS", (1.0,))


def test_sizes_and_entropy_of_the_labels():
    train, test = inspection.sizes(data())
    assert train == {"split": "train", "rows": 42, "unlabeled": 0, "classes": {"n": 20, "p": 22},
                     "entropy_bits": pytest.approx(0.99836370)}  # fmt: skip
    assert test == {"split": "test", "rows": 2, "unlabeled": 1, "classes": {"n": 1, "p": 0}, "entropy_bits": 0.0}
    assert str(test["entropy_bits"]) == "0.0"


def test_lengths_are_quantiles_of_words_by_split_and_class():
    found = {(row["split"], row["class"]): row["quantiles"] for row in inspection.lengths(data())}
    assert found == {
        ("train", None): pytest.approx([3, 3, 3.5, 4, 4, 8]), ("train", "n"): [3] * 6,
        ("train", "p"): pytest.approx([3, 4, 4, 4, 4, 8]), ("test", None): pytest.approx([2, 2.25, 2.5, 2.75, 2.95, 3]),
        ("test", "n"): [3] * 6,
    }  # fmt: skip


def test_duplicates_within_and_across_splits_and_conflicting_labels():
    found = inspection.inspect(data(), draws=3)["overlap"]
    counts = [("train", 42, 39), ("test", 2, 0)]
    assert found["within"] == [
        {"split": split, "kind": kind, "rows": rows, "repeated": repeated}
        for kind in ("exact", "near")
        for split, rows, repeated in counts
    ]
    assert found["across"] == [
        {"from": "train", "to": "test", "kind": kind, "rows": 2, "leaked": 1} for kind in ("exact", "near")
    ]
    assert (found["exact_conflicts"], found["near_conflicts"]) == (1, 1)


def test_groups_with_two_labels_conflict():
    groups, labels = np.array([0, 0, 1, 1, 2, 3, 3, 3]), np.array([0, 1, 1, 1, 0, 2, 1, 2])
    assert inspection.conflicting(groups, labels).tolist() == [0, 3]


def test_two_columns_share_their_words_by_side():
    rows = data()
    pair = Rows(("a", "b"), [rows.texts[0], rows.texts[0]], rows.labels, rows.classes, rows.splits, rows.split_names,
                rows.index)  # fmt: skip
    found = inspection.inspect(pair, draws=3)
    assert "both:cat" in found["words"].vocabulary and "cat" in found["vocabulary"]
    assert found["words"].counts.shape[0] == 42


@pytest.mark.parametrize("rare", [1, 2])
def test_a_class_of_one_or_two_rows_is_inspected(rare):
    labels = np.array([1] * rare + [0] * (30 - rare))
    texts = [f"{CAT} {i}" for i in range(30)]
    rows = Rows(("text",), [texts], labels, ["n", "p"], np.zeros(30, int), ["train"], list(map(str, range(30))))
    assert np.isfinite(inspection.inspect(rows, draws=2)["probe"].all_bits)


def test_a_single_class_is_refused():
    rows = data()
    with toy.refused("train"):
        inspection.inspect(rows.take(np.arange(0, 40, 2)))


def test_too_few_rows_and_texts_without_words_are_refused_with_the_name_of_the_split():
    with toy.refused("train", "9"):
        inspection.inspect(data().take(np.arange(9)))
    bare = data()
    with toy.refused("train", "words"):
        inspection.inspect(Rows(bare.columns, [[""] * len(bare)], bare.labels, bare.classes, bare.splits,
                                bare.split_names, bare.index))  # fmt: skip


def test_ten_labeled_rows_are_enough_and_unlabeled_ones_are_left_out():
    labels = np.array([0, 1] * 5 + [-1])
    rows = Rows(
        ("text",), [[CAT, DOG] * 5 + ["rare"]], labels, ["n", "p"], np.zeros(11, int), ["train"], list("0123456789x")
    )
    found = inspection.inspect(rows, draws=2)
    assert found["train"].tolist() == list(range(10)) and "rare" not in found["vocabulary"] and "gothate" not in found
    with toy.refused("train", "9 labeled", "10"):
        inspection.inspect(rows.take(np.arange(1, 11)), draws=2)


def test_classes_without_rows_are_left_out():
    rows = data()
    wider = dataclasses.replace(rows, labels=np.where(rows.labels == 1, 2, rows.labels), classes=["n", "none", "p"])
    found = inspection.inspect(wider, draws=2)
    assert found["classes"] == ["n", "p"] and found["associations"].p.shape[1] == 2


def test_the_options_reach_the_parts_of_the_inspection():
    rows = data()
    rows.texts[0][40], rows.texts[0][42] = "one long text without any other", "one long text without any others"
    found = inspection.inspect(rows, threshold=0.99, draws=3, seed=5, recipe="gothate")
    labels = rows.labels[:42]
    expected = divergence.class_divergence(found["words"], labels, draws=3, seed=5)
    np.testing.assert_array_equal(found["divergence"].floor, expected.floor)
    probe = lexical.probe(found["words"].counts, labels, 2, seed=5)
    assert (found["probe"].bits == probe.bits).all() and (found["probe"].random_bits == probe.random_bits).all()
    np.testing.assert_array_equal(found["gothate"], divergence.gothate(found["words"], labels))
    groups = found["duplicates"].groups
    assert groups[40] != groups[42], "0.96 similar"


def test_words_of_a_pair_are_counted_together_for_the_divergence():
    texts = [[CAT, DOG] * 10, [DOG, CAT] * 10]
    rows = Rows(("a", "b"), texts, np.array([0, 1] * 10), ["n", "p"], np.zeros(20, int), ["train"], [""] * 20)
    assert inspection.inspect(rows, draws=2)["divergence"].raw[0, 1] == pytest.approx(0, abs=1e-12)
