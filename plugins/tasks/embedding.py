"""Text embeddings: train any model of this package on rows of one to three texts with a contrastive or other loss."""

import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

import numpy as np
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import MISSING

from plugins.data.embedding import encoding, losses, rows, specs, triplets, vectors
from plugins.data.embedding.dataset import EmbeddingRows
from plugins.data.glue import specs as glue_specs
from plugins.data.text.sources import warn_if_trained_on
from plugins.errors import UserError
from plugins.options import option

from .glue import tokenizer_folder
from .texts import TextsConfig, TextsTask, choose_metric, find_encoder, resumed_checkpoint

logger = logging.getLogger(__name__)


@dataclass
class EmbeddingConfig(TextsConfig):
    """Options of the task ``embedding``."""

    data: str = option(MISSING, "folder of the task's files, GLUE folder, or a folder of CLASS.txt files")
    glue_task: Optional[str] = option(None, f"rows of a GLUE task: one of {', '.join(glue_specs.SPECS)}")
    spec: Optional[str] = option(None, "YAML file that describes the rows (default: the CLASS.txt files of the folder)")
    passage_words: int = option(32, "words of the passages into which CLASS.txt files are cut")
    skip_bad_rows: bool = option(False, "skip rows with missing columns or unknown labels, and log their number")
    normalize: bool = option(False, "scale embeddings to length one")
    classes_per_batch: Optional[int] = option(None, "classes per batch (default: as many as --batch-size allows)")
    rows_per_class: Optional[int] = option(None, "rows of each class per batch (default: as --batch-size allows)")
    teacher: Optional[str] = option(None, "vectors.npz of scripts/embed.py, for --metric-loss mse and margin_mse")
    deletion: float = option(0.6, "fraction of the tokens removed by --metric-loss denoising")


@register_task("embedding", dataclass=EmbeddingConfig)
class EmbeddingTask(TextsTask):
    """See the module's docstring. The pooling, the rows and the loss are stored with each checkpoint."""

    takes = {"criterion": ("metric_learning",), "model": ("clap_roberta", "causal_lm", "char_lm")}
    strict = ("criterion", "model")  # fairseq's have no validation over all rows, and no heads for embeddings

    key, fixed = "embedding", ("rows", "loss", "pooling", "normalize")

    spec: Any  # a RowSpec; None, like the loss, if a finished checkpoint is only used for inference
    loss: Any
    width: int | None = None  # dimensions of a vector of the model, for --metric-loss mse
    needs_hard = False  # whether the accuracy on hard triplets selects the best checkpoint

    def __init__(
        self,
        cfg: EmbeddingConfig,
        spec: specs.RowSpec | None,
        encoder: encoding.TextEncoder,
        styles: Sequence[str] = (),
        loss: str | None = None,
    ) -> None:
        self.spec, self.loss = spec, loss
        super().__init__(cfg, encoder, styles)

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
        if "metric_loss" not in criterion:  # a user's criterion
            raise UserError(
                f"--criterion {criterion.get('_name')} has no --metric-loss; use --criterion metric_learning"
            )
        loss = str(criterion["metric_loss"])
        check(cfg, loss, losses.find(loss, spec), spec)
        check_grad_cache(run, criterion)
        best = None if spec.kind == specs.TEXTS else specs.METRICS[spec.kind][0]
        choose_metric(run, best, specs.BETTER_HIGHER)
        encoder, styles = find_encoder(cfg, run)
        task = cls(cfg, spec, encoder, styles, loss)
        task.needs_hard = run.checkpoint.best_checkpoint_metric == specs.HARD_ACCURACY and spec.kind == specs.LABELED
        return task

    # Hard triplets, made from the model before its first update

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, and keep it for :meth:`begin_epoch`.

        Raises:
            UserError: in ``fairseq-validate``, to which checkpoints do not give their rows.
        """
        if self.spec is None:
            raise UserError(
                f"{self.cfg.data}: fairseq-validate does not read the rows of --task embedding; use "
                "scripts/evaluate_embeddings.py"
            )
        self.criterion = super().build_criterion(cfg, from_checkpoint)
        return self.criterion

    def begin_epoch(self, epoch: int, model: BaseFairseqModel) -> None:
        """Freeze the hard triplets of the first validation split, once."""
        super().begin_epoch(epoch, model)
        rows = next((self.datasets[split] for split in self.datasets if split != "train"), None)
        if self.needs_hard and rows is not None:
            path = os.path.join(self.cfg.save_dir, triplets.HARD)
            self.criterion.freeze_triplets(model, rows, path, resumed_checkpoint(self.cfg) is not None)

    # Content of a checkpoint

    def settings(self) -> dict[str, Any]:
        """Return the options that checkpoints store to load the model as an embedder."""
        return {"pooling": str(self.cfg.pooling), "normalize": self.cfg.normalize} | (
            {"rows": self.spec.plain(), "loss": self.loss} if self.spec else {}
        )

    # Data

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> EmbeddingRows:
        """Load a split.

        Raises:
            UserError: the file is missing, or a row is bad.
        """
        cfg, training = self.cfg, split == "train"
        found = rows.load(cfg.data, self.spec, split, cfg.passage_words, cfg.skip_bad_rows)
        if training and {"train", "valid"} <= self.spec.files.keys():
            with contextlib.suppress(UserError):  # the validation file may be absent
                valid, train = (rows.locate(cfg.data, self.spec, name) for name in ("valid", "train"))
                warn_if_trained_on(valid, train, "valid")
        if self.spec.kind == specs.SCORED_PAIRS:
            low, high = self.spec.scale
            found = rows.TextRows(found.texts, (found.labels - low) / (high - low), [], found.index, found.skipped)
        by_class = training and losses.needs_classes(self.loss, self.spec)
        self.datasets[split] = EmbeddingRows(
            found, self.encoder, self.max_positions(), shuffle=training,
            classes=(cfg.classes_per_batch, cfg.rows_per_class) if by_class else None,
            teacher=self.teacher_of(found.texts[0]) if cfg.teacher else None,
            deletion=cfg.deletion if self.loss == "denoising" else 0.0, name=f"{cfg.data} ({split})",
        )  # fmt: skip
        classes = f" in {len(found.names)} classes" if found.names else ""
        logger.info("%s (%s): %d rows of %s%s", cfg.data, split, len(found), self.spec.kind, classes)
        return self.datasets[split]

    def teacher_of(self, texts: list[str]) -> np.ndarray:
        """Return the teacher's vectors (N, d) of texts.

        Raises:
            UserError: the file is damaged, a text has no vector, or the loss needs vectors of the model's width.
        """
        found = vectors.match(self.cfg.teacher, texts)
        if self.loss == "mse" and self.width not in (None, found.shape[1]):
            raise UserError(
                f"--teacher {self.cfg.teacher}: its vectors have {found.shape[1]} dimensions, the model {self.width}"
            )
        return found

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model with the head of the task; see :meth:`TextsTask.build_model`."""
        model = super().build_model(cfg, from_checkpoint)
        if self.loss == "mse" and hasattr(model, "peft_parts"):  # a user's model may lack it
            self.width = model.peft_parts().table.weight.size(1)
        return model

    def add_head(self, model: Any) -> None:
        """Add the embedding head, with a classifier or a decoder if the loss needs one, to a model in place."""
        classes = 0
        if self.loss == "softmax":
            classes = len(self.spec.labels) if self.spec.kind == specs.LABELED_PAIRS else 2
        model.register_embedding_head(
            str(self.cfg.pooling), self.cfg.normalize, classes, self.longest if self.loss == "denoising" else 0
        )


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
        raise UserError(f"--teacher {cfg.teacher}: --metric-loss {loss} has no teacher; omit it")
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
