"""Losses on embeddings, their batch statistics, and metrics of embeddings over whole splits."""

import contextlib
import functools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from plugins.analysis.metrics import embedding as embedding_metrics
from plugins.data.embedding import specs
from plugins.data.embedding.dataset import EmbeddingRows
from plugins.data.embedding.losses import find
from plugins.errors import UserError
from plugins.modules import metric_losses, mining
from plugins.modules.batch_statistics import batch_statistics

from . import hard_triplets
from .metric_learning_options import MetricLearningConfig, check
from .text_vectors import embed, embed_with_dropout

logger = logging.getLogger(__name__)

GATHERED = "_embeddings"  # a meter of (N, 2 + K * d); the underscore keeps it out of the log
PATIENCE = 100  # consecutive batches with a collapsed model's loss before a warning
STATISTICS = ("positive_distance", "negative_distance", "violations", "norm", "effective_rank")


@register_criterion("metric_learning", dataclass=MetricLearningConfig)
class MetricLearningCriterion(FairseqCriterion):
    """The mean over the anchors of all batches of an update.

    A batch without a valid anchor contributes nothing and counts as ``dead_batches``.

    Raises:
        UserError: options contradict each other, or the task has other rows than the loss needs.
    """

    def __init__(self, cfg: MetricLearningConfig, task: FairseqTask) -> None:
        super().__init__(task)
        self.cfg, self.task = cfg, task
        self.loss = find(str(cfg.metric_loss), task.spec)
        self.distance = str(cfg.distance or self.loss.distance)
        self.margin = self.loss.margin if cfg.margin is None else cfg.margin
        self.scale = self.loss.scale if cfg.scale is None else cfg.scale
        # A text is paired with itself, encoded with other dropout (Gao et al., 2021, SimCSE, section 3).
        self.twice = str(cfg.metric_loss) == "multiple_negatives_ranking" and task.spec.kind == specs.TEXTS
        self.stuck, self.warned = 0, False
        self.hard: hard_triplets.HardTriplets | None = None
        self._scored: tuple[Tensor | None, dict[str, float]] = (None, {})
        check(cfg, self.loss, self.distance, self.margin, task.cfg)

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Return the loss (a scalar, summed), the number of anchors, and what to log."""
        name, head = str(self.cfg.metric_loss), model.embedding_head
        inputs = sample["net_input"]
        if self.twice and self.training:
            inputs = {key: torch.cat([value, value]) for key, value in inputs.items()}
        embeddings = embed(model, **inputs, most_rows=self.cfg.grad_cache_rows if self.training else 0)  # (K * B, d)
        if self.twice and not self.training:
            embeddings = torch.cat([embeddings, embed_with_dropout(model, **inputs)])
        columns = embeddings.float().unflatten(0, (-1, sample["nsentences"]))  # (K, B, d)
        learn = getattr(self, f"{name}_loss", functools.partial(self.plain_loss, name))
        with contextlib.nullcontext() if name == "denoising" else without_autocast(columns):  # denoising has a decoder
            loss, weight = learn(columns, sample, head)
        log = {
            "loss": loss.detach() * weight,
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": weight,
            "batches": 1,
        }
        if self.training:  # batches of validation are made by length, so that some have one class
            log["dead_batches"] = int(weight == 0)
        if self.training and self.task.spec.kind == specs.LABELED:
            with without_autocast(columns):
                log |= {"statistics": 1, **self.describe(columns[0].detach(), sample["target"])}
            self.watch(float(loss.detach()))
        if not self.training:
            log["embeddings"] = gathered(columns[: len(self.task.spec.text)], sample, self.task)
        return loss * weight, weight, log

    # Losses: (K, B, d) embeddings to a mean and its weight in an update

    def plain_loss(self, name: str, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """A loss of :mod:`plugins.modules.metric_losses` with the options that it has."""
        function, options = getattr(metric_losses, name), self.options()
        if self.loss.kinds[0] == specs.LABELED:
            loss, _ = function(columns[0], sample["target"], **options)
            return loss, int(mining.masks(sample["target"])[2].sum())
        texts, labels, weight = self.arranged(columns, sample)
        labels = () if labels is None or self.loss.kinds[0] in (specs.PAIRS, specs.TRIPLETS) else (labels,)
        loss, count = function(*texts[: 2 if self.paired else 3], *labels, **options)
        return loss, weight if count else 0

    @property
    def paired(self) -> bool:
        """Whether the loss compares two texts."""
        return self.loss.kinds[0] in (specs.PAIRS, specs.LABELED_PAIRS, specs.SCORED_PAIRS)

    def options(self) -> dict[str, Any]:
        """Return the arguments of the loss: distance, margin and scale, if it has them."""
        values = {"distance": self.loss.distance and self.distance, "margin": self.margin, "scale": self.scale}
        return {name: value for name, value in values.items() if value is not None}

    def arranged(self, columns: Tensor, sample: dict[str, Any]) -> tuple[list[Tensor], Any, int]:
        """Return the texts of pairs or triplets, their labels, and how many there are; made from classes if need be."""
        labels = sample.get("target")
        if self.task.spec.kind != specs.LABELED:
            return list(columns), labels, columns.size(1)
        anchors, positives, negatives = mining.partners(sample["target"])
        a, p, n = (columns[0][rows] for rows in (anchors, positives, negatives))
        if self.loss.kinds[0] in (specs.LABELED_PAIRS, specs.SCORED_PAIRS):  # one similar, one dissimilar pair each
            similar = torch.cat([torch.ones(len(a)), torch.zeros(len(a))]).to(sample["target"])
            return [torch.cat([a, a]), torch.cat([p, n])], similar, len(a)
        return [a, p, n], None, len(a)

    def online_contrastive_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Summed loss over hard pairs, divided by the batch's pairs: the step does not depend on the batch size."""
        (a, b), labels, weight = self.arranged(columns, sample)
        loss, _ = metric_losses.online_contrastive(a, b, labels, **self.options())
        return loss / max(len(a), 1), weight

    def softmax_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Cross-entropy of the classifier of the head on pairs."""
        (u, v), labels, weight = self.arranged(columns, sample)
        loss, _ = metric_losses.softmax_pairs(u, v, labels, head.classifier.weight, head.classifier.bias)
        return loss, weight

    def cosine_similarity_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Squared error of the cosines of pairs against their scores."""
        (a, b), scores, weight = self.arranged(columns, sample)
        return metric_losses.cosine_similarity(a, b, scores)[0], weight

    def multiple_negatives_ranking_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Equal texts, and texts of the same class, do not count as negatives of each other."""
        texts, _, _ = self.arranged(columns, sample)
        ids = sample["text_ids"]
        if self.twice:
            ids = torch.cat([ids, ids])
            self.warn_without_dropout(columns)
        if self.task.spec.kind == specs.LABELED:
            anchors, positives, _ = mining.partners(sample["target"])
            texts, ids = texts[:2], torch.stack([sample["target"][anchors], sample["target"][positives]])
        own, others = ids[1], ids[1:].flatten()  # (B,), (M,)
        same = (own[:, None] == others) | (ids[0][:, None] == others)  # (B, M)
        further = texts[2] if len(texts) > 2 else None
        assert self.scale is not None, "this loss has a scale"
        loss, count = metric_losses.multiple_negatives_ranking(
            texts[0], texts[1], self.scale, further, self.cfg.symmetric, same
        )
        return loss, count

    def warn_without_dropout(self, columns: Tensor) -> None:
        """Warn once, at the first batch of training, if the two embeddings of each text are equal."""
        if self.training and not self.warned:
            self.warned = True
            if torch.equal(*columns):
                logger.warning(
                    "the two embeddings of each text are equal, because the model has no dropout: use --dropout"
                )

    def mega_batch_margin_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Margin loss with the hardest negative of each pair in the batch."""
        texts, _, weight = self.arranged(columns, sample)
        assert self.margin is not None, "this loss has a margin"
        loss, count = metric_losses.mega_batch_margin(texts[0], texts[1], self.margin, self.cfg.negative_margin)
        return loss, weight if count else 0

    def mse_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Squared error against a teacher's vectors.

        Raises:
            UserError: the teacher's vectors have another number of dimensions.
        """
        teacher = sample["teacher"].to(columns)
        if teacher.size(1) != columns.size(2):
            raise UserError(f"--teacher: its vectors have {teacher.size(1)} dimensions, the model {columns.size(2)}")
        return metric_losses.mse(columns[0], teacher)

    def margin_mse_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Squared error of the margins of triplets against a teacher's."""
        if self.task.spec.kind == specs.MARGINS:
            anchor, positive, negative = columns
            return metric_losses.margin_mse(anchor, positive, negative, sample["target"])
        anchors, positives, negatives = mining.partners(sample["target"])
        teacher = sample["teacher"].to(columns)
        wanted = (teacher[anchors] * (teacher[positives] - teacher[negatives])).sum(-1)
        anchor, positive, negative = (columns[0][rows] for rows in (anchors, positives, negatives))
        return metric_losses.margin_mse(anchor, positive, negative, wanted)

    def denoising_loss(self, columns: Tensor, sample: dict[str, Any], head: Any) -> tuple[Tensor, int]:
        """Cross-entropy (nats) per token of the whole text, decoded from the embedding of its shortened form."""
        total, count = head.decoder(columns[0], sample["whole"]["src_tokens"], sample["whole"]["src_lengths"])
        return total / max(count, 1), count

    # Batch statistics

    def describe(self, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the statistics of a batch whose rows have classes."""
        distance = self.distance if self.loss.distance else "cosine"
        return batch_statistics(embeddings, labels, self.margin or 0.0, distance)

    def watch(self, loss: float) -> None:
        """Warn when the loss stays at its value for identical vectors."""
        name = str(self.cfg.metric_loss)
        collapsed = {"batch_hard": self.margin, "batch_semi_hard": self.margin, "batch_all": self.margin,
                     "triplet": self.margin, "batch_hard_soft_margin": math.log(2)}.get(name)  # fmt: skip
        if collapsed is None:
            return
        self.stuck = self.stuck + 1 if abs(loss - collapsed) < 1e-3 * collapsed else 0
        if self.stuck == PATIENCE:
            logger.warning(
                "the loss has been %.3f for %d batches, its value when all texts have the same vector: the model may "
                "have collapsed; lower --lr, or try another loss", collapsed, PATIENCE,
            )  # fmt: skip

    # Logging

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        kind = self.task.spec.kind
        return {"loss", *specs.METRICS[kind]} | ({specs.HARD_ACCURACY} if kind == specs.LABELED else set())

    def freeze_triplets(self, model: BaseFairseqModel, rows: EmbeddingRows, path: str, resumed: bool) -> None:
        """Log the accuracy on hard triplets, too, see :func:`.hard_triplets.freeze`; repeated calls have no effect."""
        self.hard = self.hard or hard_triplets.freeze(model, rows, path, resumed)

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Log the loss, the dead batches, and the means of the statistics of batches."""

        def total(key):
            return sum(float(log.get(key, 0)) for log in logging_outputs)

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / max(size, 1), size, round=5)
        if any("dead_batches" in log for log in logging_outputs):
            metrics.log_scalar_sum("dead_batches", int(total("dead_batches")))
        if described := total("statistics"):
            for name in STATISTICS:
                metrics.log_scalar(name, total(name) / described, described, round=4)

    def log_scores(self, logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Log the metrics of validation, each computed from all embeddings so far."""
        found = [log["embeddings"] for log in logging_outputs if "embeddings" in log]
        if not found:
            return
        metrics.log_concat_tensor(GATHERED, torch.cat(found))
        for name in (*specs.METRICS[self.task.spec.kind], *([specs.HARD_ACCURACY] if self.hard else [])):
            metrics.log_derived(name, lambda meters, name=name: self.score(name, meters))

    def score(self, name: str, meters: Mapping[str, Any]) -> float:
        """Return a validation metric of all embeddings gathered in ``meters``, rounded to four digits."""
        gathered = meters[GATHERED].tensor
        if self._scored[0] is not gathered:  # all metrics come from one computation
            kind, rows = self.task.spec.kind, gathered[gathered[:, 0].argsort(stable=True)]  # in the order of the file
            columns = rows[:, 2:].unflatten(1, (len(self.task.spec.text), -1)).transpose(0, 1)  # (K, N, d)
            labels = rows[:, 1].double().numpy()
            labels = labels.astype(int) if kind in (specs.LABELED, specs.LABELED_PAIRS) else labels
            found = embedding_metrics.scores(kind, columns.numpy(), labels)
            if self.hard is not None:
                found[specs.HARD_ACCURACY] = self.hard.accuracy(columns[0].numpy(), labels)
            self._scored = gathered, found
        return round(self._scored[1][name], 4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return False  # fairseq calls EmbeddingTask's method instead


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which products of float32 embeddings are computed in float32."""
    return torch.autocast(x.device.type, enabled=False)


def gathered(columns: Tensor, sample: dict[str, Any], task: FairseqTask) -> Tensor:
    """Return the number, label (0 if missing) and embeddings of each row, (B, 2 + K * d) float32 on the CPU."""
    ids, columns = sample["id"], columns.detach()
    known = torch.stack([ids.float(), sample.get("target", torch.zeros_like(ids)).float()], 1).cpu()
    return torch.cat([known, columns.transpose(0, 1).flatten(1).float().cpu()], 1)
