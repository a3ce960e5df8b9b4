"""Reading windows of a split."""

import numpy as np

from plugins.data.text.splits import TextSplit


def test_windows_are_read_and_the_last_id_is_repeated_beyond_the_end():
    split = TextSplit(np.arange(10, 16, dtype=np.uint8), np.array([0, 4]), np.array([3, 5]))
    found = split.read(np.array([0, 4]), 3)
    assert found.tolist() == [[10, 11, 12], [14, 15, 15]] and found.dtype == np.int64
    assert split.ends.tolist() == [4, 6] and len(split) == 6


def test_a_large_file_is_unmapped_after_every_64_windows(monkeypatch):
    released = []
    monkeypatch.setattr(TextSplit, "_release", lambda self: released.append(self._windows_read))
    monkeypatch.setattr(TextSplit, "SMALL", 7)
    for size, expected in ((7, []), (8, [64])):
        split = TextSplit(np.zeros(size, np.uint8), np.array([0]))
        for _ in range(2):
            split.read(np.zeros(32, int), 2)
        assert released == expected


def test_counting_begins_anew_after_the_pages_are_unmapped(tmp_path):
    np.arange(100, dtype=np.uint8).tofile(tmp_path / "ids")
    split = TextSplit(np.memmap(tmp_path / "ids", np.uint8, "r"), np.array([0]))
    split.read(np.zeros(5, int), 2)
    split._release()
    assert split._windows_read == 0 and split.read(np.array([97]), 3).tolist() == [[97, 98, 99]]
