"""Optimizers: half precision, and the norm of the gradients.

Defects: ``FP16Optimizer`` makes float32 copies without the attributes by which ``fused_adamw`` groups parameters;
``AMPOptimizer`` unscales the gradients twice if they are clipped, so that the first updates are 128 times too small; an
optimizer receives parameters without the modules that they belong to, although it may treat embeddings differently;
``utils.clip_grad_norm_`` puts the norm on a GPU wherever there is one, so that ``--cpu`` fails there; the optimizers
of torch import its compiler, which takes more than a second of each start, only to be excluded from compiled code.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .patching import repaired, wrap

GROUPED = ("fused_adamw", "adamw_8bit", "adafactor")  # optimizers that group parameters by their attributes
MARKS = ("no_weight_decay", "lr_scale", "is_embedding")
EXCLUDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")  # methods that torch does not compile


def install() -> None:
    """Apply the repairs of this file, and record them."""
    from fairseq import utils
    from fairseq.optim import AMPOptimizer, FP16Optimizer
    from fairseq.trainer import Trainer

    wrap(FP16Optimizer, "build_fp32_params", build_fp32_params)
    repaired("half precision", "parameter groups survive --fp16 and --bf16, whose float32 copies lose them")
    wrap(AMPOptimizer, "step", amp_step)
    wrap(Trainer, "_build_optimizer", build_optimizer)
    repaired("--amp", "unscales the gradients once; fairseq does so again if they were clipped")
    utils.clip_grad_norm_ = clip_grad_norm_
    repaired("--clip-norm", "works with --cpu on a machine with a GPU")
    leave_compiler_unloaded()
    repaired("start", "Adam and AdamW do not load torch's compiler, which nothing needs without --compile")


def leave_compiler_unloaded() -> None:
    """Let Adam and AdamW of torch run without importing ``torch._dynamo``, if nothing has imported it yet."""
    if "torch._dynamo" in sys.modules:
        return
    for name in EXCLUDED:
        method: Any = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        method.__dynamo_disable = method  # where torch keeps the method that the compiler has excluded
    original: Any = torch.optim.Adam.step
    plain = inspect.unwrap(original)

    @functools.wraps(original)
    def step(self: torch.optim.Adam, closure: Callable | None = None) -> Any:
        if "torch._dynamo" in sys.modules:
            return original(self, closure)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, closure)

    torch.optim.Adam.step = step  # type: ignore[method-assign]


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


def clip_grad_norm_(
    params: Tensor | Iterable[Tensor], max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Scale gradients in place so that their norm is at most ``max_norm``; return the norm before, in float32.

    Args:
        params: those without a gradient are skipped.
        max_norm: 0 scales nothing.
        aggregate_norm_fn: combines the norm with that of other processes.
    """
    params = [params] if isinstance(params, Tensor) else list(params)
    grads = [p.grad.detach() for p in params if p is not None and p.grad is not None]
    if not grads:
        return params[0].new_tensor(0.0) if params else torch.tensor(0.0)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, 2, torch.float32)))
    if aggregate_norm_fn is not None:
        norm = aggregate_norm_fn(norm)
    if max_norm > 0:
        torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1))
    return norm
