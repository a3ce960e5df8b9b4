"""Character language modelling, from text files, without a preprocessing step."""

import logging
import os
from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `str | None`

from fairseq import utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from plugins import compat
from plugins.data.char_corpus import open_corpus
from plugins.data.char_dictionary import UNITS, CharDictionary
from plugins.data.char_sources import STYLE_SOURCES, CorpusSpec, Reading
from plugins.data.char_windows import ConsecutiveWindows, RandomWindows
from plugins.errors import UserError
from plugins.options import option

logger = logging.getLogger(__name__)

UNIT = ChoiceEnum(list(UNITS))
STYLE_FROM = ChoiceEnum(list(STYLE_SOURCES))


@dataclass
class CharLMConfig(FairseqDataclass):
    data: str = option(MISSING, "text files in UTF-8, .jsonl files, or folders of them, colon-separated: one corpus")
    unit: Optional[UNIT] = option(None, "what is predicted: characters, or bytes of any file (char)")
    style_from: STYLE_FROM = option(
        "none",
        "where the style of a document is found: its file's name, its folder's name, or a field of its JSONL record",
    )
    style_key: str = option("style", "field of a JSONL record that holds its style")
    jsonl_key: str = option("text", "field of a JSONL record that holds its text")
    valid_fraction: float = option(0.1, "the end of each file that is for validation, as a part of its characters")
    test_fraction: float = option(0.0, "the end of each file that is for testing, after the part for validation")
    valid_data: Optional[str] = option(None, "files or folders for validation, colon-separated, instead of a fraction")
    test_data: Optional[str] = option(None, "files or folders for testing, colon-separated, instead of a fraction")
    data_cache: Optional[str] = option(
        None, "folder for the encoded text, which several runs may share (data, in the folder of the checkpoints)"
    )
    tokens_per_sample: int = option(0, "characters of a window; 0: the block size of the model, less: that many less")
    epoch_windows: int = option(65536, "most windows in an epoch; less, if fewer hold the text")
    seed: int = II("common.seed")
    path: Optional[str] = II("common_eval.path")
    save_dir: Optional[str] = II("checkpoint.save_dir")
    restore_file: Optional[str] = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")


@register_task("char_lm", dataclass=CharLMConfig)
class CharLMTask(FairseqTask):
    """Predict the next character of windows of text.

    The characters and the names of the styles are those of the checkpoint that training starts from or that is
    evaluated, else those of the training text. Both are stored in every checkpoint. Nothing is read before it is
    needed.
    """

    def __init__(self, cfg):
        super().__init__(cfg)
        check(cfg)
        self.block_size = None  # of the model, once there is one
        self._origin = "the training text"  # of the dictionary and the styles
        self._corpus = None

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        return cls(cfg)

    # Characters and styles

    @property
    def dictionary(self) -> CharDictionary:
        self._learn_symbols()
        return self._dictionary

    source_dictionary = target_dictionary = dictionary

    @property
    def style_names(self) -> list[str]:
        self._learn_symbols()
        return self._styles

    def _learn_symbols(self):
        if hasattr(self, "_dictionary"):
            return
        cfg = self.cfg
        source = compat.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
        if source is None:
            corpus = self.corpus(cfg.unit or "char")
            self._set_symbols(corpus.dictionary(), corpus.styles)
        else:
            self._adopt(compat.read_state(source).get("task_state") or {}, source)

    def _set_symbols(self, dictionary, styles):
        self._dictionary, self._styles = dictionary, list(styles)
        self.state.merge_state_dict({"dictionary": dictionary.state(), "styles": self._styles})
        logger.info("dictionary: %d %ss; styles: %s", len(dictionary), dictionary.unit, ", ".join(styles) or "none")

    def _adopt(self, state, source):
        """Take the characters and the styles that a checkpoint stores."""
        if "dictionary" not in state:
            raise UserError(f"{source}: holds no characters, so it is no checkpoint of --task char_lm")
        dictionary = CharDictionary.from_state(state["dictionary"])
        if self.cfg.unit not in (None, dictionary.unit):
            raise UserError(
                f"--unit {self.cfg.unit} contradicts {source}, which was trained with --unit {dictionary.unit}"
            )
        self._origin = source
        styles = state.get("styles") or []
        if not styles and self.cfg.style_from != "none":
            styles = self.corpus(dictionary.unit).styles
        self._set_symbols(dictionary, styles)

    def load_state_dict(self, state_dict):
        self._adopt(state_dict, self.cfg.path or "the checkpoint")

    # Model and data

    def build_model(self, cfg, from_checkpoint=False):
        model = super().build_model(cfg, from_checkpoint)
        self.block_size = model.max_positions()
        return model

    def max_positions(self):
        return self.block_size

    @property
    def window(self) -> int:
        """Characters of the longest window.

        Raises:
            UserError: more than the model's block size, or none.
        """
        asked = self.cfg.tokens_per_sample
        length = asked if asked > 0 else self.block_size + asked
        if not 1 <= length <= self.block_size:
            raise UserError(
                f"--tokens-per-sample {asked} does not fit the model, whose block size is {self.block_size}"
            )
        return length

    def corpus(self, unit):
        if self._corpus is None:
            self._corpus = open_corpus(corpus_spec(self.cfg, unit), cache_folder(self.cfg))
        return self._corpus

    def has_sharded_data(self, split):
        return False  # several files are one corpus

    def load_dataset(self, split, combine=False, task_cfg=None, **kwargs):
        """Load a split: random windows of "train" when training, else all of it, window by window.

        Raises:
            UserError: it is shorter than a window, or has a character or style that the model does not know.
        """
        dictionary, length = self.dictionary, self.window
        text = self.corpus(dictionary.unit).split(split, dictionary, self.style_names, length, self._origin)
        evaluated = task_cfg is not None or self.cfg.path  # fairseq-validate, fairseq-eval-lm
        if split == "train" and not evaluated:
            windows = RandomWindows(text, length, dictionary.pad(), self.cfg.seed, self.cfg.epoch_windows)
        else:
            windows = ConsecutiveWindows(text, length, dictionary.pad())
        logger.info("%s: %d characters in %d documents", split, len(text), len(text.starts))
        self.datasets[split] = windows

    def get_batch_iterator(
        self,
        dataset,
        max_tokens=None,
        max_sentences=None,
        seed=1,
        num_shards=1,
        shard_id=0,
        num_workers=0,
        epoch=1,
        **unused,
    ):
        """Return an iterator over batches of windows, without the sorting and filtering that windows do not need."""
        dataset.set_epoch(epoch)
        by_tokens = max(1, max_tokens // dataset.length) if max_tokens else None
        size = min(number for number in (by_tokens, max_sentences) if number)
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
            persistent_workers=False,  # or workers would not hear of a new epoch
        )

    def eval_lm_dataloader(self, dataset, batch_size=None, context_window=0, **options):
        """Return batches for ``fairseq-eval-lm``; context is read from the window's own document.

        fairseq has taken ``--context-window`` off ``tokens_per_sample``, so windows and context fit the block.
        """
        context = min(context_window, self.block_size - dataset.length)
        windows = ConsecutiveWindows(dataset.text, dataset.length, dataset.pad, context)
        return self.get_batch_iterator(windows, max_sentences=batch_size, **options).next_epoch_itr(shuffle=False)


def corpus_spec(cfg, unit) -> CorpusSpec:
    def paths(value):
        return tuple(path for path in utils.split_paths(value or "") if path)

    if not paths(cfg.data):
        raise UserError("no text to read: name a file or a folder")
    return CorpusSpec(
        paths(cfg.data),
        Reading(str(unit), str(cfg.style_from), cfg.style_key, cfg.jsonl_key),
        cfg.valid_fraction,
        cfg.test_fraction,
        paths(cfg.valid_data),
        paths(cfg.test_data),
    )


def cache_folder(cfg) -> str:
    """Return where the encoded text is kept: beside the checkpoint that is evaluated, or that training writes."""
    if cfg.data_cache:
        return cfg.data_cache
    beside = os.path.dirname(utils.split_paths(cfg.path)[0]) if cfg.path else cfg.save_dir
    return os.path.join(beside or ".", "data")


def check(cfg):
    if cfg.epoch_windows < 1:
        raise UserError(f"--epoch-windows {cfg.epoch_windows} is not positive")
    for name in ("valid", "test"):
        fraction = getattr(cfg, f"{name}_fraction")
        if not 0 <= fraction <= 1:
            raise UserError(f"--{name}-fraction {fraction} is not between 0 and 1")
