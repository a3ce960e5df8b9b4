"""Parameter groups by weight decay and learning rate, shared by the optimizers of this package."""

from collections.abc import Iterable
from typing import Any

import torch
from fairseq.optim import FairseqOptimizer


class GroupedOptimizer(FairseqOptimizer):
    """Base of optimizers whose groups are those of :func:`groups_of`."""

    def get_lr(self) -> float:
        """Return the learning rate of parameters without a scale."""
        first = self.param_groups[0]
        return first["lr"] / first["lr_scale"]

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of every group to ``lr`` times the group's scale (layer-wise decay)."""
        for group in self.param_groups:
            group["lr"] = lr * group["lr_scale"]

    def load_state_dict(self, state_dict: dict, optimizer_overrides: dict | None = None) -> None:
        """Load a state; weight decay and scales of the learning rate stay those of this run's options."""
        own = [{name: group[name] for name in ("weight_decay", "lr_scale")} for group in self.param_groups]
        super().load_state_dict(state_dict, optimizer_overrides)
        lr = self.param_groups[0]["lr"] / self.param_groups[0].get("lr_scale", 1.0)
        for group, options in zip(self.param_groups, own, strict=True):
            group.update(options)
        self.set_lr(lr)

    @property
    def supports_flat_params(self) -> bool:
        """False: in one flat vector, matrices and biases cannot be distinguished."""
        return False


def groups_of(params: Iterable[torch.nn.Parameter], decay_all: bool = False) -> list[dict[str, Any]]:
    """Group parameters by whether weight decay applies to them and by the scale of their learning rate.

    Args:
        params: the parameters.
        decay_all: apply weight decay to every parameter.

    Returns:
        Groups for an optimizer of torch: decayed ones first, the order of checkpoints, then by descending scale. Those
        without decay have ``weight_decay`` 0; the others take the optimizer's.
    """
    groups: dict[tuple, list] = {}
    for p in params:
        groups.setdefault((not (decay_all or is_decayed(p)), -lr_scale(p)), []).append(p)
    return [
        {"params": groups[kind], "lr_scale": -kind[1], **({"weight_decay": 0.0} if kind[0] else {})}
        for kind in sorted(groups)
    ]


def is_decayed(param: torch.nn.Parameter) -> bool:
    """Return whether weight decay applies to a parameter."""
    return param.ndim >= 2 and not getattr(param, "no_weight_decay", False)


def lr_scale(param: torch.nn.Parameter) -> float:
    """Return the multiple of the learning rate that a parameter learns at."""
    return float(getattr(param, "lr_scale", 1.0))
