"""Several processes on a CPU.

Defect: ``fairseq.distributed.utils.all_gather_list`` gathers in buffers on a GPU.
"""

from collections.abc import Callable
from typing import Any

import torch

from .patching import repaired, wrap


def install() -> None:
    from fairseq.distributed import utils

    wrap(utils, "all_gather_list", all_gather_list)
    repaired("gathering", "works on a CPU, too; fairseq gathers in buffers on a GPU")


def all_gather_list(original: Callable, data: Any, group: Any = None, max_size: int = 16384) -> list:
    """Return the data of each worker, in the order of their ranks."""
    if torch.cuda.is_available():
        return original(data, group=group, max_size=max_size)
    gathered = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(gathered, data, group=group)
    return gathered
