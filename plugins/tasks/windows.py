"""Base of the language-model tasks on windows of one long text: options, batches, evaluation."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

from fairseq import utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.models import BaseFairseqModel
from omegaconf import II, MISSING

from plugins.compat.preflight import UNLIMITED
from plugins.data.text.sources import CorpusSpec, Reading
from plugins.data.text.splits import TextSplit
from plugins.data.text.windows import ConsecutiveWindows, RandomWindows
from plugins.errors import UserError
from plugins.files import split_paths
from plugins.options import BestConfig, StartConfig, option

from .precision import MixedPrecisionTask, PrecisionConfig

logger = logging.getLogger(__name__)


@dataclass
class TextConfig(StartConfig, BestConfig, PrecisionConfig):
    """Options of tasks that store encoded text next to their checkpoints and use the vocabulary of a checkpoint."""

    data_cache: Optional[str] = option(
        None,
        "folder for the encoded text, can be shared by several runs (default: data, in the folder of the checkpoints)",
    )
    seed: int = II("common.seed")
    path: Optional[str] = II("common_eval.path")


@dataclass
class WindowsConfig(TextConfig):
    """Options of tasks that read windows of text."""

    data: str = option(MISSING, "text files in UTF-8, .jsonl files, or folders of them, colon-separated: one corpus")
    jsonl_key: str = option("text", "field of a JSONL record that contains its text")
    valid_fraction: float = option(0.1, "fraction of each file, at its end, that is used for validation")
    test_fraction: float = option(0.0, "fraction of each file, after the part for validation, that is used for testing")
    valid_data: Optional[str] = option(None, "files or folders for validation, colon-separated, instead of a fraction")
    test_data: Optional[str] = option(None, "files or folders for testing, colon-separated, instead of a fraction")
    tokens_per_sample: int = option(0, "tokens per window (0: the model's block size; negative: that many fewer)")
    epoch_windows: int = option(65536, "largest number of windows per epoch; fewer if the text is shorter")


class WindowsTask(MixedPrecisionTask):
    """Predict the next token of windows of text.

    A subclass returns the text of a split in :meth:`read`. Nothing is read before it is needed.

    Raises:
        UserError: options contradict each other.
    """

    def __init__(self, cfg: WindowsConfig) -> None:
        super().__init__(cfg)
        check(cfg)
        self.block_size: int | None = None  # set by build_model

    @classmethod
    def setup_task(cls, cfg: WindowsConfig, **kwargs: Any) -> "WindowsTask":
        """Set up the task from its options."""
        return cls(cfg)

    def read(self, split: str, length: int) -> TextSplit:
        """Return the text of a split, at least one window of ``length`` tokens.

        Raises:
            UserError: it is shorter, or contains symbols that the model does not know.
        """
        raise NotImplementedError

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build a model."""
        model = super().build_model(cfg, from_checkpoint)
        self.block_size = model.max_positions()
        return model

    def max_positions(self) -> int | None:
        """Return the model's block size."""
        return self.block_size

    @property
    def window(self) -> int:
        """Length of a window in tokens.

        Raises:
            UserError: it exceeds the model's block size, or is below 1.
        """
        asked = self.cfg.tokens_per_sample
        length = asked if asked > 0 else self.block_size + asked
        if not 1 <= length <= self.block_size:
            raise UserError(
                f"--tokens-per-sample {asked} does not fit the model, whose block size is {self.block_size}"
            )
        return length

    def has_sharded_data(self, split: str) -> bool:
        """Return False: several files are one corpus."""
        return False

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """Load a split: random windows of "train" when training, else all windows in order.

        Raises:
            UserError: see :meth:`read`.
        """
        length, pad = self.window, self.target_dictionary.pad()
        text = self.read(split, length)
        evaluated = task_cfg is not None or self.cfg.path  # fairseq-validate, fairseq-eval-lm
        if split == "train" and not evaluated:
            windows = RandomWindows(text, length, pad, self.cfg.seed, self.cfg.epoch_windows)
        else:
            windows = ConsecutiveWindows(text, length, pad)
        logger.info("%s: %d tokens in %d documents", split, len(text), len(text.starts))
        self.datasets[split] = windows

    def get_batch_iterator(
        self,
        dataset: Any,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 1,
        **unused: Any,
    ) -> EpochBatchIterator:
        """Return an iterator over batches of windows, without sorting and filtering: all have one length."""
        dataset.set_epoch(epoch)
        by_tokens = max(1, max_tokens // dataset.length) if max_tokens and max_tokens < UNLIMITED else None
        limits = [number for number in (by_tokens, max_sentences) if number and number < UNLIMITED]
        size = min(limits, default=len(dataset))
        return EpochBatchIterator(
            dataset,
            dataset.collater,
            dataset.batches(size, num_shards),
            seed=seed,
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            epoch=epoch,
            buffer_size=0,  # a thread that reads ahead costs more than it saves
            disable_shuffling=True,  # the windows are random, or their order does not matter
            persistent_workers=False,  # otherwise workers would keep the first epoch
        )

    def eval_lm_dataloader(
        self, dataset: ConsecutiveWindows, batch_size: int | None = None, context_window: int = 0, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Return batches for ``fairseq-eval-lm``; context is read from the window's own document.

        fairseq has subtracted ``--context-window`` from ``tokens_per_sample``, so windows and context fit the block.
        """
        assert self.block_size is not None, "the model was built before"
        context = min(context_window, self.block_size - dataset.length)
        windows = ConsecutiveWindows(dataset.text, dataset.length, dataset.pad, context)
        return self.get_batch_iterator(windows, max_sentences=batch_size, **options).next_epoch_itr(shuffle=False)


def corpus_spec(cfg: WindowsConfig, reading: Reading) -> CorpusSpec:
    """Return the files of a corpus and how they are split.

    Raises:
        UserError: the options name no file.
    """

    def paths(value):
        return tuple(split_paths(value))

    if not paths(cfg.data):
        raise UserError("no text to read: name a file or a folder")
    return CorpusSpec(
        paths(cfg.data), reading, cfg.valid_fraction, cfg.test_fraction, paths(cfg.valid_data), paths(cfg.test_data)
    )


def cache_folder(cfg: TextConfig) -> str:
    """Return the folder of the encoded text: next to the checkpoint that is evaluated, or that training writes."""
    if cfg.data_cache:
        return cfg.data_cache
    folder = os.path.dirname(utils.split_paths(cfg.path)[0]) if cfg.path else cfg.save_dir
    return os.path.join(folder or ".", "data")


def check(cfg: WindowsConfig) -> None:
    """Check the options.

    Raises:
        UserError: one is out of range.
    """
    if cfg.epoch_windows < 1:
        raise UserError(f"--epoch-windows {cfg.epoch_windows} is not positive")
    for name in ("valid", "test"):
        fraction = getattr(cfg, f"{name}_fraction")
        if not 0 <= fraction <= 1:
            raise UserError(f"--{name}-fraction {fraction} is not between 0 and 1")
