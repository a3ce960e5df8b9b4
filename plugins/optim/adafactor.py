"""fairseq's Adafactor with this package's parameter groups (Shazeer and Stern, 2018, arXiv 1804.04235)."""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, List, Optional  # noqa: UP035 (fairseq's parser does not read `list[float]`)

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import OPTIMIZER_REGISTRY, register_optimizer
from fairseq.optim import adafactor as stock
from omegaconf import II, OmegaConf

from .groups import GroupedOptimizer, groups_of

NAME = "adafactor"


@dataclass
class AdafactorConfig(FairseqDataclass):
    """Options of the optimizer ``adafactor``."""

    adafactor_eps: Any = field(
        default="(1e-30, 1e-3)", metadata={"help": "added to squared gradients; least scale of --scale-parameter"}
    )
    clip_threshold: float = field(default=1.0, metadata={"help": "largest root mean square of an update"})
    decay_rate: float = field(default=-0.8, metadata={"help": "exponent of the decay of the second moments"})
    beta1: Optional[float] = field(default=None, metadata={"help": "decay rate of the first moment (no first moment)"})
    weight_decay: float = field(
        default=0.0, metadata={"help": "decoupled weight decay of matrices", "argparse_alias": "--wd"}
    )
    scale_parameter: bool = field(
        default=False, metadata={"help": "multiply the learning rate by the root mean square of each parameter"}
    )
    relative_step: bool = field(
        default=False, metadata={"help": "a learning rate of 1 / sqrt(updates), at most 0.01, instead of the schedule"}
    )
    warmup_init: bool = field(default=False, metadata={"help": "with --relative-step: warm up from 1e-6"})
    lr: List[float] = II("optimization.lr")  # noqa: UP006


class ScaledAdafactor(stock.Adafactor):
    """fairseq's, whose ``--scale-parameter`` multiplies the rate by the scales of all earlier tensors."""

    def step(self, closure: Callable | None = None) -> Any:
        """Update the parameters; the learning rates of the groups stay as they are."""
        rates = [group["lr"] for group in self.param_groups]
        self._rates = {id(group): rate for group, rate in zip(self.param_groups, rates, strict=True)}
        loss = super().step(closure)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
        return loss

    def _get_lr(self, param_group: Mapping, param_state: Mapping) -> Any:
        return super()._get_lr({**param_group, "lr": self._rates[id(param_group)]}, param_state)


OPTIMIZER_REGISTRY.pop(NAME)  # fairseq's own, which has no groups, and no options in YAML


@register_optimizer(NAME, dataclass=AdafactorConfig)
class Adafactor(GroupedOptimizer):
    """``--optimizer adafactor`` with fairseq's options, and with the weight decay and rates of :func:`groups_of`.

    The second moments of a matrix of R x C parameters are R + C numbers.
    """

    def __init__(self, cfg: AdafactorConfig, params: Iterable[torch.nn.Parameter]) -> None:
        super().__init__(cfg)
        # Without weight decay there is one group, as in checkpoints of fairseq's class.
        self._optimizer = ScaledAdafactor(groups_of(params, decay_all=not cfg.weight_decay), **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Arguments of :class:`fairseq.optim.adafactor.Adafactor`; ``--relative-step`` replaces the learning rate."""
        cfg: Any = self.cfg
        lr = cfg.lr[0] if isinstance(cfg.lr, Sequence) else cfg.lr
        eps: Any = cfg.adafactor_eps
        pair: Any = ast.literal_eval(eps) if isinstance(eps, str) else OmegaConf.to_container(eps)
        return {
            "lr": None if cfg.relative_step else lr,
            "eps": tuple(pair),
            **{name: cfg[name] for name in ("clip_threshold", "decay_rate", "beta1", "weight_decay")},
            **{name: cfg[name] for name in ("scale_parameter", "relative_step", "warmup_init")},
        }

    def get_lr(self) -> float:
        """Return the learning rate of parameters without a scale; 0 before the first step of ``--relative-step``."""
        return 0.0 if self.param_groups[0]["lr"] is None else super().get_lr()


Adafactor.__name__ = stock.FairseqAdafactor.__name__  # by which checkpoints know their optimizer
