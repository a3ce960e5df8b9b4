"""AdamW with running means of one byte per parameter, from bitsandbytes (Dettmers et al., 2022, arXiv 2110.02861)."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.optim import register_optimizer

from plugins.errors import UserError

from .fused_adamw import AdamW, FusedAdamWConfig
from .groups import groups_of

SMALLEST = 4096  # values; smaller tensors keep states of 32 bits, as bitsandbytes recommends


@dataclass
class AdamW8bitConfig(FusedAdamWConfig):
    """Options of the optimizer ``adamw_8bit``."""

    pass


@register_optimizer("adamw_8bit", dataclass=AdamW8bitConfig)
class AdamW8bit(AdamW):
    """``bitsandbytes.optim.AdamW8bit``. Embeddings keep states of 32 bits (section 2.3 of the paper).

    On a CPU its kernels convert whole tensors to float32: it saves memory only on a GPU.

    Raises:
        UserError: bitsandbytes is not installed.
    """

    def __init__(self, cfg: AdamW8bitConfig, params: Iterable[torch.nn.Parameter]) -> None:
        super().__init__(cfg)
        library = bitsandbytes()
        params = list(params)
        manager = library.optim.GlobalOptimManager.get_instance()
        manager.register_parameters(params)
        for p in params:
            if getattr(p, "is_embedding", False):
                manager.override_config(p, "optim_bits", 32)
        groups = groups_of(params, cfg.decay_all)
        self._optimizer = library.optim.AdamW8bit(groups, min_8bit_size=SMALLEST, **self.optimizer_config)


def bitsandbytes() -> Any:
    """Import bitsandbytes.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise UserError(
            f"--optimizer adamw_8bit needs bitsandbytes ({error}); install the extra: pip install -e '.[gpu]'"
        ) from error
