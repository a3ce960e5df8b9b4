"""Fine-tune on GLUE, and on sentence tasks of the user's own, directly from their files."""

import contextlib
import logging
import os
from typing import Any  # fairseq's parser does not read `str | None`

import numpy as np
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import open_dict

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.data.glue import dataset as glue_dataset
from plugins.data.glue import folds, reader, specs
from plugins.data.text import bpe
from plugins.data.text.sources import warn_if_trained_on
from plugins.errors import UserError
from plugins.options import START

from .finetuning import scale_learning_rates, start_afresh
from .glue_options import (
    BY_DEFAULT,
    DEFAULT_POSITIONS,
    NO_CACHE,
    GlueConfig,
    check,
    check_labels,
    choose_metric,
    choose_spec,
    tokenizer_folder,
)
from .precision import MixedPrecisionTask

__all__ = ["BY_DEFAULT", "DEFAULT_POSITIONS", "NO_CACHE", "GlueConfig", "GlueTask", "choose_spec", "tokenizer_folder"]

logger = logging.getLogger(__name__)


@register_task("glue", dataclass=GlueConfig)
class GlueTask(MixedPrecisionTask):
    """Sentence classification or regression.

    Splits are ``train``, ``valid`` and ``test``, and for MNLI also ``valid_mismatched`` and ``test_mismatched``.
    Dictionary, tokenizer and label names are stored with each checkpoint.
    """

    takes = {"criterion": ("glue",), "model": ("clap_roberta",)}
    strict = ("criterion", "model")  # of fairseq: no validation over all rows, and options without this task's

    def __init__(self, cfg: GlueConfig, spec: specs.GlueSpec, tokenizer: glue_dataset.FolderTokenizer) -> None:
        super().__init__(cfg)
        self.spec, self.tokenizer, self.dictionary = spec, tokenizer, tokenizer.dictionary
        self.state.merge_state_dict({"dictionary_sha256": dictionaries.fingerprint(self.dictionary)} | self.labeling())
        self.dictionary.add_mask()
        self.longest: int | None = None  # input in tokens; set by build_model
        self.epoch = 1

    @classmethod
    def setup_task(cls, cfg: GlueConfig, from_checkpoint: bool = False, **kwargs: Any) -> "GlueTask":
        """Set up the task from its options.

        Args:
            cfg: the options.
            from_checkpoint: they are those of a finished checkpoint, which is evaluated and not trained further.

        Raises:
            UserError: no such task, contradicting options, or no dictionary and tokenizer.
        """
        run = cfg._get_parent()
        check(cfg, run)
        spec = choose_spec(cfg, from_checkpoint)
        if run is not None and not from_checkpoint:
            choose_metric(run, spec)
            with open_dict(run):
                run.task.label_names = ",".join(spec.id2label)
        return cls(cfg, spec, glue_dataset.FolderTokenizer(tokenizer_folder(cfg, run, from_checkpoint)))

    # Content of a checkpoint

    def labeling(self) -> dict[str, Any]:
        """Return the spec and the labels to store in a checkpoint."""
        return {"spec": self.spec.plain(), "head": self.head_name, "id2label": self.spec.id2label}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the spec and the labels from a checkpoint.

        Raises:
            UserError: it was trained with another dictionary, or with other label ids.
        """
        dictionaries.check_same(self.dictionary, state_dict.get("dictionary_sha256"), "the checkpoint")
        if "spec" in state_dict:
            saved = specs.from_plain(state_dict["spec"])
            if saved.name == self.spec.name:
                check_labels(self.spec, saved.id2label, "the checkpoint")
            self.spec = saved
            self.state.merge_state_dict(self.labeling())
            self.longest = state_dict.get("max_positions")

    @property
    def head_name(self) -> str:
        """Name of the classification head."""
        return self.cfg.classification_head_name or self.spec.head_name

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Copy dictionary and tokenizer next to a checkpoint that fairseq has just written."""
        bpe.copy(self.tokenizer.folder, os.path.dirname(checkpoint_path))

    # Data

    @property
    def source_dictionary(self) -> dictionaries.MaskDictionary:
        """Dictionary of the pretrained model."""
        return self.dictionary

    target_dictionary = source_dictionary

    def max_positions(self) -> int:
        """Return the length of the longest input in tokens."""
        return self.longest or DEFAULT_POSITIONS

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> glue_dataset.SentencePairs:
        """Load a split, tokenized by the checkpoint's own tokenizer.

        Raises:
            UserError: the file is missing, or a row is bad.
        """
        source = specs.TRAIN if split == folds.HELD_OUT else split
        path = reader.locate(self.cfg.data, self.spec, source)
        for other in self.spec.valid_splits if split == specs.TRAIN else ():
            with contextlib.suppress(UserError):  # it may be absent
                warn_if_trained_on(reader.locate(self.cfg.data, self.spec, other), path, other)
        cache = self.cfg.cache_dir or glue_dataset.default_cache()
        data = glue_dataset.load(
            path, self.spec, source, self.tokenizer, None if cache == NO_CACHE else cache, self.cfg.skip_bad_rows
        )
        self.datasets[split] = glue_dataset.SentencePairs(
            data, self.dictionary, self.max_positions(), self.cfg.pad_to_multiple, shuffle=split == specs.TRAIN,
            rows=self.rows_of(split, len(data)), split=split,
        )  # fmt: skip
        return self.datasets[split]

    def rows_of(self, split: str, total: int) -> np.ndarray | None:
        """Return the rows of a split that ``--fold`` leaves, or None for all.

        Raises:
            UserError: the split ``held_out`` needs ``--fold``, or the file of folds does not fit.
        """
        if self.cfg.fold is None or split not in (specs.TRAIN, folds.HELD_OUT):
            if split == folds.HELD_OUT:
                raise UserError("--valid-subset held_out needs --fold and --fold-file")
            return None
        others, own = folds.rows(self.cfg.fold, self.cfg.fold_file, total)
        return others if split == specs.TRAIN else own

    def begin_epoch(self, epoch: int, model: BaseFairseqModel) -> None:
        """Store the epoch, after which recorded logits are named."""
        super().begin_epoch(epoch, model)
        self.epoch = epoch

    def filter_indices_by_size(
        self, indices: np.ndarray, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> np.ndarray:
        return indices  # inputs are truncated already, and batch_by_size refuses a --max-tokens that they exceed

    # Model

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model with a head for this task.

        Raises:
            UserError: a checkpoint to be resumed is of another task, or has other label ids.
        """
        asked = None
        if not from_checkpoint and "positions" in cfg:  # clap_roberta, which would take it for its number of positions
            with open_dict(cfg):
                asked, cfg.max_positions = cfg.max_positions, None
        self.longest = asked or self.longest
        model = super().build_model(cfg, from_checkpoint)
        self.longest = self.longest or model.args.max_positions
        if self.longest > model.max_positions():
            raise UserError(f"--max-positions {self.longest}: the model has {model.max_positions()} positions")
        self.state.merge_state_dict({"max_positions": self.longest})
        model.register_classification_head(self.head_name, num_classes=self.spec.outputs)
        if not from_checkpoint:
            self.prepare(model, cfg)
        return model

    def prepare(self, model: BaseFairseqModel, cfg: Any) -> None:
        """Make a new model ready for fine-tuning.

        Raises:
            UserError: ``--save-dir`` contains a run of another task, or the checkpoint has other label ids.
        """
        source = checkpoints.starting_checkpoint(*(cfg.get(name) for name in START))
        saved = (checkpoints.read_state(source).get("task_state") or {}) if source else {}
        other, folder = saved.get("spec", {}).get("name", self.spec.name), cfg.get("save_dir")
        if other != self.spec.name and source == os.path.join(folder, "checkpoint_last.pt"):
            raise UserError(
                f"--save-dir {folder}: the run in it is of {other}, not of {self.spec.name}; choose another folder "
                f"(and --finetune-from {source} to start from its model)"
            )
        if saved.get("head") == self.head_name:
            check_labels(self.spec, saved["id2label"], str(source))
        if cfg.get("peft") == "last_layer" and not cfg.get("peft_blocks"):
            raise UserError(
                "--peft last_layer trains the output projection over the vocabulary, which a classifier does not use; "
                "add --peft-blocks K to train the last K layers"
            )
        layers = model.encoder.sentence_encoder.layers
        if self.cfg.reinit_layers > len(layers):
            raise UserError(f"--reinit-layers {self.cfg.reinit_layers}: the model has {len(layers)} layers")
        if source and source == cfg.get("finetune_from_model"):
            keep = len(layers) - self.cfg.reinit_layers
            start_afresh(model, [f"encoder.sentence_encoder.layers.{i}." for i in range(keep, len(layers))])
            if saved.get("head") != self.head_name:
                start_afresh(model, [f"classification_heads.{self.head_name}."])
        scale_learning_rates(model, self.cfg.layer_lr_decay)
        table = model.encoder.sentence_encoder.embed_tokens.weight
        for parameter in model.encoder.lm_head.parameters():  # frozen, so that the model can still fill masks
            if parameter is not table:
                parameter.requires_grad_(False)

    # Validation: predictions are gathered, because no metric but accuracy is a mean over batches

    @staticmethod
    def logging_outputs_can_be_summed(criterion: FairseqCriterion) -> bool:
        """Return whether workers can add up what they log: in training, but not in validation."""
        return criterion.training

    def reduce_metrics(self, logging_outputs: list[dict], criterion: FairseqCriterion) -> None:
        """Log losses, and in validation the metrics of all predictions so far."""
        super().reduce_metrics(logging_outputs, criterion)
        criterion.log_scores(logging_outputs)

    def post_validate(self, model: BaseFairseqModel, stats: dict[str, Any], agg: Any) -> None:
        """Discard the predictions of a finished split, which fairseq would keep and store in checkpoints."""
        metrics.reset_meters("valid")
