"""A metric: the share of the masked tokens that the model predicts, in validation.

``--best-checkpoint-metric accuracy --maximize-best-checkpoint-metric`` keeps the checkpoint with the best one.
"""

from fairseq.criterions import register_criterion
from fairseq.logging import metrics

from plugins.criterions.clap_masked_lm import ClapMaskedLMCriterion, ClapMaskedLMCriterionConfig


@register_criterion("masked_accuracy", dataclass=ClapMaskedLMCriterionConfig)
class MaskedAccuracy(ClapMaskedLMCriterion):
    """The loss of ``clap_masked_lm``; validation also logs ``accuracy``, between 0 and 1."""

    def forward(self, model, sample, reduce=True):
        """Return the loss (a scalar, nats), the number of masked tokens, and what to log."""
        loss, predicted, log = super().forward(model, sample, reduce)
        if not model.training:
            masked = sample["target"] != self.padding_idx  # (B, T)
            logits, _ = model(**sample["net_input"], masked_tokens=masked)  # (N, V)
            log["correct"] = int((logits.argmax(-1) == sample["target"][masked]).sum())
        return loss, predicted, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        return {*super().validation_metrics(), "accuracy"}

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        """Log the metrics of ``clap_masked_lm`` and the accuracy."""
        ClapMaskedLMCriterion.reduce_metrics(logging_outputs)
        if any("correct" in log for log in logging_outputs):
            predicted = sum(log["sample_size"] for log in logging_outputs)
            correct = sum(log["correct"] for log in logging_outputs)
            metrics.log_scalar("accuracy", correct / max(predicted, 1), predicted, round=4)
