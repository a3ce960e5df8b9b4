"""Fine-tuning on GLUE, and on sentence tasks of the user's own, straight from their files."""

import logging
import os
from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `str | None`

from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING, open_dict

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.data.glue import dataset as glue_dataset
from plugins.data.glue import folds, reader, specs
from plugins.data.text import bpe
from plugins.errors import UserError
from plugins.options import START, BestConfig, option

from .finetuning import scale_learning_rates, start_afresh

logger = logging.getLogger(__name__)

DEFAULT_POSITIONS = 512  # of models that are not bound to a length
BY_DEFAULT = "loss"  # fairseq's --best-checkpoint-metric where none is given
NO_CACHE = "none"


@dataclass
class GlueConfig(BestConfig):
    data: str = option(MISSING, "GLUE folder, with a folder for each task, or the folder of the task")
    glue_task: Optional[str] = option(None, f"one of {', '.join(specs.SPECS)}")
    spec: Optional[str] = option(None, "YAML file that describes a task of your own, in place of --glue-task")
    skip_bad_rows: bool = option(False, "leave out rows with missing columns or unknown labels, and count them")
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
    reinit_layers: int = option(0, "start this many top layers from random values (Zhang et al., 2021)")
    seed: int = II("common.seed")


@register_task("glue", dataclass=GlueConfig)
class GlueTask(FairseqTask):
    """Sentence classification or regression.

    Splits are ``train``, ``valid`` and ``test``, and for MNLI also ``valid_mismatched`` and ``test_mismatched``.
    Dictionary, tokenizer and label names are stored with each checkpoint.
    """

    def __init__(self, cfg, spec, tokenizer):
        super().__init__(cfg)
        self.spec, self.tokenizer, self.dictionary = spec, tokenizer, tokenizer.dictionary
        self.state.merge_state_dict({"dictionary_sha256": dictionaries.fingerprint(self.dictionary)} | self.labelling())
        self.dictionary.add_mask()
        self.longest = None  # input, known once there is a model
        self.epoch = 1

    @classmethod
    def setup_task(cls, cfg, from_checkpoint=False, **kwargs):
        """Set up from options.

        Args:
            from_checkpoint: the options are those of a finished checkpoint, which is only to be used.

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

    # What a checkpoint holds

    def labelling(self):
        return {"spec": self.spec.plain(), "head": self.head_name, "id2label": self.spec.id2label}

    def load_state_dict(self, state_dict):
        """Take over what a checkpoint says about its task.

        Raises:
            UserError: it was trained with another dictionary, or with other label ids.
        """
        dictionaries.check_same(self.dictionary, state_dict.get("dictionary_sha256"), "the checkpoint")
        if "spec" in state_dict:
            saved = specs.from_plain(state_dict["spec"])
            if saved.name == self.spec.name:
                check_labels(self.spec, saved.id2label, "the checkpoint")
            self.spec = saved
            self.state.merge_state_dict(self.labelling())
            self.longest = state_dict.get("max_positions")

    @property
    def head_name(self):
        return self.cfg.classification_head_name or self.spec.head_name

    def post_save(self, checkpoint_path, num_updates):
        """Put the dictionary and the tokenizer beside a checkpoint that fairseq has just written."""
        bpe.copy(self.tokenizer.folder, os.path.dirname(checkpoint_path))

    # Data

    @property
    def source_dictionary(self):
        return self.dictionary

    target_dictionary = source_dictionary

    def max_positions(self):
        return self.longest or DEFAULT_POSITIONS

    def load_dataset(self, split, combine=False, **kwargs):
        """Load a split, tokenized by the checkpoint's own tokenizer.

        Raises:
            UserError: the file is missing, or a row is bad.
        """
        source = specs.TRAIN if split == folds.HELD_OUT else split
        path = reader.locate(self.cfg.data, self.spec, source)
        cache = self.cfg.cache_dir or glue_dataset.default_cache()
        data = glue_dataset.load(
            path, self.spec, source, self.tokenizer, None if cache == NO_CACHE else cache, self.cfg.skip_bad_rows
        )
        self.datasets[split] = glue_dataset.SentencePairs(
            data, self.dictionary, self.max_positions(), self.cfg.pad_to_multiple, shuffle=split == specs.TRAIN,
            rows=self.rows_of(split, len(data)), split=split,
        )  # fmt: skip
        return self.datasets[split]

    def rows_of(self, split, total):
        """Return the rows of a split that ``--fold`` leaves, or None for all."""
        if self.cfg.fold is None or split not in (specs.TRAIN, folds.HELD_OUT):
            if split == folds.HELD_OUT:
                raise UserError("--valid-subset held_out needs --fold and --fold-file")
            return None
        others, own = folds.rows(self.cfg.fold, self.cfg.fold_file, total)
        return others if split == specs.TRAIN else own

    def begin_epoch(self, epoch, model):
        """Remember the epoch, which recorded logits are named after."""
        super().begin_epoch(epoch, model)
        self.epoch = epoch

    def filter_indices_by_size(self, indices, dataset, max_positions=None, ignore_invalid_inputs=False):
        return indices  # inputs are truncated already, and batch_by_size refuses a --max-tokens that they exceed

    # Model

    def build_model(self, cfg, from_checkpoint=False):
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

    def prepare(self, model, cfg):
        """Make a new model ready for fine-tuning.

        Raises:
            UserError: ``--save-dir`` holds a run of another task, or the checkpoint has other label ids.
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
            check_labels(self.spec, saved["id2label"], source)
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
        for parameter in model.encoder.lm_head.parameters():  # stays as it is, so that the model can still fill masks
            if parameter is not table:
                parameter.requires_grad_(False)

    # Validation: predictions are gathered, for no metric but accuracy is a mean over batches

    @staticmethod
    def logging_outputs_can_be_summed(criterion):
        return criterion.training

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        criterion.log_scores(logging_outputs)

    def post_validate(self, model, stats, agg):
        """Forget the predictions of a split that is done, which fairseq would keep, and save in checkpoints."""
        metrics.reset_meters("valid")


def check(cfg, run):
    """Refuse options that contradict each other."""
    if bool(cfg.glue_task) == bool(cfg.spec):
        raise UserError("give either --glue-task, such as RTE, or --spec FILE.yaml")
    if (cfg.fold is None) != (cfg.fold_file is None):
        raise UserError("--fold K/F and --fold-file FILE.npy need each other")
    if cfg.fold is not None:
        folds.parse(cfg.fold)
    if not 0 < cfg.layer_lr_decay <= 1:
        raise UserError(f"--layer-lr-decay {cfg.layer_lr_decay} is not above 0 and at most 1")
    if cfg.reinit_layers < 0 or cfg.pad_to_multiple < 1:
        raise UserError("--reinit-layers must be at least 0, --pad-to-multiple at least 1")
    if cfg.layer_lr_decay != 1 and run is not None:
        name = (run.get("optimizer") or {}).get("_name")
        if name != "fused_adamw":
            raise UserError(f"--layer-lr-decay needs --optimizer fused_adamw, not {name}")


def choose_spec(cfg, from_checkpoint):
    if cfg.spec and from_checkpoint and not os.path.exists(cfg.spec):
        # The checkpoint holds it too, and load_state_dict takes it from there.
        return specs.GlueSpec("", {}, ("",), "", ("0", "1"), (), "")
    spec = specs.read(cfg.spec) if cfg.spec else specs.find(cfg.glue_task)
    if cfg.label_names and cfg.label_names != ",".join(spec.id2label):  # a name may hold a comma itself
        source = "the checkpoint's options" if from_checkpoint else "--label-names"
        check_labels(spec, cfg.label_names.split(","), source)
    return spec


def check_labels(spec, names, source):
    if list(names) != spec.id2label:
        raise UserError(
            f"{source}: the labels {', '.join(names)}, in this order, are not those of {spec.name}, "
            f"{', '.join(spec.id2label)}; predictions would be taken for others"
        )


def choose_metric(run, spec):
    """Let the task's metric pick the best checkpoint, unless another was given; scores are better when higher."""
    with open_dict(run):
        checkpoint = run.checkpoint
        if checkpoint.best_checkpoint_metric == BY_DEFAULT:
            checkpoint.best_checkpoint_metric = spec.best
        if checkpoint.best_checkpoint_metric in specs.METRICS:
            checkpoint.maximize_best_checkpoint_metric = True
    logger.info("checkpoint_best.pt is chosen by %s", checkpoint.best_checkpoint_metric)


def tokenizer_folder(cfg, run, from_checkpoint):
    """Return the folder of the dictionary and the tokenizer.

    Raises:
        UserError: nothing says which.
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
    # A run that ended just after its first checkpoint was written has no dictionary beside it yet.
    paths = [path, None if from_checkpoint else wanted]
    folders = list(dict.fromkeys(os.path.dirname(os.path.abspath(p)) for p in paths if p))
    folders += [cfg.data] + ([cfg.tokenizer_dir] if cfg.tokenizer_dir else [])
    for folder in folders:
        if os.path.exists(os.path.join(folder, "dict.txt")):
            return folder
    raise UserError(
        f"{' and '.join(folders)}: no dict.txt; start from a checkpoint with its dictionary and tokenizer beside it "
        "(--finetune-from CKPT), or name their folder: --tokenizer-dir"
    )
