"""AdamW in one kernel, with weight decay only on matrices."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, List  # noqa: UP035 (fairseq's parser does not read `list[float]`)

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import register_optimizer
from omegaconf import II, OmegaConf

from .groups import GroupedOptimizer, groups_of


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    """Options of the optimizer ``fused_adamw``."""

    adam_betas: Any = field(default="(0.9, 0.98)", metadata={"help": "decay rates of the two running means"})
    adam_eps: float = field(default=1e-6, metadata={"help": "added to the denominator"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay of matrices"})
    decay_all: bool = field(
        default=False, metadata={"help": "apply weight decay to biases, gains and beta too, like adam"}
    )
    lr: List[float] = II("optimization.lr")  # noqa: UP006


class AdamW(GroupedOptimizer):
    """Base of the forms of AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101).

    Weight decay applies to parameters with two or more dimensions and without an attribute ``no_weight_decay``: not to
    biases, gains of layer norms and the CLAP head's beta. A parameter with an attribute ``lr_scale`` learns at that
    multiple of the learning rate.
    """

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


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(AdamW):
    """``torch.optim.AdamW(fused=True)``. The update equals that of fairseq's ``adam``, whose decay is decoupled too."""

    def __init__(self, cfg: FusedAdamWConfig, params: Iterable[torch.nn.Parameter]) -> None:
        super().__init__(cfg)
        self._optimizer = torch.optim.AdamW(groups_of(params, cfg.decay_all), fused=True, **self.optimizer_config)
