"""Recorded logits: by row, by epoch, and damaged files."""

import numpy as np
import toy

from plugins.data.glue import logits


def test_rows_are_written_in_place_and_others_are_nan(tmp_path):
    recorder = logits.Recorder(tmp_path / "out")
    for epoch in (1, 2):
        recorder.write("train", epoch, np.array([3, 0]), 4, np.array([[1, 2], [3, 4.0]]) * epoch)
        recorder.write("held_out", epoch, np.array([1]), 4, np.array([[5, 6.0]]))
    first, second = logits.read(tmp_path / "out", "train")
    np.testing.assert_array_equal(first, [[3, 4], [np.nan] * 2, [np.nan] * 2, [1, 2]])
    assert second[3].tolist() == [2, 4] and first.dtype == np.float16
    (one, _) = logits.read(tmp_path / "out", "held_out")
    assert one[1].tolist() == [5, 6] and one.dtype == np.float32


def test_missing_epochs_and_damaged_files_are_named(tmp_path):
    with toy.refused("'train'"):
        logits.read(tmp_path, "train")
    logits.Recorder(tmp_path).write("train", 2, np.array([0]), 1, np.zeros((1, 2)))
    with toy.refused("train", [2]):
        logits.read(tmp_path, "train")
    (tmp_path / "train_epoch_1.npy").write_bytes(b"\x93NUMPY")
    with toy.refused("train_epoch_1.npy"):
        logits.read(tmp_path, "train")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with toy.refused("--record-logits"):
        logits.Recorder(tmp_path / "file")


def test_a_file_of_other_numbers_is_named(tmp_path):
    for array in (np.zeros(3, np.float32), np.zeros((3, 2), np.int64)):
        np.save(tmp_path / "train_epoch_1.npy", array)
        with toy.refused("train_epoch_1.npy"):
            logits.read(tmp_path, "train")
