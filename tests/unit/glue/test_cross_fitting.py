"""The files and names of runs, without training."""

import numpy as np
import toy

from plugins.data.glue import reader
from plugins.diagnostics.datasets import Rows
from plugins.glue import cross_fitting


def rows(labels, splits, scores=None, names=("train", "dev")):
    count = len(labels)
    texts = [[f"a {i}\tb" for i in range(count)], [f"c\n{i}" for i in range(count)]]
    return Rows(("x", "y"), texts, np.array(labels), ["no", "yes"], np.array(splits), list(names),
                [str(i) for i in range(count)], scores)  # fmt: skip


def test_written_rows_are_read_back_whatever_is_in_them(tmp_path):
    spec = cross_fitting.write_task(tmp_path, rows([0, 1, 1], [0, 0, 1]))
    found = reader.read(tmp_path / "train.jsonl", spec, "train")
    assert found.texts == [["a 0\tb", "a 1\tb"], ["c\n0", "c\n1"]] and found.labels.tolist() == [0, 1]
    assert reader.read(tmp_path / "valid.jsonl", spec, "valid").labels.tolist() == [1]


def test_scores_are_written_as_scores(tmp_path):
    spec = cross_fitting.write_task(tmp_path, rows([0, 1], [0, 0], np.array([0.5, 4.0])))
    assert spec.is_regression and reader.read(tmp_path / "train.jsonl", spec, "train").labels.tolist() == [0.5, 4.0]


def test_unlabeled_rows_and_other_splits_are_left_out():
    found = cross_fitting.train_and_valid(rows([0, 1, -1, 1, 0], [0, 0, 0, 1, 2], names=("train", "test", "dev")))
    assert found.labels.tolist() == [0, 1, 0] and found.splits.tolist() == [0, 0, 1]
    with toy.refused(1):
        cross_fitting.train_and_valid(rows([0, -1], [0, 0]))
