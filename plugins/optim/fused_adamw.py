"""AdamW in one kernel, with weight decay only on matrices."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, List  # noqa: UP035 (fairseq's parser does not read `list[float]`)

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II, OmegaConf


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    adam_betas: Any = field(default="(0.9, 0.98)", metadata={"help": "decay rates of the two running means"})
    adam_eps: float = field(default=1e-6, metadata={"help": "added to the denominator"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay of matrices"})
    decay_all: bool = field(
        default=False, metadata={"help": "apply weight decay to biases, gains and beta too, like adam"}
    )
    lr: List[float] = II("optimization.lr")  # noqa: UP006


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(FairseqOptimizer):
    """``torch.optim.AdamW(fused=True)`` (Loshchilov and Hutter, 2019, arXiv 1711.05101).

    The update equals that of fairseq's ``adam``, whose weight decay is decoupled too. Weight decay applies to
    parameters with two or more dimensions and without an attribute ``no_weight_decay``: not to biases, gains of layer
    norms and the CLAP head's beta. A parameter with an attribute ``lr_scale`` learns at that multiple of
    the learning rate.
    """

    def __init__(self, cfg: FusedAdamWConfig, params: Iterable[torch.nn.Parameter]) -> None:
        super().__init__(cfg)
        params = list(params)
        groups: dict[tuple, list] = {}
        for p in params:  # decayed ones first, the order of checkpoints; then by the scale of the learning rate
            kind = (not (cfg.decay_all or is_decayed(p)), -lr_scale(p))
            groups.setdefault(kind, []).append(p)
        kinds = [
            {"params": groups[kind], "lr_scale": -kind[1], **({"weight_decay": 0.0} if kind[0] else {})}
            for kind in sorted(groups)
        ]
        self._optimizer = torch.optim.AdamW(kinds, fused=True, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Arguments of ``torch.optim.AdamW``."""
        betas: Any = self.cfg.adam_betas
        lr: Any = self.cfg.lr
        pair: Any = ast.literal_eval(betas) if isinstance(betas, str) else OmegaConf.to_container(betas)
        return {
            "lr": lr[0] if isinstance(lr, Sequence) else lr,
            "betas": tuple(pair),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

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
        own = [{name: group[name] for name in ("weight_decay", "lr_scale")} for group in self._optimizer.param_groups]
        super().load_state_dict(state_dict, optimizer_overrides)
        lr = self.param_groups[0]["lr"] / self.param_groups[0].get("lr_scale", 1.0)
        for group, options in zip(self.param_groups, own, strict=True):
            group.update(options)
        self.set_lr(lr)

    @property
    def supports_flat_params(self) -> bool:
        """False: in one flat vector, matrices and biases cannot be distinguished."""
        return False


def is_decayed(param: torch.nn.Parameter) -> bool:
    """Return whether weight decay applies to a parameter."""
    return param.ndim >= 2 and not getattr(param, "no_weight_decay", False)


def lr_scale(param: torch.nn.Parameter) -> float:
    """Return the multiple of the learning rate that a parameter learns at."""
    return float(getattr(param, "lr_scale", 1.0))
