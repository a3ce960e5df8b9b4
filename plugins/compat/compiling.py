"""Parts of a model that ``torch.compile`` compiled."""

import contextlib

import torch


def uncompiled(model: torch.nn.Module) -> contextlib.AbstractContextManager:
    """Return a context in which a model runs eagerly although parts of it are compiled, as hooks require."""
    compiled = any(
        part._compiled_call_impl is not None or getattr(part, "compiled_stack", None) is not None
        for part in model.modules()
    )
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
