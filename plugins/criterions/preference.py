"""Losses of reward models on comparisons, ratings and lists, and the metrics that trl logs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `float | None`

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from plugins.analysis.metrics import preference as preference_metrics
from plugins.data.preference.dataset import LISTWISE, PAIRWISE, TIE
from plugins.errors import UserError
from plugins.modules import preference_losses
from plugins.modules.score_head import ScoreHead
from plugins.options import option

GATHERED = "_scores"  # a meter of (N, 4); the underscore keeps it out of the log
LISTS = ("listnet", "listmle", "ranknet", "lambdarank")


@dataclass
class PreferenceCriterionConfig(FairseqDataclass):
    """Options of the criterion ``preference``."""

    list_loss: ChoiceEnum(LISTS) = option("listnet", "loss of --objective listwise")
    centering: float = option(0.0, "weight of the squared sum of a comparison's scores, which centers them at 0")
    smoothing: float = option(0.0, "weight of the reversed comparison in the loss; shrinks scores")
    flip_rate: Optional[float] = option(None, "assumed fraction of reversed comparisons, for which the loss corrects")
    tie_strength: float = option(0.5, "frequency of ties, nu of Davidson's model; used if there are ties")


@register_criterion("preference", dataclass=PreferenceCriterionConfig)
class PreferenceCriterion(FairseqCriterion):
    """A mean over comparisons, texts or lists.

    Raises:
        UserError: options contradict each other.
    """

    def __init__(self, cfg: PreferenceCriterionConfig, task: FairseqTask) -> None:
        super().__init__(task)
        self.cfg, self.task, self.objective = cfg, task, str(task.cfg.objective)
        self._scored: tuple[Tensor | None, dict[str, float]] = (None, {})
        check(cfg, self.objective, task.cfg)

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Return the loss (a scalar, summed), the number of rows, and what to log."""
        features, _ = model(**sample["net_input"], features_only=True)
        scores = model.score_head(features, sample["net_input"]["src_lengths"]).float()  # (M,)
        learn = self.pairs if "outcomes" in sample else self.rated
        terms = learn(scores, sample, model.score_head)  # (B,)
        loss = terms.sum()
        log = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": len(terms),
        }
        if not self.training:
            log["scores"] = gathered(scores.detach(), sample)
        return loss, len(terms), log

    def pairs(self, scores: Tensor, sample: dict[str, Any], head: ScoreHead) -> Tensor:
        """Return the losses (B,) of comparisons, the scores of whose texts alternate."""
        a, b = scores.view(-1, 2).T
        outcomes, weights = sample["outcomes"], sample["weights"].to(scores)
        if self.task.has_ties:
            check_ties(self.cfg, self.task.cfg)
            log_p = preference_losses.davidson_log_probabilities(a, b, self.cfg.tie_strength)  # (B, 3)
            return -log_p.gather(1, outcomes[:, None])[:, 0] * weights
        chosen, rejected = torch.where(outcomes == 0, a, b), torch.where(outcomes == 0, b, a)
        return weights * preference_losses.bradley_terry(
            chosen,
            rejected,
            sample["margins"].to(scores),
            centering=self.cfg.centering,
            smoothing=self.cfg.smoothing,
            flip=(self.cfg.flip_rate or 0.0) if head.flip is None else head.flip_rate(),
            reduce=False,
        )

    def rated(self, scores: Tensor, sample: dict[str, Any], head: ScoreHead) -> Tensor:
        """Return the losses of rated texts (M,), or of the lists that they are in, (B,)."""
        if self.objective != LISTWISE:  # rated texts serve to validate comparisons, too
            return (scores - self.task.standardized(sample["gains"]).to(scores)) ** 2
        gains = sample["gains"].to(scores)
        loss, rows = getattr(preference_losses, str(self.cfg.list_loss)), sample["rows"]
        return torch.stack([loss(scores[rows == row], gains[rows == row]) for row in rows.unique()])

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        return {"loss", *self.metrics_of_scores()}

    def metrics_of_scores(self) -> tuple[str, ...]:
        """Return the names of the metrics that are computed from the scores of the rows."""
        return preference_metrics.RATED if self.task.rated else preference_metrics.COMPARED

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Log the loss."""
        loss, size = (sum(float(log.get(key, 0)) for log in logging_outputs) for key in ("loss", "sample_size"))
        metrics.log_scalar("loss", loss / max(size, 1), size, round=5)

    def log_scores(self, logging_outputs: Sequence[dict[str, Any]]) -> None:
        """Log the metrics of validation, each computed from all scores so far."""
        found = [log["scores"] for log in logging_outputs if "scores" in log]
        if not found:
            return
        metrics.log_concat_tensor(GATHERED, torch.cat(found))
        for name in self.metrics_of_scores():
            metrics.log_derived(name, lambda meters, name=name: self.score(name, meters))

    def score(self, name: str, meters: Mapping[str, Any]) -> float:
        """Return a validation metric of all scores gathered in ``meters``, rounded to four digits."""
        rows = meters[GATHERED].tensor
        if self._scored[0] is not rows:  # all metrics come from one computation
            measure = preference_metrics.of_ratings if self.task.rated else preference_metrics.of_pairs
            self._scored = rows, measure(rows.double().numpy())
        return round(self._scored[1][name], 4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return False  # fairseq calls PreferenceTask's method instead


def gathered(scores: Tensor, sample: dict[str, Any]) -> Tensor:
    """Return (N, 4) on the CPU: of comparisons the scores of the better and the worse text and the lengths of both, NaN
    for a tie; of rated texts score, rating, length and number.
    """
    lengths = sample["net_input"]["src_lengths"].to(scores)
    if "outcomes" not in sample:
        return torch.stack([scores, sample["gains"].to(scores), lengths, sample["texts"].to(scores)], 1).cpu()
    first = (sample["outcomes"] != 1)[:, None]
    pairs, sizes = scores.view(-1, 2), lengths.view(-1, 2)
    ordered = torch.cat([torch.where(first, x, x.flip(1)) for x in (pairs, sizes)], 1)
    return ordered.masked_fill((sample["outcomes"] == TIE)[:, None], float("nan")).cpu()


def check_ties(cfg: PreferenceCriterionConfig, task: Any) -> None:
    """Raise an error for options of the loss without ties, and for a model in which ties are impossible."""
    if cfg.tie_strength == 0:
        raise UserError("--tie-strength 0: the comparisons have ties, which need a positive frequency")
    named = {"--centering": cfg.centering, "--smoothing": cfg.smoothing, "--flip-rate": cfg.flip_rate,
             "--learn-flip-rate": task.learn_flip_rate}  # fmt: skip
    for flag, value in named.items():
        if value:
            raise UserError(f"{flag}: the comparisons have ties, whose loss has no such option; omit it, or the ties")


def check(cfg: PreferenceCriterionConfig, objective: str, task: Any) -> None:
    """Raise an error for options that contradict each other."""
    if cfg.centering < 0:
        raise UserError(f"--centering {cfg.centering} is negative")
    if not 0 <= cfg.smoothing < 0.5:
        raise UserError(f"--smoothing {cfg.smoothing} is not at least 0 and below 0.5")
    if cfg.tie_strength < 0:
        raise UserError(f"--tie-strength {cfg.tie_strength} is negative")
    if cfg.smoothing and (cfg.flip_rate or task.learn_flip_rate):
        raise UserError("--smoothing and --flip-rate correct the same noise: choose one")
    if cfg.flip_rate is not None and not 0 <= cfg.flip_rate < 0.5:
        raise UserError(f"--flip-rate {cfg.flip_rate} is not at least 0 and below 0.5")
    if task.learn_flip_rate and cfg.flip_rate:
        raise UserError("--learn-flip-rate and --flip-rate cannot be combined: choose one")
    of_pairs = cfg.centering or cfg.smoothing or cfg.flip_rate or task.learn_flip_rate
    if of_pairs and objective != PAIRWISE:
        raise UserError(f"--centering, --smoothing and flip rates belong to --objective pairwise, not {objective}")
    if objective != LISTWISE and str(cfg.list_loss) != "listnet":
        raise UserError(f"--list-loss {cfg.list_loss} belongs to --objective listwise, not {objective}")
