import os
import subprocess
import sys
import types

import pytest

from plugins.compat import allocator

PROGRAM = """
import resource
import torch
from plugins.compat.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(40 << 20, dtype=torch.uint8).fill_(1)  # more than the 32 MB from which glibc returns memory
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [faults() for _ in range(3)][-1]
kept = keep_freed_memory()
print(kept, before, min(faults() for _ in range(5)))  # the kernel may move pages meanwhile
"""


@pytest.fixture(autouse=True)
def untuned(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", ()), reason="needs glibc")
def test_the_memory_of_a_freed_tensor_is_used_again():  # in a process of its own, whose allocator it changes
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, before, after = done.stdout.split()
    assert kept == "True"
    assert int(before) > 1000  # of 10,240 pages; a kernel with huge pages has fewer faults
    assert int(after) < 100


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_an_allocator_that_the_user_tuned_is_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "65536")
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)  # calling it fails
    assert not allocator.keep_freed_memory()


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    assert not allocator.keep_freed_memory()
