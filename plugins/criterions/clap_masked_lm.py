"""Cross-entropy at the masked positions, in bits, with perplexity and the CLAP head's beta."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

DIGITS = 6  # decimals of the perplexity; fairseq rounds to two


@dataclass
class ClapMaskedLMCriterionConfig(FairseqDataclass):
    """Options of the criterion ``clap_masked_lm``."""

    pass


@register_criterion("clap_masked_lm", dataclass=ClapMaskedLMCriterionConfig)
class ClapMaskedLMCriterion(FairseqCriterion):
    """Like fairseq's ``masked_lm``: a sum over masked positions, normalized by their number, logged to base 2."""

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss (a scalar, nats), the number of masked positions, and what to log."""
        masked, given = sample["target"] != self.padding_idx, sample.get("predicted")  # (B, T)
        logits, extra = model(**sample["net_input"], masked_tokens=masked, target=sample["target"], predicted=given)
        masked = extra.get("masked_tokens", masked)  # a self-masking model draws them itself
        predicted = int(masked.sum()) if given is None else given["count"]
        loss = extra.get("loss")
        if loss is None:  # fairseq's own models compute only logits (N, V)
            loss = F.cross_entropy(logits.float(), sample["target"][masked], reduction="sum")
        log = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": predicted,
        }
        beta = clap_beta(model)
        if beta is not None:
            log.update(beta=beta, workers=1)
        return loss, predicted, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        return {"loss", "ppl", "beta"}

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Log the loss in bits, its perplexity and beta."""
        loss, predicted, beta, workers = (
            sum(log.get(key, 0) for log in logging_outputs) for key in ("loss", "sample_size", "beta", "workers")
        )
        metrics.log_scalar("loss", loss / max(predicted, 1) / math.log(2), predicted, round=5)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg, round=DIGITS))
        if workers:
            metrics.log_scalar("beta", beta / workers, round=5)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return True: workers can add up what they log."""
        return True


def clap_beta(model: torch.nn.Module) -> torch.Tensor | None:
    """Return the beta of a model's CLAP head, or None."""
    beta = getattr(getattr(model.encoder, "lm_head", None), "beta", None)
    return beta.detach().float().sum() if torch.is_tensor(beta) else None
