import ctypes
import re
import sys
from pathlib import Path

import pytest
import torch

from plugins.modules import large_pages
from plugins.modules.large_pages import PAGE, use_large_pages


@pytest.fixture
def calls(monkeypatch):
    """Calls of madvise, which succeed."""
    found = []

    class Madvise:
        def __call__(self, *args):
            found.append(args)
            return 0

    monkeypatch.setattr(large_pages.sys, "platform", "linux")
    monkeypatch.setattr(large_pages.ctypes, "CDLL", lambda name: type("C", (), {"madvise": Madvise()}))
    return found


def test_whole_pages_within_a_tensor_are_moved(calls):
    tensor = torch.empty(5 * PAGE, dtype=torch.uint8)
    moved = use_large_pages([tensor])
    ((start, length, advice),) = calls
    assert start % PAGE == length % PAGE == 0 and advice == 25
    assert tensor.data_ptr() <= start and start + length <= tensor.data_ptr() + tensor.numel()
    assert moved == length and length >= 4 * PAGE


def test_small_tensors_and_parts_of_others_stay(calls):
    strided = torch.empty(2, 5 * PAGE, dtype=torch.uint8).t()
    assert use_large_pages([torch.empty(1000), strided, torch.empty(5 * PAGE, device="meta")]) == 0
    assert calls == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_values_and_address_stay_the_same():
    tensor = torch.randn(3 * PAGE // 4)
    before, address = tensor.clone(), tensor.data_ptr()
    moved = use_large_pages([tensor])
    assert tensor.data_ptr() == address
    torch.testing.assert_close(tensor, before, rtol=0, atol=0)
    if moved:  # not on kernels before 6.1 or without transparent pages
        found = re.search(r"AnonHugePages:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text())
        assert int(found[1]) * 1024 >= moved


def test_a_system_that_refuses_is_no_error(monkeypatch):
    monkeypatch.setattr(
        ctypes, "CDLL", lambda name: type("C", (), {"madvise": type("F", (), {"__call__": lambda *a: -1})()})
    )
    assert use_large_pages([torch.empty(5 * PAGE, dtype=torch.uint8)]) == 0


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(large_pages.sys, "platform", "darwin")
    assert use_large_pages([torch.empty(5 * PAGE, dtype=torch.uint8)]) == 0
