"""Optimizers in half precision.

Defects: ``FP16Optimizer`` makes float32 copies without the attributes by which ``fused_adamw`` groups parameters;
``AMPOptimizer`` unscales the gradients twice if they are clipped, so that the first updates are 128 times too small; an
optimizer is given parameters without the modules that they belong to, though it may treat embeddings differently.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .patching import repaired, wrap

GROUPED = ("fused_adamw", "adamw_8bit", "adafactor")  # optimizers that group parameters by their attributes
MARKS = ("no_weight_decay", "lr_scale", "is_embedding")


def install() -> None:
    from fairseq.optim import AMPOptimizer, FP16Optimizer
    from fairseq.trainer import Trainer

    wrap(FP16Optimizer, "build_fp32_params", build_fp32_params)
    repaired("half precision", "parameter groups survive --fp16 and --bf16, whose float32 copies lose them")
    wrap(AMPOptimizer, "step", amp_step)
    wrap(Trainer, "_build_optimizer", build_optimizer)
    repaired("--amp", "unscales the gradients once; fairseq does so again if they were clipped")


def build_fp32_params(original: Callable, args: Any, params: Sequence[torch.nn.Parameter], flatten: bool = True) -> Any:
    """Copy the attributes in MARKS to the float32 copies, unless those are one flat vector."""
    copies = original(args, params, flatten=flatten)
    if not flatten:
        for copy, param in zip(copies, params, strict=True):
            for mark in MARKS:
                if hasattr(param, mark):
                    setattr(copy, mark, getattr(param, mark))
    return copies


def build_optimizer(original: Callable, self: Any) -> None:
    """Mark the embeddings of a model and build its optimizer."""
    mark_embeddings(self.model)
    original(self)


def mark_embeddings(model: torch.nn.Module) -> None:
    """Give the tables of embeddings, which the output may share, an attribute ``is_embedding``."""
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            setattr(module.weight, "is_embedding", True)  # noqa: B010 (parameters have no declared attributes)


def amp_step(original: Callable, self: Any) -> None:
    """Step with torch's optimizer, whose gradients ``clip_grad_norm`` unscaled: the scaler does not know fairseq's."""
    self.scaler.step(self.optimizer)
    self.scaler.update()
