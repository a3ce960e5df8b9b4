"""Learn scores of texts from comparisons, ratings or lists."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

import numpy as np
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import ChoiceEnum
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import II, MISSING, open_dict
from torch import Tensor

from plugins.data import dictionaries
from plugins.data.embedding import encoding, specs
from plugins.data.preference import rows
from plugins.data.preference.dataset import OBJECTIVES, PAIRWISE, POINTWISE, TIE, PreferenceRows
from plugins.errors import UserError
from plugins.options import BestConfig, option

from .embedding import CAUSAL_POOLERS, LARGE_MESSAGE, find_encoder
from .glue import BY_DEFAULT, DEFAULT_POSITIONS, tokenizer_folder
from .precision import MixedPrecisionTask, PrecisionConfig

logger = logging.getLogger(__name__)

BETTER_HIGHER = ("accuracy", "spearman", "margin")
FIRST_FLIP_RATE = 0.1  # where the learned share starts


@dataclass
class PreferenceConfig(BestConfig, PrecisionConfig):
    data: str = option(MISSING, "file of comparisons or ratings, or folder with train and valid .jsonl, .csv or .tsv")
    objective: ChoiceEnum(OBJECTIVES) = option(PAIRWISE, "learn from single ratings, from comparisons, or from lists")
    min_gap: float = option(0.5, "ratings that differ by less are not compared (--objective pairwise)")
    pairs_per_text: int = option(4, "comparisons that each rated text starts (--objective pairwise)")
    list_size: int = option(8, "texts per list if no column 'query' groups them (--objective listwise)")
    valid_fraction: float = option(0.1, "share of the texts of a single file that is for validation")
    tokenizer_dir: Optional[str] = option(
        None, "folder of the tokenizer (default: that of the checkpoint that training starts from)"
    )
    pooling: ChoiceEnum(specs.POOLINGS) = option("mean", "how the features of tokens become a vector")
    head_dropout: float = option(0.0, "dropout in the head")
    learn_flip_rate: bool = option(False, f"learn the share of reversed comparisons, from {FIRST_FLIP_RATE}")
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")


@register_task("preference", dataclass=PreferenceConfig)
class PreferenceTask(MixedPrecisionTask):
    """See the module's docstring. The dictionary, the pooling and the scale of ratings are stored with checkpoints."""

    def __init__(self, cfg: PreferenceConfig, encoder: encoding.TextEncoder, styles: Sequence[str] = ()) -> None:
        super().__init__(cfg)
        self.encoder, self.style_names, self.dictionary = encoder, list(styles), encoder.dictionary
        self.longest, self.rated, self.has_ties, self.scale = None, False, False, (0.0, 1.0)
        self.state.merge_state_dict(encoder.identity() | {"styles": self.style_names, "preference": self.settings()})
        if isinstance(self.dictionary, dictionaries.MaskDictionary):
            self.dictionary.add_mask()

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
            return cls(cfg, encoding.masked(tokenizer_folder(cfg, run, True)))
        name = (run.get("criterion") or {}).get("_name")
        if name != "preference":
            raise UserError(f"--task preference needs --criterion preference, not {name}")
        check(cfg)
        choose_metric(run)
        return cls(cfg, *find_encoder(cfg, run))

    # Content of a checkpoint

    def settings(self) -> dict[str, Any]:
        return {"pooling": str(self.cfg.pooling), "objective": str(self.cfg.objective), "longest": self.longest,
                "scale": list(self.scale)}  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the dictionary of a checkpoint with ours.

        Raises:
            UserError: it was trained with another dictionary.
        """
        dictionaries.check_same(self.dictionary, state_dict.get("dictionary_sha256"), "the checkpoint")
        saved = state_dict.get("preference") or {}
        self.longest = saved.get("longest") or self.longest

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Write the tokenizer next to a checkpoint that fairseq has just written."""
        self.encoder.save(os.path.dirname(checkpoint_path))

    # Data

    @property
    def source_dictionary(self) -> Any:
        return self.dictionary

    target_dictionary = source_dictionary

    def max_positions(self) -> int:
        return self.longest or DEFAULT_POSITIONS

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> PreferenceRows:
        """Load a split. Rated texts are validated one by one, or in lists, so that objectives compare.

        Raises:
            UserError: the file is missing, a row is bad, or it does not serve the objective.
        """
        cfg, training = self.cfg, split == "train"
        found, objective = rows.load(cfg.data, split, cfg.valid_fraction), str(cfg.objective)
        if not found.rated and objective != PAIRWISE:
            raise UserError(f"--objective {objective}: {cfg.data} has comparisons; it needs the columns text and score")
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

    def standardized(self, ratings: Tensor) -> Tensor:
        """Return ratings less the mean of those in training, over their deviation."""
        mean, deviation = self.scale
        return (ratings - mean) / deviation

    def filter_indices_by_size(
        self, indices: np.ndarray, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> np.ndarray:
        return indices  # texts are truncated already

    # Model

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model with a single-output head.

        Raises:
            UserError: the model does not take the pooling or ``--max-positions``.
        """
        asked = None
        if not from_checkpoint and "positions" in cfg and "max_positions" in cfg:  # clap_roberta's number of positions
            with open_dict(cfg):
                asked, cfg.max_positions = cfg.max_positions, None
        self.longest = asked or self.longest
        model = super().build_model(cfg, from_checkpoint)
        limit = model.max_positions()
        self.longest = min(self.longest or limit, limit, DEFAULT_POSITIONS) if asked is None else asked
        if self.longest > limit:
            raise UserError(f"--max-positions {self.longest}: the model has {limit} positions")
        if "decoder_layers" in cfg and str(self.cfg.pooling) not in CAUSAL_POOLERS:
            raise UserError(f"--pooling {self.cfg.pooling}: a causal model takes {', '.join(CAUSAL_POOLERS)}")
        flip_rate = FIRST_FLIP_RATE if self.cfg.learn_flip_rate else 0.0
        model.register_score_head(str(self.cfg.pooling), self.cfg.head_dropout, flip_rate)
        self.state.merge_state_dict({"preference": self.settings()})
        return model

    # Validation: scores are gathered, because their metrics are not means over batches

    @staticmethod
    def logging_outputs_can_be_summed(criterion: FairseqCriterion) -> bool:
        return criterion.training

    def reduce_metrics(self, logging_outputs: Sequence[dict[str, Any]], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        criterion.log_scores(logging_outputs)

    def post_validate(self, model: BaseFairseqModel, stats: dict[str, Any], agg: Any) -> None:
        """Discard the scores of a finished split, which fairseq would keep and store in checkpoints."""
        metrics.reset_meters("valid")


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


def choose_metric(run: Any) -> None:
    """Let the accuracy on comparisons pick the best checkpoint, unless another metric was given."""
    with open_dict(run):
        checkpoint = run.checkpoint
        if checkpoint.best_checkpoint_metric == BY_DEFAULT:
            checkpoint.best_checkpoint_metric = "accuracy"
        if checkpoint.best_checkpoint_metric in BETTER_HIGHER:
            checkpoint.maximize_best_checkpoint_metric = True
        run.common.all_gather_list_size = max(run.common.all_gather_list_size, LARGE_MESSAGE)
    logger.info("checkpoint_best.pt is chosen by %s", checkpoint.best_checkpoint_metric)
