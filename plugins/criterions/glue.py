"""Cross-entropy or squared error of a classification head, and GLUE's metrics over whole splits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed.utils import get_data_parallel_world_size
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask

from plugins.analysis.metrics import glue as glue_metrics
from plugins.data.glue.logits import Recorder
from plugins.errors import UserError
from plugins.options import option

ANSWERS = "_answers"  # a meter of (N, 2) predictions and targets; the underscore keeps it out of the log


@dataclass
class GlueCriterionConfig(FairseqDataclass):
    """Options of the criterion ``glue``."""

    record_logits: Optional[str] = option(
        None, "folder to write the logits of each row to, by split and epoch; those of training are in train mode"
    )


@register_criterion("glue", dataclass=GlueCriterionConfig)
class GlueCriterion(FairseqCriterion):
    """Sums over sentences, normalized by their number.

    ``loss`` of a classification is logged in bits, as fairseq logs losses, and ``nll`` in nats. That of a regression is
    the mean squared error on the labels' own scale, logged as ``loss`` and ``mse``; ``published_loss`` is what the
    published tables give for STS-B.

    Raises:
        UserError: ``record_logits`` is given with several processes, or is no folder to write to.
    """

    def __init__(self, task: FairseqTask, record_logits: str | None = None) -> None:
        super().__init__(task)
        self.spec, self.head = task.spec, task.head_name
        self.recorder = None
        if record_logits:
            if get_data_parallel_world_size() > 1:
                raise UserError("--record-logits works on one device: the processes of several would share its files")
            self.recorder = Recorder(record_logits)

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss (a scalar), the number of sentences, and what to log."""
        logits, _ = model(**sample["net_input"], classification_head_name=self.head)  # (B, K)
        target, logits = sample["target"], logits.float()
        if self.recorder and len(target):
            self.recorder.write(
                sample["split"], self.task.epoch, sample["rows"], sample["of"], logits.detach().cpu().numpy()
            )
        if self.spec.is_regression:
            predictions = logits.squeeze(-1)  # (B,)
            loss = F.mse_loss(predictions, target.to(predictions), reduction="sum")
        else:
            predictions = logits.argmax(-1)
            loss = F.cross_entropy(logits, target, reduction="sum")
        size = len(target)
        log = {"loss": loss.detach(), "ntokens": sample["ntokens"], "nsentences": size, "sample_size": size}
        kind = "squared" if self.spec.is_regression else "correct"
        log[kind] = log["loss"] if self.spec.is_regression else (predictions == target).sum()
        if not self.training:
            log["answers"] = torch.stack([predictions.double(), target.double()], 1).cpu().numpy()  # (B, 2)
        return loss, size, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        own = {"mse", "published_loss"} if self.spec.is_regression else {"nll", "top_class_share"}
        return {"loss", *self.spec.metrics} | own

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Log the loss and, while training, the accuracy."""
        loss, size = (sum(log.get(key, 0) for log in logging_outputs) for key in ("loss", "sample_size"))
        size = max(size, 1)
        regression = any("squared" in log for log in logging_outputs)
        metrics.log_scalar("loss", loss / size / (1 if regression else math.log(2)), size, round=5)
        metrics.log_scalar("mse" if regression else "nll", loss / size, size, round=5)
        if not regression and not any("answers" in log for log in logging_outputs):
            metrics.log_scalar("accuracy", sum(log.get("correct", 0) for log in logging_outputs) / size, size, round=4)

    def log_scores(self, logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Log the metrics of validation, each computed from all predictions so far."""
        answers = [log["answers"] for log in logging_outputs if "answers" in log]
        if not answers:
            return
        metrics.log_concat_tensor(ANSWERS, torch.from_numpy(np.concatenate(answers)))
        for name in self.spec.metrics:
            metrics.log_derived(name, lambda meters, name=name: self.score(name, meters))
        if self.spec.is_regression:
            metrics.log_derived("published_loss", self.published_loss)
        else:
            metrics.log_derived("top_class_share", lambda meters: glue_metrics.top_share(answers_in(meters)[0]))

    def score(self, name: str, meters: Mapping[str, Any]) -> float:
        """Return a metric of all predictions that the meters contain."""
        return glue_metrics.scores(self.spec.metrics, *answers_in(meters))[name]

    def published_loss(self, meters: Mapping[str, Any]) -> float:
        """Return the loss of the published tables, see :func:`plugins.analysis.metrics.glue.published_loss`."""
        return glue_metrics.published_loss(glue_metrics.mean_squared_error(*answers_in(meters)), self.spec.scale)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Return False: fairseq calls :class:`plugins.tasks.glue.GlueTask` instead."""
        return False


def answers_in(meters: Mapping[str, Any]) -> np.ndarray:
    """Return predictions and targets, (2, N)."""
    return meters[ANSWERS].tensor.numpy().T
