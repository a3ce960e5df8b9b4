"""Base of the tasks that train a head on the pooled features of whole texts: embeddings and preferences."""

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

import numpy as np
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import ChoiceEnum
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from omegaconf import II, open_dict

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.data.embedding import encoding, specs
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError, shown
from plugins.options import START, BestConfig, StartConfig, option

from .glue import BY_DEFAULT, DEFAULT_POSITIONS, tokenizer_folder
from .precision import MixedPrecisionTask, PrecisionConfig

logger = logging.getLogger(__name__)

LARGE_MESSAGE = 1 << 24  # bytes: what validation gathers from each worker
CAUSAL_POOLERS = ("mean", "max", "last")


@dataclass
class TextsConfig(StartConfig, BestConfig, PrecisionConfig):
    """Options of tasks on whole texts."""

    tokenizer_dir: Optional[str] = option(
        None, "folder of the tokenizer (default: that of the checkpoint that training starts from)"
    )
    pooling: ChoiceEnum(specs.POOLINGS) = option("mean", "how the features of tokens become a vector")
    seed: int = II("common.seed")


class TextsTask(MixedPrecisionTask):
    """Base class of the tasks on whole texts.

    The dictionary, the names of styles and the settings are stored with each checkpoint. Subclasses define
    :meth:`settings` and :meth:`add_head`, and set what they need before ``super().__init__``.
    """

    key: str  # key of the settings in the state of the task
    fixed: Sequence[str]  # names of the settings that a resumed run cannot change
    resumed: tuple[str, str, dict] | None = None  # --save-dir, checkpoint and settings of the run that is resumed

    def __init__(self, cfg: TextsConfig, encoder: encoding.TextEncoder, styles: Sequence[str] = ()) -> None:
        super().__init__(cfg)
        self.encoder, self.style_names, self.dictionary = encoder, list(styles), encoder.dictionary
        self.longest: int | None = None  # tokens of a text
        self.state.merge_state_dict(encoder.identity() | {"styles": self.style_names, self.key: self.settings()})
        if isinstance(self.dictionary, dictionaries.MaskDictionary):
            self.dictionary.add_mask()

    def settings(self) -> dict[str, Any]:
        """Return what a finished checkpoint stores of the options, as plain data."""
        raise NotImplementedError

    def add_head(self, model: Any) -> None:
        """Register the head of the task on a new model."""
        raise NotImplementedError

    # Content of a checkpoint

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the dictionary of a checkpoint with ours, and adopt its longest input.

        Raises:
            UserError: it was trained with another dictionary.
        """
        dictionaries.check_same(self.dictionary, state_dict.get("dictionary_sha256"), "the checkpoint")
        self.longest = (state_dict.get(self.key) or {}).get("longest") or self.longest

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Write the tokenizer next to a checkpoint that fairseq has just written."""
        self.encoder.save(os.path.dirname(checkpoint_path))

    # Data

    @property
    def source_dictionary(self) -> Any:
        """The dictionary of the texts."""
        return self.dictionary

    target_dictionary = source_dictionary

    def max_positions(self) -> int:
        """Return the maximum number of tokens of a text."""
        return self.longest or DEFAULT_POSITIONS

    def filter_indices_by_size(
        self, indices: np.ndarray, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> np.ndarray:
        return indices  # texts are truncated already

    # Model

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model with the head of the task.

        Raises:
            UserError: the model does not take the pooling or ``--max-positions``; or another run is in ``--save-dir``.
        """
        if not from_checkpoint:
            self.check_save_dir(cfg)
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
        least = len(self.encoder.before) + len(self.encoder.after) + 1
        if self.longest < least:
            raise UserError(f"--max-positions {self.longest}: no room for a token of a text; it takes at least {least}")
        if "decoder_layers" in cfg and str(self.cfg.pooling) not in CAUSAL_POOLERS:
            raise UserError(f"--pooling {self.cfg.pooling}: a causal model takes {', '.join(CAUSAL_POOLERS)}")
        self.add_head(model)
        self.state.merge_state_dict({self.key: self.settings() | {"longest": self.longest}})
        return model

    def check_save_dir(self, cfg: Any) -> None:
        """Raise an error if ``--save-dir`` contains a run with other settings, which training would resume."""
        source, folder = resumed_checkpoint(cfg), cfg.get("save_dir")
        if source is None:
            return
        saved, own = (checkpoints.read_state(source).get("task_state") or {}).get(self.key), self.settings()
        if saved is None:
            raise UserError(
                f"--save-dir {folder}: the run in it is of another task than {self.key}; choose another folder (and "
                f"--finetune-from-model {source} to start from its model)"
            )
        self.resumed = folder, source, saved
        for name in self.fixed:
            self.check_setting(name, own.get(name))

    def check_setting(self, name: str, new: Any) -> None:
        """Raise an error if the run that training resumes stores another value of a setting."""
        if self.resumed is None:
            return
        folder, source, saved = self.resumed
        old = saved.get(name, new)
        if old != new:
            texts = (as_text(old), as_text(new)) if as_text(old) != as_text(new) else (shown(old), shown(new))
            raise UserError(
                f"--save-dir {folder}: the run in it has {name} {texts[0]}, not {texts[1]}; choose another "
                f"folder (and --finetune-from-model {source} to start from its model)"
            )

    # Validation: outputs are gathered, because their metrics are not means over batches

    @staticmethod
    def logging_outputs_can_be_summed(criterion: FairseqCriterion) -> bool:
        return criterion.training

    def reduce_metrics(self, logging_outputs: Sequence[dict[str, Any]], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        criterion.log_scores(logging_outputs)

    def post_validate(self, model: BaseFairseqModel, stats: dict[str, Any], agg: Any) -> None:
        """Discard the outputs of a finished split, which fairseq would keep and store in checkpoints."""
        metrics.reset_meters("valid")


def resumed_checkpoint(cfg: Any) -> str | None:
    """Return the checkpoint in ``--save-dir`` that training resumes from, or None: of options with :data:`START`."""
    source = checkpoints.starting_checkpoint(*(cfg.get(name) for name in START))
    return source if source and source == os.path.join(cfg.get("save_dir"), "checkpoint_last.pt") else None


def as_text(setting: Any) -> str:
    """Return a setting as one line; of rows, their name and kind."""
    return f"{setting['name']} ({setting['kind']})" if isinstance(setting, dict) else str(setting)


def choose_metric(run: Any, name: str | None, better_higher: Collection[str]) -> None:
    """Let a metric pick the best checkpoint, unless another was given.

    Args:
        run: the configuration of the run; changed in place.
        name: the metric; None leaves fairseq's default, the loss.
        better_higher: metrics of which a higher value is better.
    """
    with open_dict(run):
        checkpoint = run.checkpoint
        if checkpoint.best_checkpoint_metric == BY_DEFAULT and name is not None:
            checkpoint.best_checkpoint_metric = name
        if checkpoint.best_checkpoint_metric in better_higher:
            checkpoint.maximize_best_checkpoint_metric = True
        run.common.all_gather_list_size = max(run.common.all_gather_list_size, LARGE_MESSAGE)
    logger.info("checkpoint_best.pt is chosen by %s", checkpoint.best_checkpoint_metric)


def find_encoder(cfg: TextsConfig, run: Any, from_checkpoint: bool = False) -> tuple[encoding.TextEncoder, list[str]]:
    """Return the encoder of the model that training starts from, and the names of its styles.

    Args:
        cfg: options of the task.
        run: the configuration of the run.
        from_checkpoint: it is that of a finished checkpoint, whose encoder is returned.

    Raises:
        UserError: the tokenizer is missing, or it needs the checkpoint of a model and none is given.
    """
    start = checkpoints.starting_checkpoint(*(cfg.get(name) for name in START))
    name, source = str(run.model._name), run.common_eval.path if from_checkpoint else start
    if cfg.finetune_from_model and not source:
        raise UserError(f"--finetune-from {cfg.finetune_from_model}: no such checkpoint")
    if "char_lm" in name:
        state = (checkpoints.read_state(source).get("task_state") or {}) if source else {}
        if "dictionary" not in state:
            start = source or f"--arch {name}"
            raise UserError(f"{start}: no characters; start from a character LM: --finetune-from CKPT")
        return encoding.characters(CharDictionary.from_state(state["dictionary"])), state.get("styles") or []
    if name.startswith("causal_lm"):
        folder = None if from_checkpoint else cfg.tokenizer_dir
        folder = folder or (source and os.path.dirname(os.path.abspath(source)))
        if not folder:
            raise UserError("name a model to start from (--finetune-from CKPT), or a tokenizer: --tokenizer-dir")
        return encoding.causal(TokenDictionary.from_files(folder)), []
    return encoding.masked(tokenizer_folder(cfg, run, from_checkpoint)), []
