"""Next-token cross-entropy, in bits as fairseq logs it, in nats, and as perplexity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

DIGITS = 6


@dataclass
class CausalLMCriterionConfig(FairseqDataclass):
    """Options of the criterion ``causal_lm``."""

    pass


@register_criterion("causal_lm", dataclass=CausalLMCriterionConfig)
class CausalLMCriterion(FairseqCriterion):
    """The sum over all targets that are not ``pad()``, normalized by their number.

    The model computes the loss: it projects only features that have a target, and stores no logits.
    """

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss (a scalar, nats), the number of targets, and what to log."""
        target, given = sample["target"], sample.get("predicted")  # (B, T)
        count = int((target != self.padding_idx).sum()) if given is None else given["count"]
        loss = model(**sample["net_input"], **targets(sample))[1]["loss"]
        log = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": count,
        }
        return loss, count, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        return {"loss", "nats", "ppl"}

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Log the loss in bits and in nats, and perplexity."""
        loss, predicted = (sum(log.get(key, 0) for log in logging_outputs) for key in ("loss", "sample_size"))
        metrics.log_scalar("loss", loss / max(predicted, 1) / math.log(2), predicted, round=5)
        log_nats_and_perplexity()

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return True: workers can add up what they log."""
        return True


def targets(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which a model computes the loss: targets (B, T), and where they are, if known."""
    return {name: sample[name] for name in ("target", "predicted") if name in sample}


def log_nats_and_perplexity() -> None:
    """Log nats and perplexity, derived from the loss in bits."""
    metrics.log_derived("nats", lambda meters: round(float(meters["loss"].avg) * math.log(2), DIGITS))
    metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg, round=DIGITS))
