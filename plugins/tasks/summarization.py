"""Summarization with a causal language model, directly from files of documents and summaries."""

import contextlib
import importlib.metadata
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional  # fairseq's parser does not read `str | None`

import numpy as np
from fairseq.dataclass import ChoiceEnum
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import MISSING, open_dict

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.data.summaries import dataset as summary_dataset
from plugins.data.summaries import docstrings
from plugins.data.summaries.reader import Columns, locate
from plugins.data.text import prose_sources
from plugins.data.text.cache import cached
from plugins.data.text.sources import warn_if_trained_on
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.options import option

from .causal_lm import WithVocabulary, checkpoint_folder
from .precision import MixedPrecisionTask
from .windows import TextConfig, cache_folder

logger = logging.getLogger(__name__)

SEPARATOR = "<|sep|>"
EMBEDDED = "docstrings"
LOSS_ON = ChoiceEnum(["summary", "all"])
ROUGE = "rouge"  # how the names of its scores begin


@dataclass
class SummarizationConfig(TextConfig):
    """Options of the task ``summarization``."""

    data: str = option(
        MISSING,
        "folder with train, valid (or validation) and test as .csv, .tsv or .jsonl; one such file, of which a part is "
        f"for validation; or {EMBEDDED}: those of the installed packages, body to first line",
    )
    document_column: Optional[str] = option(None, "column of the documents (article, document or text)")
    summary_column: Optional[str] = option(None, "column of the summaries (highlights or summary)")
    valid_fraction: float = option(0.1, "fraction of the records of a single file used for validation")
    skip_bad_rows: bool = option(
        False, "skip records without a document or summary, or with too long a summary, and log their number"
    )
    separator: str = option(
        SEPARATOR,
        "separator between a document and its summary: a token, written <|...|>, which gets its own row; words, "
        "for example TL;DR:; or '' for none",
    )
    loss_on: LOSS_ON = option("summary", "tokens of the loss: the summary and its end symbol, or all tokens")
    document_tokens: Optional[int] = option(
        None, "maximum number of tokens of a document (as many as fit with the summary)"
    )
    vocabulary: Optional[str] = option(
        None, "folder of the tokenizer, to start without a checkpoint (that of the checkpoint)"
    )
    rouge_sample: int = option(0, "in validation, summarize this many documents, drawn with the seed, and log ROUGE")
    rouge_max_length: int = option(64, "largest number of tokens of a summary in validation")


@register_task("summarization", dataclass=SummarizationConfig)
class SummarizationTask(WithVocabulary, MixedPrecisionTask):
    """Continue a document and a separator with its summary.

    The dictionary is that of the checkpoint that training starts from or that is evaluated; a separator that is a new
    token is added to it. Its files are copied next to the checkpoints, which store the separator.
    """

    takes = {"criterion": ("summarization",), "model": ("causal_lm",)}
    strict = ("model",)  # fairseq's need its dictionary, or the inputs of an encoder

    def __init__(self, cfg: SummarizationConfig) -> None:
        super().__init__(cfg)
        dictionary = find_dictionary(cfg)
        self.fingerprints = [dictionaries.fingerprint(dictionary)]
        self.layout = summary_dataset.Layout.of(cfg.separator, dictionary)
        self.dictionary = self.use(dictionary)
        self.fingerprints.append(dictionaries.fingerprint(dictionary))
        self.state.merge_state_dict({"separator": cfg.separator})
        self.longest: int | None = None  # text in tokens; set by build_model

    @classmethod
    def setup_task(cls, cfg: SummarizationConfig, **kwargs: Any) -> "SummarizationTask":
        """Set up the task from its options.

        Raises:
            UserError: contradicting options, or no tokenizer.
        """
        check(cfg, cfg._get_parent())
        return cls(cfg)

    @property
    def source_dictionary(self) -> TokenDictionary:
        """The dictionary, separator included."""
        return self.dictionary

    target_dictionary = source_dictionary

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a checkpoint has this dictionary, with or without the separator.

        Raises:
            UserError: it has another.
        """
        if state_dict.get("dictionary_sha256") not in self.fingerprints:
            super().load_state_dict(state_dict)
        saved = state_dict.get("separator", self.cfg.separator)
        if saved != self.cfg.separator:
            logger.warning("the checkpoint was trained with --separator %r, not %r", saved, self.cfg.separator)

    # Model and data

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model.

        Raises:
            UserError: it has no room for a document and the summaries that validation writes.
        """
        model = super().build_model(cfg, from_checkpoint)
        self.longest = model.max_positions()
        if self.cfg.rouge_sample and self.cfg.rouge_max_length + len(self.layout.separator) >= self.longest:
            raise UserError(
                f"--rouge-max-length {self.cfg.rouge_max_length}: no room for a document: the model reads "
                f"{self.longest} tokens"
            )
        return model

    def max_positions(self) -> int | None:
        """Return the length of the longest text in tokens."""
        return self.longest

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> summary_dataset.SummaryDataset:
        """Load a split.

        Raises:
            UserError: the file is missing, or a record is bad.
        """
        cfg, cache = self.cfg, cache_folder(self.cfg)
        path = locate(embedded(cache) if cfg.data == EMBEDDED else cfg.data, split)
        if split == "train" and path != Path(cfg.data):
            with contextlib.suppress(UserError):  # the validation file may be absent
                warn_if_trained_on(locate(cfg.data, "valid"), path, "valid")
        encoded = summary_dataset.load(
            path, Columns(cfg.document_column, cfg.summary_column), self.layout, self.dictionary, cache,
            skip_bad_rows=cfg.skip_bad_rows, part=self.part(path, split),
        )  # fmt: skip
        training = split == "train" and not cfg.path
        assert self.longest is not None, "the model was built before"
        self.datasets[split] = summary_dataset.SummaryDataset(
            encoded, self.layout, self.dictionary.pad(), self.longest,
            document_tokens=cfg.document_tokens, loss_on=str(cfg.loss_on), skip_too_long=cfg.skip_bad_rows,
            shuffle=training, sampled=0 if training else cfg.rouge_sample, seed=cfg.seed,
            prompt_room=self.longest - cfg.rouge_max_length,
        )  # fmt: skip
        logger.info("%s (%s): %s", path, split, summary_dataset.describe(self.datasets[split]))
        return self.datasets[split]

    def part(self, path: str | Path, split: str) -> tuple[float, float]:
        """Return which records of a file belong to a split, see :func:`plugins.data.summaries.dataset.load`.

        Raises:
            UserError: a single file has no such split.
        """
        if os.path.isdir(self.cfg.data) or self.cfg.data == EMBEDDED:
            return 0.0, 1.0
        fraction = self.cfg.valid_fraction
        if split not in ("train", "valid"):
            raise UserError(f"{path}: a single file has no {split} split; give a folder with one file each")
        return (fraction, 1.0) if split == "train" else (0.0, fraction)

    def filter_indices_by_size(
        self, indices: np.ndarray, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> np.ndarray:
        return indices  # texts fit already, and batch_by_size refuses a --max-tokens that they exceed


def check(cfg: SummarizationConfig, run: Any) -> None:
    """Check the options; the best ROUGE is the highest.

    Args:
        cfg: options of the task.
        run: configuration of the whole run, or None.

    Raises:
        UserError: they contradict each other, or one is out of range.
    """
    least = min(n for n in (cfg.rouge_max_length, cfg.document_tokens) if n is not None)
    if cfg.rouge_sample < 0 or least < 1:
        raise UserError("--rouge-sample is at least 0, --rouge-max-length and --document-tokens are at least 1")
    if not 0 < cfg.valid_fraction < 1:
        raise UserError(f"--valid-fraction {cfg.valid_fraction} is not between 0 and 1")
    if run is None or not str(run.checkpoint.best_checkpoint_metric).startswith(ROUGE):
        return
    if not cfg.rouge_sample or (run.get("criterion") or {}).get("_name") != "summarization":
        metric = run.checkpoint.best_checkpoint_metric
        raise UserError(f"--best-checkpoint-metric {metric} needs --rouge-sample N and --criterion summarization")
    with open_dict(run):
        run.checkpoint.maximize_best_checkpoint_metric = True


def find_dictionary(cfg: SummarizationConfig) -> TokenDictionary:
    """Return the dictionary next to the checkpoint, or that of ``--vocabulary``.

    Raises:
        UserError: there is none.
    """
    start = checkpoints.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
    if cfg.finetune_from_model and not start and not cfg.path:
        raise UserError(f"--finetune-from-model {cfg.finetune_from_model}: no such checkpoint")
    folder = checkpoint_folder(cfg) or cfg.vocabulary
    if not folder:
        raise UserError(
            "a pretrained model is needed: --finetune-from-model CKPT, with its tokenizer next to it; or, to train "
            "from random weights, --vocabulary DIR"
        )
    return TokenDictionary.from_files(folder)


def embedded(cache: str) -> str:
    """Return the folder with the docstrings of the installed packages, which is written if it is missing."""
    versions = [["python", platform.python_version()]]
    for name in prose_sources.PACKAGES:
        if name != prose_sources.STANDARD_LIBRARY:
            versions.append([name, version_of(name)])
    key = {"format": docstrings.FORMAT, "files": {EMBEDDED: versions}}
    return cached(cache, key, docstrings.write)[0]


def version_of(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version("scikit-learn" if package == "sklearn" else package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
