"""Folds of the training rows: the training rows of each fold, and errors."""

import numpy as np
import pytest
import toy

from plugins.data.glue import dataset, folds


def test_the_rows_of_a_fold_are_held_out(tmp_path):
    np.save(tmp_path / "f.npy", np.array([0, 1, 2, 0, 1]))
    others, own = folds.rows("2/3", tmp_path / "f.npy", 5)
    assert (others.tolist(), own.tolist()) == ([0, 2, 3], [1, 4])


def test_a_row_of_no_fold_is_left_out(tmp_path):
    np.save(tmp_path / "f.npy", np.array([0, 1, -1, 0, 1]))
    others, own = folds.rows("1/2", tmp_path / "f.npy", 5)
    assert (others.tolist(), own.tolist()) == ([1, 4], [0, 3])


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "1", "a/b", "1/5/2", ""])
def test_a_fold_is_k_of_f(text):
    with toy.refused("--fold"):
        folds.parse(text)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (np.array([0, 1, 2]), "f.npy"),
        (np.array([0, 1, 2, 3]), "--fold 1/3"),
        (np.array([0, 1, -2, 1]), "--fold 1/3"),
        (np.array([0.0, 1, 2, 1]), "f.npy"),
        (np.array([[0, 1], [2, 1]]), "f.npy"),
        (np.array([1, 1, 2, 1]), "--fold 1/3"),
        (np.array([{}, 1, 2, 1], object), "f.npy"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, content, named):
    np.save(tmp_path / "f.npy", content, allow_pickle=True)
    with toy.refused(named) as error:
        folds.rows("1/3", tmp_path / "f.npy", 4)
    assert "--fold" in str(error.value)


def test_damaged_and_missing_files(tmp_path):
    (tmp_path / "f.npy").write_bytes(b"nonsense")
    for path in (tmp_path / "f.npy", tmp_path / "g.npy", tmp_path):
        with toy.refused("--fold-file"):
            folds.rows("1/3", path, 4)


def test_a_part_of_tokenized_pairs():
    data = dataset.Tokenized(
        np.arange(10, dtype=np.int32), np.array([0, 1, 3, 4, 4, 6, 10]), np.arange(3), np.array(["a", "b", "c"]), 0
    )
    found = dataset.part(data, np.array([2, 0]))
    assert found.tokens.tolist() == [4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert found.offsets.tolist() == [0, 2, 6, 7, 9]
    assert found.labels.tolist() == [2, 0] and found.index.tolist() == ["c", "a"]
