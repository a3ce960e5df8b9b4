"""Memory of tensors on a CPU.

Defect: glibc returns the memory of a freed tensor of more than 32 MB to the system, and of a smaller one at the end of
its heap, so each step of a training run gets it back page by page.
"""

import ctypes
import os
import sys

from .patching import repaired

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3) in glibc's malloc.h
KEPT = 2**31 - 1  # bytes at the end of the heap: the largest value of an int
LARGEST = (1 << 30, 1 << 25)  # bytes of a tensor whose memory is kept; older versions of glibc accept the second only


def install() -> None:
    """Record the repair of this file; the trainer applies it on a CPU."""
    repaired("memory on a CPU", "with glibc, a training run keeps freed memory, which is faster than new memory")


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for later ones, if its C library is glibc, untuned by its user.

    Returns:
        Whether it does.
    """
    tuned = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if tuned or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return False
    trimmed = mallopt(TRIM_THRESHOLD, KEPT)
    return bool(any(mallopt(MMAP_THRESHOLD, size) for size in LARGEST) and trimmed)
