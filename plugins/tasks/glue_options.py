"""Options of the task ``glue``, and settings derived from them: spec, metric of the best checkpoint, tokenizer."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

from omegaconf import II, MISSING, open_dict

from plugins import checkpoints
from plugins.compat.optimizers import GROUPED
from plugins.data.glue import folds, specs
from plugins.errors import UserError
from plugins.options import START, BestConfig, option

from .precision import PrecisionConfig

logger = logging.getLogger("plugins.tasks.glue")

DEFAULT_POSITIONS = 512  # longest input of models without a limit of their own
BY_DEFAULT = "loss"  # fairseq's --best-checkpoint-metric where none is given
NO_CACHE = "none"


@dataclass
class GlueConfig(BestConfig, PrecisionConfig):
    """Options of the task ``glue``."""

    data: str = option(MISSING, "GLUE folder, with a folder for each task, or the folder of the task")
    glue_task: Optional[str] = option(None, f"one of {', '.join(specs.SPECS)}")
    spec: Optional[str] = option(None, "YAML file that describes a custom task, instead of --glue-task")
    skip_bad_rows: bool = option(False, "skip rows with missing columns or unknown labels, and log their number")
    tokenizer_dir: Optional[str] = option(
        None, "folder of dict.txt and the tokenizer (default: that of the checkpoint that training starts from)"
    )
    classification_head_name: Optional[str] = option(None, "name of the classification head (default: rte, mnli, ...)")
    label_names: Optional[str] = option(
        None, "names of the labels in the order of their ids, comma-separated; checkpoints record it (default: GLUE's)"
    )
    pad_to_multiple: int = option(4, "pad batches to a multiple of this length")
    cache_dir: Optional[str] = option(
        None, "folder for tokenized files; 'none': do not keep any (default: ~/.cache/fairseq-workbench/glue)"
    )
    layer_lr_decay: float = option(
        1.0, "learning rate of each layer relative to that of the layer above it; the head has the full one (off: 1)"
    )
    fold: Optional[str] = option(
        None, "K/F: train on the rows of all folds but the K-th; the split held_out has those of the K-th"
    )
    fold_file: Optional[str] = option(None, ".npy of the fold of each training row, from 0 to F - 1; -1: unused")
    reinit_layers: int = option(0, "number of top layers to reinitialize (Zhang et al., 2021)")
    seed: int = II("common.seed")


def check(cfg: GlueConfig, run: Any) -> None:
    """Check the options.

    Args:
        cfg: options of the task.
        run: configuration of the whole run, or None.

    Raises:
        UserError: they contradict each other, or one is out of range.
    """
    if bool(cfg.glue_task) == bool(cfg.spec):
        raise UserError("give either --glue-task (for example RTE) or --spec FILE.yaml")
    if (cfg.fold is None) != (cfg.fold_file is None):
        raise UserError("--fold K/F and --fold-file FILE.npy need each other")
    if cfg.fold is not None:
        folds.parse(cfg.fold)
    if not 0 < cfg.layer_lr_decay <= 1:
        raise UserError(f"--layer-lr-decay {cfg.layer_lr_decay} is not above 0 and at most 1")
    if cfg.reinit_layers < 0 or cfg.pad_to_multiple < 1:
        raise UserError("--reinit-layers must be at least 0, --pad-to-multiple at least 1")
    if cfg.layer_lr_decay != 1 and run is not None:
        optimizer = run.get("optimizer") or {}
        if optimizer.get("_name") not in GROUPED:
            raise UserError(f"--layer-lr-decay needs --optimizer {', '.join(GROUPED)}, not {optimizer.get('_name')}")
        if optimizer.get("relative_step"):
            raise UserError("--layer-lr-decay scales --lr, which --relative-step replaces; leave one out")


def choose_spec(cfg: GlueConfig, from_checkpoint: bool) -> specs.GlueSpec:
    """Return the spec that the options name.

    Raises:
        UserError: there is none, or its labels are not those of ``--label-names``.
    """
    if cfg.spec and from_checkpoint and not os.path.exists(cfg.spec):
        # The checkpoint contains it too, and load_state_dict takes it from there.
        return specs.GlueSpec("", {}, ("",), "", ("0", "1"), (), "")
    spec = specs.read(cfg.spec) if cfg.spec else specs.find(cfg.glue_task or "")
    if cfg.label_names and cfg.label_names != ",".join(spec.id2label):  # a name may contain a comma
        source = "the checkpoint's options" if from_checkpoint else "--label-names"
        check_labels(spec, cfg.label_names.split(","), source)
    return spec


def check_labels(spec: specs.GlueSpec, names: Sequence[str], source: str) -> None:
    """Raise a UserError unless the names are the spec's labels in the order of their ids."""
    if list(names) != spec.id2label:
        raise UserError(
            f"{source}: the labels {', '.join(names)}, in this order, are not those of {spec.name}, "
            f"{', '.join(spec.id2label)}; predictions would get the wrong names"
        )


def choose_metric(run: Any, spec: specs.GlueSpec) -> None:
    """Choose the best checkpoint by the task's metric, unless another is given; higher scores are better."""
    with open_dict(run):
        checkpoint = run.checkpoint
        if checkpoint.best_checkpoint_metric == BY_DEFAULT:
            checkpoint.best_checkpoint_metric = spec.best
        if checkpoint.best_checkpoint_metric in specs.METRICS:
            checkpoint.maximize_best_checkpoint_metric = True
    logger.info("checkpoint_best.pt is chosen by %s", checkpoint.best_checkpoint_metric)


def tokenizer_folder(cfg: GlueConfig, run: Any, from_checkpoint: bool) -> str:
    """Return the folder of the dictionary and the tokenizer.

    Raises:
        UserError: there is none.
    """
    if cfg.tokenizer_dir and not from_checkpoint:
        return cfg.tokenizer_dir
    if from_checkpoint:
        path = run is not None and (run.get("common_eval") or {}).get("path")
    else:
        start = run.checkpoint if run is not None else {}
        path = checkpoints.starting_checkpoint(*(start.get(name) for name in START))
        wanted = start.get("finetune_from_model")
        if wanted and not path:
            raise UserError(f"--finetune-from {wanted}: no such checkpoint")
    # A run that ended right after its first checkpoint has not written the dictionary yet.
    paths = [path, None if from_checkpoint else wanted]
    folders = list(dict.fromkeys(os.path.dirname(os.path.abspath(p)) for p in paths if p))
    folders += [cfg.data] + ([cfg.tokenizer_dir] if cfg.tokenizer_dir else [])
    for folder in folders:
        if os.path.exists(os.path.join(folder, "dict.txt")):
            return folder
    raise UserError(
        f"{' and '.join(folders)}: no dict.txt; start from a checkpoint with its dictionary and tokenizer next to it "
        "(--finetune-from CKPT), or name their folder: --tokenizer-dir"
    )
