"""Next-character cross-entropy, plus a weighted loss for the styles of a Multi-Style Adapter."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask

from plugins.errors import UserError

from .causal_lm import DIGITS, log_nats_and_perplexity, targets

# Meters that figures are derived from: the loss with labels, the entropy without, the share of each style. The
# underscore keeps them out of the log.
LABEL_LOSS, ENTROPY, SHARE = "_style_label_loss", "_style_entropy", "_style_share_"


@dataclass
class StyleLMCriterionConfig(FairseqDataclass):
    """Options of the criterion ``style_lm``."""

    style_weight: float = field(default=0.1, metadata={"help": "weight of the style loss (0: none)"})
    unsupervised_styles: bool = field(
        default=False, metadata={"help": "learn styles without labels, even if the corpus has labels"}
    )


@register_criterion("style_lm", dataclass=StyleLMCriterionConfig)
class StyleLMCriterion(FairseqCriterion):
    """Language-model loss + ``style_weight`` * style loss. Both are logged; ``loss`` is that of the language model.

    With labels the style loss is the classifier's cross-entropy at every position, so that the classifier learns to
    decide early. Without labels it is minus the mutual information of window and style (Krause et al., 2010, "RIM"):
    each window's style should be certain, and all styles should be used equally. Logged are this loss over all windows
    (not the mean over batches), the mean probability of a window's most probable style (``style_confidence``), and the
    perplexity of the shares of the K styles divided by K (``style_evenness``): 1 if all are used equally, 1/K if only
    one is used.

    Raises:
        UserError: ``--style-weight`` is negative or not finite.
    """

    def __init__(self, task: FairseqTask, style_weight: float, unsupervised_styles: bool) -> None:
        super().__init__(task)
        if not 0 <= style_weight < math.inf:
            raise UserError(f"--style-weight {style_weight} is not a number of 0 or more")
        self.style_weight, self.unsupervised = style_weight, unsupervised_styles

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the objective (a scalar, nats), the number of characters, and what to log."""
        target, count = sample["target"], sample["ntokens"]
        extra = model(**sample["net_input"], **targets(sample))[1]
        loss = extra["loss"]
        log = {
            "loss": loss.detach(),
            "ntokens": count,
            "nsentences": sample["nsentences"],
            "sample_size": count,
        }
        style_logits = extra["style_logits"]
        if style_logits is not None and style_logits.size(-1) > 1:
            labels = None if self.unsupervised else sample["net_input"].get("style_labels")
            real = (target != self.padding_idx)[:, : style_logits.size(1)].float()  # (B, T), or (B, 1) if published
            if labels is None:
                style_loss, style_log = mutual_information_loss(style_logits, real)
            else:
                style_loss, style_log = label_loss(style_logits, labels, real)
            loss = loss + self.style_weight * style_loss * count
            log |= style_log
        return loss, count, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        styles = {"style_loss", "style_accuracy", "style_confidence", "style_evenness"}
        return {"loss", "bpc", "nats", "ppl"} | styles

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Log bits and nats per character, perplexity, and the figures of the styles."""

        def total(key: str) -> Any:
            return sum(log.get(key, 0) for log in logging_outputs)

        characters = max(total("ntokens"), 1)
        metrics.log_scalar("loss", total("loss") / characters / math.log(2), characters, round=5)
        metrics.log_derived("bpc", lambda meters: round(float(meters["loss"].avg), DIGITS))
        log_nats_and_perplexity()
        shares = {name for log in logging_outputs for name in log if name.startswith(SHARE)}
        parts = {
            "_style_labels": (LABEL_LOSS, "style_accuracy"),
            "_style_windows": ("style_confidence", ENTROPY, *shares),
        }
        for count, names in parts.items():
            weight = total(count)
            for name in names if weight > 0 else ():
                metrics.log_scalar(name, total(name) / weight, weight, round=None if name.startswith("_") else 4)
            if weight > 0:
                metrics.log_derived("style_loss", style_loss)
        if shares:
            metrics.log_derived("style_evenness", lambda meters: round(math.exp(evenness(meters)) / len(shares), 4))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return True: workers can add up what they log."""
        return True


def label_loss(
    logits: torch.Tensor, labels: torch.Tensor, real: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the mean cross-entropy of style labels over positions, and what to log.

    Args:
        logits: (B, T, K).
        labels: (B,), -1 where unknown.
        real: (B, T), 0 where padded.
    """
    known = real * (labels >= 0)[:, None]  # (B, T)
    expanded = labels.clamp(min=0)[:, None].expand(known.shape)
    losses = F.cross_entropy(logits.flatten(0, 1), expanded.flatten(), reduction="none").view_as(known)
    count = known.sum()
    summed = (losses * known).sum()
    hits = ((logits.argmax(-1) == expanded) * known).sum()
    log = {LABEL_LOSS: summed.detach(), "style_accuracy": hits, "_style_labels": count}
    return summed / count.clamp(min=1), log


def mutual_information_loss(logits: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return H(style | window) - H(style) in nats, and what to log, as sums over windows.

    A window's style is the mean of its positions' probabilities; the shares of the styles are the mean over the batch.

    Args:
        logits: (B, T, K).
        real: (B, T), 0 where padded.
    """
    weights = real / real.sum(1, keepdim=True).clamp(min=1)
    windows = (logits.softmax(-1) * weights[..., None]).sum(1)  # (B, K)
    entropy, shares, batch = torch.special.entr(windows).sum(), windows.sum(0), len(logits)
    loss = entropy / batch - torch.special.entr(shares / batch).sum()
    log = {ENTROPY: entropy.detach(), "style_confidence": windows.detach().amax(-1).sum(), "_style_windows": batch}
    return loss, log | {f"{SHARE}{k}": share for k, share in enumerate(shares.detach())}


def style_loss(meters: Mapping[str, Any]) -> float:
    """Return the mean over all positions with labels, or the loss of all windows, independent of batching."""
    found = meters[LABEL_LOSS].avg if LABEL_LOSS in meters else meters[ENTROPY].avg - evenness(meters)
    return round(float(found), 4)


def evenness(meters: Mapping[str, Any]) -> float:
    """Return the entropy of the shares of the styles, in nats."""
    shares = [float(meter.avg) for name, meter in meters.items() if name.startswith(SHARE)]
    return -sum(share * math.log(share) for share in shares if share > 0)
