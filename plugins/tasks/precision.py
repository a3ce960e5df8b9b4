"""Base of the tasks: training and validation in mixed precision."""

import functools
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask

DTYPES = {"bf16": torch.bfloat16}


class MixedPrecisionTask(FairseqTask):
    """A task with the options of :class:`plugins.options.PrecisionConfig`.

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
        dtype = DTYPES.get(str(self.cfg.mixed_precision))
        return criterion if dtype is None else functools.partial(run_autocast, dtype, criterion)


def run_autocast(
    dtype: torch.dtype, criterion: FairseqCriterion, model: BaseFairseqModel, sample: dict[str, Any]
) -> tuple[torch.Tensor, int, dict[str, Any]]:
    """Apply a criterion under autocast on the device of the model."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, dtype):
        return criterion(model, sample)
