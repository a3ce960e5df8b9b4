"""Learn scores of texts from comparisons, ratings or lists."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task
from omegaconf import MISSING
from torch import Tensor

from plugins.data.embedding import encoding
from plugins.data.preference import rows
from plugins.data.preference.dataset import LISTWISE, OBJECTIVES, PAIRWISE, POINTWISE, TIE, PreferenceRows
from plugins.errors import UserError
from plugins.options import option

from .texts import TextsConfig, TextsTask, choose_metric, find_encoder

logger = logging.getLogger(__name__)

BETTER_HIGHER = ("accuracy", "spearman", "margin")
FIRST_FLIP_RATE = 0.1  # where the learned share starts


@dataclass
class PreferenceConfig(TextsConfig):
    """Options of the task ``preference``."""

    data: str = option(MISSING, "file of comparisons or ratings, or folder with train and valid .jsonl, .csv or .tsv")
    objective: ChoiceEnum(OBJECTIVES) = option(PAIRWISE, "learn from single ratings, from comparisons, or from lists")
    min_gap: float = option(0.5, "ratings that differ by less are not compared (--objective pairwise)")
    pairs_per_text: int = option(4, "comparisons sampled per rated text (--objective pairwise)")
    list_size: int = option(8, "texts per list if no column 'query' groups them (--objective listwise)")
    valid_fraction: float = option(0.1, "fraction of the texts of a single file used for validation")
    head_dropout: float = option(0.0, "dropout in the head")
    learn_flip_rate: bool = option(False, f"learn the fraction of reversed comparisons, starting at {FIRST_FLIP_RATE}")


@register_task("preference", dataclass=PreferenceConfig)
class PreferenceTask(TextsTask):
    """See the module's docstring. The pooling and the scale of ratings are stored with each checkpoint."""

    takes = {"criterion": ("preference",), "model": ("clap_roberta", "causal_lm", "char_lm")}
    strict = ("criterion", "model")  # fairseq's have no validation over all rows, and no heads for scores

    key, fixed = "preference", ("objective", "pooling")
    row_kind: str | None = None  # kind of the rows: ratings or comparisons
    list_loss: str | None = None  # of the criterion

    def __init__(self, cfg: PreferenceConfig, encoder: encoding.TextEncoder, styles: Sequence[str] = ()) -> None:
        self.rated, self.has_ties, self.scale = False, False, (0.0, 1.0)
        super().__init__(cfg, encoder, styles)

    @classmethod
    def setup_task(cls, cfg: PreferenceConfig, from_checkpoint: bool = False, **kwargs: Any) -> "PreferenceTask":
        """Set up from options.

        Args:
            from_checkpoint: the options are those of a finished checkpoint, for use without training.

        Raises:
            UserError: contradicting options, or no tokenizer.
        """
        run = cfg._get_parent()
        if from_checkpoint:
            return cls(cfg, *find_encoder(cfg, run, True))
        name = (run.get("criterion") or {}).get("_name")
        if name != "preference":
            raise UserError(f"--task preference needs --criterion preference, not {name}")
        check(cfg)
        choose_metric(run, "accuracy", BETTER_HIGHER)
        task = cls(cfg, *find_encoder(cfg, run))
        task.list_loss = str(run.criterion.get("list_loss"))
        return task

    # Content of a checkpoint

    def settings(self) -> dict[str, Any]:
        """Return the options that checkpoints store to load the model as a scorer."""
        return {"pooling": str(self.cfg.pooling), "objective": str(self.cfg.objective), "longest": self.longest,
                "scale": list(self.scale)} | ({"rows": self.row_kind} if self.row_kind else {})  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`.TextsTask.load_state_dict`; also adopt the scale of the ratings in training."""
        super().load_state_dict(state_dict)
        self.scale = tuple((state_dict.get(self.key) or {}).get("scale") or self.scale)

    # Data

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> PreferenceRows:
        """Load a split. Rated texts are validated one by one, or in lists, so that objectives compare.

        Raises:
            UserError: the file is missing, a row is bad, or it does not serve the objective.
        """
        cfg, training = self.cfg, split == "train"
        found, objective = rows.load(cfg.data, split, cfg.valid_fraction), str(cfg.objective)
        if not found.rated and objective != PAIRWISE:
            raise UserError(f"--objective {objective}: {cfg.data} has comparisons; it needs the columns text and score")
        self.check_rows(found, split)
        if objective == LISTWISE and self.list_loss == "lambdarank":
            check_gains(found, cfg.data)
        if training:
            check_informative(found, objective, cfg.data)
        self.rated, self.has_ties = found.rated, self.has_ties or bool((found.outcomes == TIE).any())
        if found.scores is not None and training:
            self.scale = float(found.scores.mean()), float(found.scores.std()) or 1.0
        self.state.merge_state_dict({"preference": self.settings()})
        if found.rated and objective == PAIRWISE:
            objective = PAIRWISE if training else POINTWISE
            found = rows.compare(found, cfg.min_gap, cfg.pairs_per_text, cfg.seed) if training else found
        self.datasets[split] = PreferenceRows(
            found, self.encoder, self.max_positions(), objective, cfg.list_size, shuffle=training
        )
        logger.info("%s (%s): %d texts, %d comparisons", cfg.data, split, len(found.texts), len(found.pairs))
        if training and "valid" in self.datasets:
            shared = rows.shared_texts(found, self.datasets["valid"].found)
            if shared:
                logger.warning("%s: %d texts of the validation rows are in the training rows too", cfg.data, shared)
        return self.datasets[split]

    def check_rows(self, found: rows.Preferences, split: str) -> None:
        """Raise an error if another split, or the run that training resumes, has rows of another kind."""
        kinds = {True: "ratings", False: "comparisons"}
        for other, dataset in self.datasets.items():
            if dataset.found.rated != found.rated:
                raise UserError(
                    f"{self.cfg.data}: the {split} split has {kinds[found.rated]}, the {other} split "
                    f"{kinds[dataset.found.rated]}; both need the same columns"
                )
        self.row_kind = kinds[found.rated]
        self.check_setting("rows", self.row_kind)

    def standardized(self, ratings: Tensor) -> Tensor:
        """Return ratings less the mean of those in training, over their deviation."""
        mean, deviation = self.scale
        return (ratings - mean) / deviation

    def add_head(self, model: Any) -> None:
        """Add the score head to a model in place."""
        flip_rate = FIRST_FLIP_RATE if self.cfg.learn_flip_rate else 0.0
        model.register_score_head(str(self.cfg.pooling), self.cfg.head_dropout, flip_rate)


def check_informative(found: rows.Preferences, objective: str, data: str) -> None:
    """Raise an error for training rows from which nothing can be learned."""
    if len(found.weights) and not found.weights.any():
        raise UserError(f"{data}: the weight of every comparison is 0")
    if objective == LISTWISE and found.groups is not None and np.bincount(found.groups).max() < 2:
        raise UserError(f"{data}: every query has one text; --objective listwise needs lists of two texts or more")


def check_gains(found: rows.Preferences, data: str) -> None:
    """Raise an error for ratings whose gains in DCG, 2^rating - 1, are negative."""
    if found.scores is not None and found.scores.min() < 0:
        raise UserError(
            f"{data}: a rating is {found.scores.min():g}; --list-loss lambdarank needs ratings of at least 0"
        )


def check(cfg: PreferenceConfig) -> None:
    """Raise an error for options that are out of range."""
    if cfg.min_gap < 0:
        raise UserError(f"--min-gap {cfg.min_gap} is negative")
    if cfg.pairs_per_text < 1:
        raise UserError(f"--pairs-per-text {cfg.pairs_per_text} is not positive")
    if cfg.list_size < 2:
        raise UserError(f"--list-size {cfg.list_size}: a list has two texts at least")
    if not 0 < cfg.valid_fraction < 1:
        raise UserError(f"--valid-fraction {cfg.valid_fraction} is not between 0 and 1")
    if not 0 <= cfg.head_dropout < 1:
        raise UserError(f"--head-dropout {cfg.head_dropout} is not a probability below 1")
