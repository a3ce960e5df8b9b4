"""Base of the tasks: training and validation in mixed precision."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask

from plugins.options import option

DTYPES = {"none": None, "bf16": torch.bfloat16}
MIXED_PRECISION = ChoiceEnum(list(DTYPES))
MATMUL_PRECISION = ChoiceEnum(["high", "highest"])


@dataclass
class PrecisionConfig(FairseqDataclass):
    """Number formats that a task computes in; see :class:`MixedPrecisionTask`."""

    mixed_precision: MIXED_PRECISION = option(
        "none",
        "bf16: train and validate under torch.autocast in bfloat16; weights, gradients, optimizer state and the loss "
        "stay in float32. Recommended instead of --fp16, --bf16 and --amp, on GPUs since Ampere and on CPUs with "
        "AVX512-BF16 or AMX. none: float32",
    )
    float32_matmul: MATMUL_PRECISION = option(
        "high",
        "on a GPU, products of float32 matrices in TF32 (high) or in float32 (highest); see "
        "torch.set_float32_matmul_precision",
    )


class MixedPrecisionTask(FairseqTask):
    """A task with the options of :class:`PrecisionConfig`.

    With ``--mixed-precision bf16`` the forward pass of training and validation runs under ``torch.autocast``: products
    in bfloat16, the rest in float32 (Micikevicius et al., 2018, arXiv 1710.03740, with the range of float32, hence
    without loss scaling). Parameters, their gradients and the optimizer state are float32. The backward pass runs
    outside of autocast, as torch recommends.
    """

    def train_step(
        self,
        sample: dict[str, Any],
        model: BaseFairseqModel,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        ignore_grad: bool = False,
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Compute the loss of a batch and add its gradients; return loss, sample size and what to log."""
        return super().train_step(sample, model, self.autocast(criterion), optimizer, update_num, ignore_grad)

    def valid_step(
        self, sample: dict[str, Any], model: BaseFairseqModel, criterion: FairseqCriterion
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Compute the loss of a batch without gradients; return loss, sample size and what to log."""
        return super().valid_step(sample, model, self.autocast(criterion))

    def autocast(self, criterion: FairseqCriterion) -> Any:
        """Return the criterion, which runs under autocast if the options ask for it."""
        dtype = DTYPES[str(self.cfg.mixed_precision)]
        return criterion if dtype is None else functools.partial(run_autocast, dtype, criterion)


def run_autocast(
    dtype: torch.dtype, criterion: FairseqCriterion, model: BaseFairseqModel, sample: dict[str, Any]
) -> tuple[torch.Tensor, int, dict[str, Any]]:
    """Apply a criterion under autocast on the device of the model."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, dtype):
        return criterion(model, sample)
