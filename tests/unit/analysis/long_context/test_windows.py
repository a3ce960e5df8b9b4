"""How a text is cut into windows."""

import numpy as np
import pytest
import torch

from plugins.analysis.long_context import windows
from plugins.analysis.long_context.windows import WindowSettings


def test_windows_of_a_passage_are_adjacent_and_complete():
    assert windows.starts_of(2, 10, 5).tolist() == [[0, 5], [10, 15]]
    assert windows.starts_of(2, 10, 4).tolist() == [[0, 4], [10, 14]]
    assert windows.starts_of(1, 10, 10).tolist() == [[0]]


@pytest.mark.parametrize(("length", "sizes"), [(4, [3, 2]), (12, [1] * 5), (100, [1] * 5)])
def test_batches_have_about_so_many_tokens(monkeypatch, length, sizes):
    monkeypatch.setattr(windows, "TOKENS_AT_ONCE", 12)
    assert [len(part) for part in windows.batches(torch.zeros(5, length))] == sizes


def test_the_mean_of_nothing_is_nan():
    found = windows.means(np.array([3.0, 0.0]), np.array([2, 0]))
    assert found[0] == 1.5 and np.isnan(found[1])


def test_settings_are_those_of_the_readme():
    found = WindowSettings((8,))
    assert (found.windows, found.stride, found.mask_prob, found.seed) == (32, 32, 0.15, 1)
