"""Memory: its peak, what is free, and whether an input fits."""

from types import SimpleNamespace

import pytest
import torch
import toy

from plugins.analysis.long_context import memory

CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("STATUS", "CLEAR", "SYSTEM"):
        monkeypatch.setattr(memory, name, tmp_path / name)
    return tmp_path


def test_the_peak_is_that_of_the_system_or_else_of_the_whole_process(files, monkeypatch):
    (files / "STATUS").write_text("VmPeak: 9 kB\nVmHWM:   2048 kB\n")
    assert memory.peak_megabytes(CPU) == 2
    (files / "STATUS").write_text("VmPeak: 9 kB\n")
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3072))
    assert memory.peak_megabytes(CPU) == 3


def test_the_peak_is_reset_where_the_system_can(files):
    (files / "CLEAR").write_text("")
    memory.reset_peak(CPU)
    assert (files / "CLEAR").read_text() == "5"
    (files / "CLEAR").unlink()
    (files / "CLEAR").mkdir()
    memory.reset_peak(CPU)


def test_free_memory_is_in_bytes_or_unlimited(files):
    assert memory.free_memory(CPU) == float("inf")
    (files / "SYSTEM").write_text("MemTotal: 9 kB\nMemAvailable: 2 kB\n")
    assert memory.free_memory(CPU) == 2048


@pytest.mark.parametrize("width", ["decoder_embed_dim", "encoder_embed_dim"])
def test_an_input_takes_128_bytes_for_each_channel_and_token(monkeypatch, width):
    lm = SimpleNamespace(options={width: 10}, model=torch.nn.Linear(1, 1))
    monkeypatch.setattr(memory, "free_memory", lambda device: 128 * 10 * 7)
    memory.check_fits(lm, 7)
    with toy.refused("--lengths", 8):
        memory.check_fits(lm, 8)
    memory.check_fits(SimpleNamespace(options={}, model=lm.model), 10**9)
