"""``--shard``: parameters, gradients and optimizer state divided among the processes of a run, by torch's FSDP2.

Defect: fairseq shards through fairscale, which is no longer developed.

Shapes: W processes. A sharded parameter is a DTensor; each process has 1 / W of its rows, of its gradient and of its
optimizer state. Checkpoints contain whole tensors.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from omegaconf import open_dict
from torch import Tensor, nn
from torch.distributed import DeviceMesh

from plugins.errors import UserError, flag

from .optimizers import MARKS, mark_embeddings
from .patching import repaired, wrap

OPTIMIZERS = ("fused_adamw", "adam", "sgd")  # they update each number by itself


def install() -> None:
    """Put the hooks in place."""
    from fairseq import models
    from fairseq.trainer import Trainer

    wrap(models, "DistributedFairseqModel", wrap_model)
    wrap(Trainer, "_build_optimizer", build_optimizer)
    wrap(Trainer, "clip_grad_norm", clip_grad_norm)
    original = Trainer.always_call_state_dict_during_save_checkpoint
    Trainer.always_call_state_dict_during_save_checkpoint = property(
        lambda self: is_sharded(self.cfg) or original.fget(self)
    )
    repaired("--shard", "shards models by torch's FSDP2; fairseq needs fairscale")


def prepare(cfg: Any) -> None:
    """Check the options of a sharded run, and copy ``--shard`` to where the model is wrapped.

    Raises:
        UserError: another option contradicts it.
    """
    if not getattr(cfg.model, "shard", False):
        return
    for half in ("fp16", "bf16", "amp", "memory_efficient_fp16", "memory_efficient_bf16"):
        if getattr(cfg.common, half, False):
            raise UserError(f"--shard trains float32 parameters: use --mixed-precision bf16 instead of {flag(half)}")
    name = getattr(cfg.optimizer, "_name", None)
    if name not in OPTIMIZERS:
        raise UserError(f"--shard works with --optimizer {', '.join(OPTIMIZERS)}, not {name}")
    # Each forward pass, and each layer in it, needs all processes.
    if getattr(cfg.task, "rouge_sample", 0):
        raise UserError("--shard needs --rouge-sample 0: the processes would generate texts of different lengths")
    if getattr(cfg.criterion, "grad_cache_rows", 0):
        raise UserError("--shard needs --grad-cache-rows 0: the processes would have different numbers of slices")
    if getattr(cfg.model, "encoder_layerdrop", 0):
        raise UserError(
            "--shard needs --encoder-layerdrop 0: each process would skip other layers, and wait for the rest"
        )
    if cfg.ema.store_ema:
        raise UserError("--shard and --store-ema contradict each other")
    if cfg.distributed_training.heartbeat_timeout > 0:
        raise UserError("--heartbeat-timeout has no effect with --shard; leave it out")
    with open_dict(cfg.distributed_training):
        cfg.distributed_training.shard = True


def is_sharded(cfg: Any) -> bool:
    """Return whether a run of several processes shards its model."""
    return bool(cfg.distributed_training.get("shard")) and cfg.distributed_training.distributed_world_size > 1


def wrap_model(original: Callable, args: Any, model: nn.Module, process_group: Any, device: torch.device) -> Any:
    """Shard a model, or wrap it as fairseq does."""
    if not args.get("shard"):
        return original(args, model, process_group, device)
    mesh = DeviceMesh.from_group(process_group, torch.device(device).type)
    return shard(model.to(device), mesh)


def shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard a model in place, each layer by itself, and let its state dict contain whole tensors.

    Args:
        model: initialized in the same way in all processes.
        mesh: mesh of one dimension.
    """
    from torch.distributed.fsdp import fully_shard  # which imports sympy: not at import of the package

    mark_embeddings(model)
    marks = {
        name: {mark: getattr(p, mark) for mark in MARKS if hasattr(p, mark)} for name, p in model.named_parameters()
    }
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for name, p in model.named_parameters():  # new ones
        for mark, value in marks[name].items():
            setattr(p, mark, value)
    for module in model.modules():
        first = module.register_state_dict_post_hook(gather_parameters)
        hooks = cast(Any, module)._state_dict_hooks
        hooks.move_to_end(first.id, last=False)  # other hooks, as the CLAP head's, reshape tensors
        module.register_load_state_dict_pre_hook(divide_parameters)
    return model


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a model: the members of its longest list of modules."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    return list(max(lists, key=len, default=()))


def whole(value: Any) -> Any:
    """Return a DTensor as a tensor on the CPU, for which all processes must call this; others as they are."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def like(value: Any, parameter: Any) -> Any:
    """Return this process's part of a tensor in the shape of a sharded parameter; others as they are."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(value, DTensor) or not isinstance(value, Tensor) or not isinstance(parameter, DTensor):
        return value
    if value.shape != parameter.shape:
        return value
    moved = value.to(parameter.device)
    return distribute_tensor(moved, parameter.device_mesh, parameter.placements, src_data_rank=None)


def gather_parameters(module: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
    """Replace the parts of a module's own parameters in a state dict by whole tensors."""
    for name in module._parameters:
        if prefix + name in state:
            state[prefix + name] = whole(state[prefix + name])


def divide_parameters(module: nn.Module, state: dict, prefix: str, *unused: Any) -> None:
    """Replace whole tensors of a module's own parameters in a state dict by the parts of this process."""
    for name, parameter in module._parameters.items():
        if prefix + name in state:
            state[prefix + name] = like(state[prefix + name], parameter)


def build_optimizer(original: Callable, self: Any) -> None:
    """Build the optimizer of a trainer; let its state dict contain whole tensors if the model is sharded."""
    original(self)
    if is_sharded(self.cfg):
        optimizer = self.optimizer.optimizer
        optimizer.register_state_dict_post_hook(gather_state)
        optimizer.register_load_state_dict_pre_hook(divide_state)


def gather_state(optimizer: torch.optim.Optimizer, state: dict) -> dict:
    """Return the state dict of an optimizer with whole tensors."""
    gathered = {key: {name: whole(v) for name, v in values.items()} for key, values in state["state"].items()}
    return {**state, "state": gathered}


def divide_state(optimizer: torch.optim.Optimizer, state: Mapping) -> dict:
    """Return the state dict of an optimizer with the parts of this process."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    keys = [key for group in state["param_groups"] for key in group["params"]]
    owners = dict(zip(keys, parameters, strict=False))
    divided = {
        key: {name: like(v, owners.get(key)) for name, v in values.items()} for key, values in state["state"].items()
    }
    return {**state, "state": divided}


def clip_grad_norm(original: Callable, self: Any, clip_norm: float) -> Tensor:
    """Clip the gradients by their norm over all processes; return it."""
    if not is_sharded(self.cfg):
        return original(self, clip_norm)
    parameters = [p for p in self.optimizer.params if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([cast(Tensor, p.grad) for p in parameters])
    if clip_norm > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return whole(norm)
