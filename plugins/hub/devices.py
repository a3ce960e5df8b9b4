"""Move models between devices and data types."""

import torch
from torch import nn

from plugins.errors import UserError, check


def move(model: nn.Module, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> None:
    """Move a model to a device and convert its weights to a dtype, in place.

    Raises:
        UserError: the device does not exist or has no free memory, or the dtype is not a floating-point one.
    """
    fits = dtype is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point)
    check(fits, f"dtype={dtype!r}: torch.int8 or a floating-point type such as torch.bfloat16 is needed")
    try:
        model.to(device=device, dtype=dtype)
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch without CUDA
        raise UserError(f"device {device}: {str(error).splitlines()[0]}") from error
