"""Text embeddings: train any model of this package on rows of one to three texts with a contrastive or other loss."""

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

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.data.embedding import encoding, losses, rows, specs, vectors
from plugins.data.embedding.dataset import EmbeddingRows
from plugins.data.glue import specs as glue_specs
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.options import START, BestConfig, option

from .glue import BY_DEFAULT, DEFAULT_POSITIONS, tokenizer_folder
from .precision import MixedPrecisionTask, PrecisionConfig

logger = logging.getLogger(__name__)

LARGE_MESSAGE = 1 << 24  # bytes: what validation gathers from each worker
CAUSAL_POOLERS = ("mean", "max", "last")


@dataclass
class EmbeddingConfig(BestConfig, PrecisionConfig):
    data: str = option(MISSING, "folder of the task's files, GLUE folder, or a folder of CLASS.txt files")
    glue_task: Optional[str] = option(None, f"rows of a GLUE task: one of {', '.join(glue_specs.SPECS)}")
    spec: Optional[str] = option(None, "YAML file that describes the rows (default: the CLASS.txt files of the folder)")
    passage_words: int = option(32, "words of the passages into which CLASS.txt files are cut")
    skip_bad_rows: bool = option(False, "leave out rows with missing columns or unknown labels, and count them")
    tokenizer_dir: Optional[str] = option(
        None, "folder of the tokenizer (default: that of the checkpoint that training starts from)"
    )
    pooling: ChoiceEnum(specs.POOLINGS) = option("mean", "how the features of tokens become a vector")
    normalize: bool = option(False, "scale embeddings to length one")
    classes_per_batch: Optional[int] = option(None, "classes per batch (default: as many as --batch-size allows)")
    rows_per_class: Optional[int] = option(None, "rows of each class per batch (default: as --batch-size allows)")
    teacher: Optional[str] = option(None, "vectors.npz of scripts/embed.py, for --metric-loss mse and margin_mse")
    deletion: float = option(0.6, "share of the tokens that --metric-loss denoising removes")
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")


@register_task("embedding", dataclass=EmbeddingConfig)
class EmbeddingTask(MixedPrecisionTask):
    """See the module's docstring. The dictionary and the pooling are stored with each checkpoint."""

    spec: Any  # a RowSpec; None, like the loss, where a finished checkpoint is only used
    loss: Any

    def __init__(
        self,
        cfg: EmbeddingConfig,
        spec: specs.RowSpec | None,
        encoder: encoding.TextEncoder,
        styles: Sequence[str] = (),
        loss: str | None = None,
    ) -> None:
        super().__init__(cfg)
        self.spec, self.encoder, self.loss, self.style_names = spec, encoder, loss, list(styles)
        self.dictionary, self.longest = encoder.dictionary, None
        self.state.merge_state_dict(encoder.identity() | {"embedding": self.settings()} | {"styles": self.style_names})
        if isinstance(self.dictionary, dictionaries.MaskDictionary):
            self.dictionary.add_mask()

    @classmethod
    def setup_task(cls, cfg: EmbeddingConfig, from_checkpoint: bool = False, **kwargs: Any) -> "EmbeddingTask":
        """Set up from options.

        Args:
            from_checkpoint: the options are those of a finished checkpoint, for use without training.

        Raises:
            UserError: contradicting options, no rows, or no tokenizer.
        """
        run = cfg._get_parent()
        if from_checkpoint:
            return cls(cfg, None, encoding.masked(tokenizer_folder(cfg, run, True)))
        spec = choose_spec(cfg)
        criterion = run.get("criterion") or {}
        if criterion.get("_name") != "metric_learning":
            raise UserError(f"--task embedding needs --criterion metric_learning, not {criterion.get('_name')}")
        loss = str(criterion["metric_loss"])
        check(cfg, loss, losses.find(loss, spec), spec)
        check_grad_cache(run, criterion)
        choose_metric(run, spec)
        encoder, styles = find_encoder(cfg, run)
        return cls(cfg, spec, encoder, styles, loss)

    # Content of a checkpoint

    def settings(self) -> dict[str, Any]:
        return {"pooling": str(self.cfg.pooling), "normalize": self.cfg.normalize} | (
            {"rows": self.spec.plain(), "loss": self.loss} if self.spec else {}
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the dictionary of a checkpoint with ours, and adopt its longest input.

        Raises:
            UserError: it was trained with another dictionary.
        """
        dictionaries.check_same(self.dictionary, state_dict.get("dictionary_sha256"), "the checkpoint")
        if "embedding" in state_dict:
            self.longest = state_dict["embedding"].get("longest")

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

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> EmbeddingRows:
        """Load a split.

        Raises:
            UserError: the file is missing, or a row is bad.
        """
        cfg, training = self.cfg, split == "train"
        found = rows.load(cfg.data, self.spec, split, cfg.passage_words, cfg.skip_bad_rows)
        if self.spec.kind == specs.SCORED_PAIRS:
            low, high = self.spec.scale
            found = rows.Rows(found.texts, (found.labels - low) / (high - low), [], found.index, found.skipped)
        by_class = training and losses.needs_classes(self.loss, self.spec)
        self.datasets[split] = EmbeddingRows(
            found, self.encoder, self.max_positions(), shuffle=training,
            classes=(cfg.classes_per_batch, cfg.rows_per_class) if by_class else None,
            teacher=vectors.match(cfg.teacher, found.texts[0]) if cfg.teacher else None,
            deletion=cfg.deletion if self.loss == "denoising" else 0.0,
        )  # fmt: skip
        classes = f" in {len(found.names)} classes" if found.names else ""
        logger.info("%s (%s): %d rows of %s%s", cfg.data, split, len(found), self.spec.kind, classes)
        return self.datasets[split]

    def filter_indices_by_size(
        self, indices: np.ndarray, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> np.ndarray:
        return indices  # texts are truncated already

    # Model

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model with an embedding head.

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
        causal = "decoder_layers" in cfg
        if causal and str(self.cfg.pooling) not in CAUSAL_POOLERS:
            raise UserError(f"--pooling {self.cfg.pooling}: a causal model takes {', '.join(CAUSAL_POOLERS)}")
        classes = 0
        if self.loss == "softmax":
            classes = len(self.spec.labels) if self.spec.kind == specs.LABELED_PAIRS else 2
        model.register_embedding_head(
            str(self.cfg.pooling), self.cfg.normalize, classes, self.longest if self.loss == "denoising" else 0
        )
        self.state.merge_state_dict({"embedding": self.settings() | {"longest": self.longest}})
        return model

    # Validation: embeddings are gathered, because their metrics are not means over batches

    @staticmethod
    def logging_outputs_can_be_summed(criterion: FairseqCriterion) -> bool:
        return criterion.training

    def reduce_metrics(self, logging_outputs: Sequence[dict[str, Any]], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        criterion.log_scores(logging_outputs)

    def post_validate(self, model: BaseFairseqModel, stats: dict[str, Any], agg: Any) -> None:
        """Discard the embeddings of a finished split, which fairseq would keep and store in checkpoints."""
        metrics.reset_meters("valid")


def choose_spec(cfg: EmbeddingConfig) -> specs.RowSpec:
    """Return the row specification.

    Raises:
        UserError: no option determines it, or two options contradict each other.
    """
    if cfg.glue_task and cfg.spec:
        raise UserError("give either --glue-task or --spec, not both")
    if cfg.glue_task:
        return specs.of_glue(glue_specs.find(cfg.glue_task))
    if cfg.spec:
        return specs.read(cfg.spec)
    if rows.is_folder_of_texts(cfg.data):
        return specs.of_folder()
    raise UserError(f"{cfg.data}: no CLASS.txt files; describe its rows with --spec FILE.yaml, or name --glue-task")


def check(cfg: EmbeddingConfig, loss: str, row: losses.MetricLoss, spec: specs.RowSpec) -> None:
    """Raise an error for options that contradict each other."""
    shaped = cfg.classes_per_batch is not None or cfg.rows_per_class is not None
    if shaped and not losses.needs_classes(loss, spec):
        flags = "--classes-per-batch and --rows-per-class"
        raise UserError(f"{flags} are for losses that compare classes, not for {loss} of {spec.kind}")
    if cfg.teacher and not row.teacher:
        raise UserError(f"--teacher {cfg.teacher}: --metric-loss {loss} takes no teacher; leave it out")
    if row.teacher and not cfg.teacher and spec.kind != specs.MARGINS:
        raise UserError(f"--metric-loss {loss} needs the vectors of a teacher: --teacher vectors.npz")
    if cfg.passage_words < 1:
        raise UserError(f"--passage-words {cfg.passage_words} is not positive")
    if not 0 <= cfg.deletion < 1:
        raise UserError(f"--deletion {cfg.deletion} is not a share below 1")


def check_grad_cache(run: Any, criterion: Any) -> None:
    """Raise an error for encoding in slices under a wrapper that expects one forward pass."""
    parallel = run.distributed_training
    if criterion.get("grad_cache_rows") and parallel.distributed_world_size > 1:
        if str(parallel.ddp_backend) not in ("legacy_ddp", "no_c10d"):
            raise UserError("--grad-cache-rows with several workers needs --ddp-backend legacy_ddp")


def choose_metric(run: Any, spec: specs.RowSpec) -> None:
    """Let the first metric of the rows pick the best checkpoint, unless another was given."""
    with open_dict(run):
        checkpoint = run.checkpoint
        if checkpoint.best_checkpoint_metric == BY_DEFAULT and spec.kind != specs.TEXTS:
            checkpoint.best_checkpoint_metric = specs.METRICS[spec.kind][0]
        if checkpoint.best_checkpoint_metric in specs.BETTER_HIGHER:
            checkpoint.maximize_best_checkpoint_metric = True
        run.common.all_gather_list_size = max(run.common.all_gather_list_size, LARGE_MESSAGE)
    logger.info("checkpoint_best.pt is chosen by %s", checkpoint.best_checkpoint_metric)


def find_encoder(cfg: EmbeddingConfig, run: Any) -> tuple[encoding.TextEncoder, list[str]]:
    """Return the encoder of the model that training starts from, and the names of its styles.

    Raises:
        UserError: the tokenizer is missing, or it needs the checkpoint of a model and none is given.
    """
    name, source = str(run.model._name), checkpoints.starting_checkpoint(*(cfg.get(name) for name in START))
    if cfg.finetune_from_model and not source:
        raise UserError(f"--finetune-from {cfg.finetune_from_model}: no such checkpoint")
    if "char_lm" in name:
        state = (checkpoints.read_state(source).get("task_state") or {}) if source else {}
        if "dictionary" not in state:
            start = source or f"--arch {name}"
            raise UserError(f"{start}: no characters; start from a character LM: --finetune-from CKPT")
        return encoding.characters(CharDictionary.from_state(state["dictionary"])), state.get("styles") or []
    if name.startswith("causal_lm"):
        folder = cfg.tokenizer_dir or (source and os.path.dirname(os.path.abspath(source)))
        if not folder:
            raise UserError("name a model to start from (--finetune-from CKPT), or a tokenizer: --tokenizer-dir")
        return encoding.causal(TokenDictionary.from_files(folder)), []
    return encoding.masked(tokenizer_folder(cfg, run, False)), []
