"""Optimizers in half precision.

Defects: ``FP16Optimizer`` makes float32 copies without the attributes by which ``fused_adamw`` groups parameters;
``AMPOptimizer`` unscales the gradients twice if they are clipped, so that the first updates are 128 times too small.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .patching import repaired, wrap


def install() -> None:
    from fairseq.optim import AMPOptimizer, FP16Optimizer

    wrap(FP16Optimizer, "build_fp32_params", build_fp32_params)
    repaired("half precision", "the groups of fused_adamw survive --fp16 and --bf16, whose float32 copies lose them")
    wrap(AMPOptimizer, "step", amp_step)
    repaired("--amp", "unscales the gradients once; fairseq does so again if they were clipped")


def build_fp32_params(original: Callable, args: Any, params: Sequence[torch.nn.Parameter], flatten: bool = True) -> Any:
    """Copy the attributes of ``fused_adamw`` to the float32 copies, unless those are one flat vector."""
    copies = original(args, params, flatten=flatten)
    if not flatten:
        for copy, param in zip(copies, params, strict=True):
            for mark in ("no_weight_decay", "lr_scale"):
                if hasattr(param, mark):
                    setattr(copy, mark, getattr(param, mark))
    return copies


def amp_step(original: Callable, self: Any) -> None:
    """Step with torch's optimizer, whose gradients ``clip_grad_norm`` unscaled: the scaler does not know fairseq's."""
    self.scaler.step(self.optimizer)
    self.scaler.update()
