"""AdamW in one kernel, with weight decay on matrices alone."""

import ast
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, List  # noqa: UP035 (fairseq's parser does not read `list[float]`)

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II, OmegaConf


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    adam_betas: Any = field(default="(0.9, 0.98)", metadata={"help": "decay of the two running means"})
    adam_eps: float = field(default=1e-6, metadata={"help": "added to the denominator"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay of matrices"})
    decay_all: bool = field(default=False, metadata={"help": "decay biases, gains and beta too, as adam does"})
    lr: List[float] = II("optimization.lr")  # noqa: UP006


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(FairseqOptimizer):
    """``torch.optim.AdamW(fused=True)`` (Loshchilov and Hutter, 2019, arXiv 1711.05101).

    The update is that of fairseq's ``adam``, whose weight decay is decoupled too. Decay is for parameters of two and
    more dimensions that do not say ``no_weight_decay``: no bias, no gain of a layer norm, no CLAP beta.
    A parameter with an attribute ``lr_scale`` learns at that multiple of the learning rate.
    """

    def __init__(self, cfg, params):
        super().__init__(cfg)
        params = list(params)
        groups = {}
        for p in params:  # decayed ones first, as checkpoints know them; then by the scale of the learning rate
            kind = (not (cfg.decay_all or is_decayed(p)), -lr_scale(p))
            groups.setdefault(kind, []).append(p)
        kinds = [
            {"params": groups[kind], "lr_scale": -kind[1], **({"weight_decay": 0.0} if kind[0] else {})}
            for kind in sorted(groups)
        ]
        self._optimizer = torch.optim.AdamW(kinds, fused=True, **self.optimizer_config)

    @property
    def optimizer_config(self):
        betas, lr = self.cfg.adam_betas, self.cfg.lr
        return {
            "lr": lr[0] if isinstance(lr, Collection) else lr,
            "betas": tuple(ast.literal_eval(betas) if isinstance(betas, str) else OmegaConf.to_container(betas)),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    def get_lr(self):
        first = self.param_groups[0]
        return first["lr"] / first["lr_scale"]

    def set_lr(self, lr):
        """Set the learning rate; each group gets it times its own scale (layer-wise decay)."""
        for group in self.param_groups:
            group["lr"] = lr * group["lr_scale"]

    def load_state_dict(self, state_dict, optimizer_overrides=None):
        """Load a state; which parameters decay, and how much, stays as this run's options say."""
        own = [{name: group[name] for name in ("weight_decay", "lr_scale")} for group in self._optimizer.param_groups]
        super().load_state_dict(state_dict, optimizer_overrides)
        lr = self.param_groups[0]["lr"] / self.param_groups[0].get("lr_scale", 1.0)
        for group, options in zip(self.param_groups, own, strict=True):
            group.update(options)
        self.set_lr(lr)

    @property
    def supports_flat_params(self):
        return False  # one flat vector does not tell a matrix from a bias


def is_decayed(param):
    return param.ndim >= 2 and not getattr(param, "no_weight_decay", False)


def lr_scale(param):
    return float(getattr(param, "lr_scale", 1.0))
