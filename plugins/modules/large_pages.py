"""Weights in pages of 2 MB, which a CPU reads faster than pages of 4 kB: it translates fewer addresses.

Linux moves memory that is in use to such pages on request (``MADV_COLLAPSE`` of madvise(2), Linux 6.1). Where it does
not, weights stay where they are.
"""

import ctypes
import sys
from collections.abc import Iterable

from torch import Tensor

MADV_COLLAPSE = 25  # of Linux's mman.h
PAGE = 2 << 20  # bytes
LEAST = 2 * PAGE  # bytes; a smaller tensor may not contain a whole page


def use_large_pages(tensors: Iterable[Tensor]) -> int:
    """Move the whole large pages within large tensors on a CPU to such pages. Values and addresses stay the same.

    Returns:
        How many bytes were moved.
    """
    if not sys.platform.startswith("linux"):
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    moved = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if tensor.device.type != "cpu" or size < LEAST or not tensor.is_contiguous():
            continue
        start = -(-tensor.data_ptr() // PAGE) * PAGE
        length = (tensor.data_ptr() + size) // PAGE * PAGE - start
        if length > 0 and madvise(start, length, MADV_COLLAPSE) == 0:
            moved += length
    return moved
