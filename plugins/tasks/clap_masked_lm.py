"""Masked language modeling as in fairseq's ``masked_lm``, with a mask that can be left out of the embedding table."""

import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairseq.data import ConcatDataset, FairseqDataset, PrependTokenDataset, TokenBlockDataset, data_utils
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import SAMPLE_BREAK_MODE_CHOICES, SHORTEN_METHOD_CHOICES
from omegaconf import II, MISSING

from plugins.data import dictionaries
from plugins.data.mlm.lines import WithoutSeparators
from plugins.data.mlm.masking import MaskedBlocks, Masking
from plugins.data.text import bpe
from plugins.errors import UserError
from plugins.files import split_paths
from plugins.options import BestConfig, flag, option

from .precision import MixedPrecisionTask, PrecisionConfig

logger = logging.getLogger(__name__)

SAMPLED_LINES = 1000  # lines of a split that are checked for words that the dictionary does not have


@dataclass
class ClapMaskedLMConfig(BestConfig, PrecisionConfig):
    """Options of the task ``clap_masked_lm``."""

    data: str = option(MISSING, "data folders made by scripts/prepare_mlm.py, colon-separated; an epoch is all of them")
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = option(
        "none",
        "none: blocks of --tokens-per-sample tokens; complete: the same, but whole lines; complete_doc: also within "
        "a document; eos: one line per block",
    )
    tokens_per_sample: int = option(512, "largest number of tokens in a block, <s> included")
    shorten_method: SHORTEN_METHOD_CHOICES = option("none", "how to shorten lines beyond --tokens-per-sample")
    shorten_data_split_list: str = option("", "splits to shorten, comma-separated (default: all)")
    mask_prob: float = option(0.15, "fraction of the tokens to predict; 0: the model masks (--self-mask-prob)")
    leave_unmasked_prob: float = option(0.1, "fraction of the predicted tokens that stay unchanged")
    random_token_prob: float = option(0.1, "fraction replaced by a random word; the rest become <mask>")
    freq_weighted_replacement: bool = option(False, "draw random words by their frequency")
    mask_whole_words: bool = option(False, "mask all tokens of a word together")
    omit_mask: bool = option(False, "give <mask> no row in the embedding table: its embedding is zero")
    seed: int = II("common.seed")


@register_task("clap_masked_lm", dataclass=ClapMaskedLMConfig)
class ClapMaskedLMTask(MixedPrecisionTask):
    """Predict masked tokens of blocks of text.

    A data folder contains ``dict.txt``, ``{train,valid,...}.{bin,idx}`` and the files of its tokenizer. Dictionary and
    tokenizer are copied next to the checkpoints, whose folder is then all that is needed to use them.
    """

    takes = {"criterion": ("clap_masked_lm",), "model": ("clap_roberta", "roberta", "masked_lm")}
    strict = ("model",)  # fairseq's others need the inputs of a decoder, or audio

    def __init__(self, cfg: ClapMaskedLMConfig, dictionary: dictionaries.MaskDictionary | None = None) -> None:
        super().__init__(cfg)
        check_probabilities(cfg)
        self.dictionary = dictionary or self.load_dict(cfg)
        self.state.merge_state_dict({"dictionary_sha256": dictionaries.fingerprint(self.dictionary)})
        if cfg.omit_mask:
            self.dictionary.omit_mask()
        else:
            self.dictionary.add_mask()

    @classmethod
    def setup_task(cls, cfg: ClapMaskedLMConfig, **kwargs: Any) -> "ClapMaskedLMTask":
        """Set up the task from its options."""
        return cls(cfg)

    @classmethod
    def load_dict(cls, cfg: ClapMaskedLMConfig) -> dictionaries.MaskDictionary:
        """Return the dictionary of the data folders.

        Raises:
            UserError: a folder has none, or another than the first.
        """
        folders = data_folders(cfg)
        dictionary, *others = (dictionaries.MaskDictionary.load(os.path.join(path, "dict.txt")) for path in folders)
        for path, other in zip(folders[1:], others, strict=True):
            if dictionaries.fingerprint(other) != dictionaries.fingerprint(dictionary):
                raise UserError(
                    f"{path}/dict.txt is not the dictionary of {folders[0]}; prepare all text with one tokenizer, for "
                    "example in one call with --shards"
                )
        logger.info("dictionary: %d types", len(dictionary))
        return dictionary

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a checkpoint has this dictionary.

        Raises:
            UserError: it has another.
        """
        dictionaries.check_same(self.dictionary, state_dict.get("dictionary_sha256"), "the checkpoint")

    @property
    def mask_idx(self) -> int:
        """Id of the mask."""
        return self.dictionary.index(dictionaries.MASK)

    @property
    def source_dictionary(self) -> dictionaries.MaskDictionary:
        """The dictionary."""
        return self.dictionary

    target_dictionary = source_dictionary

    def max_positions(self) -> int:
        """Return the length of the longest block in tokens."""
        return self.cfg.tokens_per_sample

    def has_sharded_data(self, split: str) -> bool:
        """Return False: an epoch reads all data folders, where fairseq's own tasks read one of them in turn."""
        return False

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Load a split: the training split of all data folders, any other of the first.

        Raises:
            UserError: no such split, or it is empty.
        """
        folders = data_folders(self.cfg)
        paths = [os.path.join(folder, split) for folder in (folders if split == self.train_subset else folders[:1])]
        parts = [self.blocks(self.lines(path, split, combine)) for path in paths]
        blocks = PrependTokenDataset(parts[0] if len(parts) == 1 else ConcatDataset(parts), self.dictionary.bos())
        logger.info("%s: %d blocks", ":".join(paths), len(blocks))
        check_batch(self.cfg, split, blocks)
        self.datasets[split] = MaskedBlocks(blocks, self.masking(), self.cfg.seed)

    @property
    def train_subset(self) -> str:
        """Name of the training split."""
        run = self.cfg._get_parent()
        return "train" if run is None or "dataset" not in run else run.dataset.train_subset

    def lines(self, path: str, split: str, combine: bool) -> FairseqDataset:
        """Return the lines of a split of a folder, shortened if that is asked for."""
        return maybe_shorten_dataset(
            load_lines(path, self.dictionary, combine),
            split,
            self.cfg.shorten_data_split_list,
            self.cfg.shorten_method,
            self.cfg.tokens_per_sample - 1,
            self.cfg.seed,
        )

    def blocks(self, lines: FairseqDataset) -> FairseqDataset:
        """Join and cut lines into blocks according to --sample-break-mode; ``eos``: a line is a block."""
        if self.cfg.sample_break_mode == "eos":
            return WithoutSeparators(lines)
        return TokenBlockDataset(
            lines,
            lines.sizes,
            self.cfg.tokens_per_sample - 1,  # one less for <s>
            pad=self.dictionary.pad(),
            eos=self.dictionary.eos(),
            break_mode=self.cfg.sample_break_mode,
        )

    def masking(self) -> Masking:
        """Return the masking settings of the options."""
        cfg, dictionary = self.cfg, self.dictionary
        weights = np.array(dictionary.count if cfg.freq_weighted_replacement else np.ones(len(dictionary)), float)
        weights[: dictionary.nspecial] = 0
        weights[list(dictionary.padding)] = 0
        if self.mask_idx < len(dictionary):
            weights[self.mask_idx] = 0
        starts = bpe.word_starts(data_folders(cfg)[0], dictionary) if cfg.mask_whole_words else None
        return Masking(
            cfg.mask_prob,
            cfg.leave_unmasked_prob,
            cfg.random_token_prob,
            self.mask_idx,
            dictionary.pad(),
            weights,
            starts,
        )

    def filter_indices_by_size(
        self, indices: np.ndarray, dataset: Any, max_positions: Any = None, ignore_invalid_inputs: bool = False
    ) -> np.ndarray:
        """Return the indices of blocks that are not too long.

        Raises:
            UserError: a block is too long, and ``ignore_invalid_inputs`` is false or no block is left.
        """
        indices, too_long = dataset.filter_indices_by_size(indices, max_positions)
        if len(too_long) and (len(indices) == 0 or not ignore_invalid_inputs):
            raise UserError(
                f"{len(too_long)} blocks are longer than {max_positions} tokens, the first has "
                f"{dataset.size(too_long[0])}; shorten them (--shorten-method truncate), take longer ones "
                "(--tokens-per-sample, --max-positions), or leave them out (--skip-invalid-size-inputs-valid-test)"
            )
        if len(too_long):
            logger.warning("%d blocks are longer than %s tokens and left out", len(too_long), max_positions)
        return indices

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Copy dictionary and tokenizer next to a checkpoint that fairseq has just written."""
        bpe.copy(data_folders(self.cfg)[0], os.path.dirname(checkpoint_path))


def check_probabilities(cfg: ClapMaskedLMConfig) -> None:
    """Raise a UserError unless the probabilities of masking are in range."""
    for name in ("mask_prob", "leave_unmasked_prob", "random_token_prob"):
        if not 0 <= getattr(cfg, name) <= 1:
            raise UserError(f"{flag(name)} {getattr(cfg, name)} is not a probability")
    if cfg.leave_unmasked_prob + cfg.random_token_prob > 1:
        raise UserError("--leave-unmasked-prob and --random-token-prob add up to more than 1")


def check_batch(cfg: ClapMaskedLMConfig, split: str, blocks: FairseqDataset) -> None:
    """Check that the longest block of a split fits into a batch.

    Raises:
        UserError: ``--max-tokens`` or ``--max-tokens-valid`` is smaller.
    """
    run = cfg._get_parent()
    if run is None or "dataset" not in run:
        return
    name = "max_tokens" if split == run.dataset.train_subset else "max_tokens_valid"
    most = run.dataset[name]
    if not most:
        return
    if most == run.dataset.max_tokens:  # --max-tokens-valid is the same unless it is given
        name = "max_tokens"
    longest = int(min(np.max(blocks.sizes), cfg.tokens_per_sample))
    if longest > most:
        raise UserError(
            f"{flag(name)} {most}: no room for the longest block of {split}, {longest} tokens; raise it, or lower "
            f"--tokens-per-sample ({cfg.tokens_per_sample})"
        )


def data_folders(cfg: ClapMaskedLMConfig) -> list[str]:
    """Return the data folders."""
    return split_paths(cfg.data)


def load_lines(path: str, dictionary: dictionaries.MaskDictionary, combine: bool) -> FairseqDataset:
    """Open a binarized split.

    Raises:
        UserError: missing, empty, or damaged.
    """
    index = path + ".idx"
    for file in (index, path + ".bin"):
        if not os.path.exists(file):
            raise UserError(f"{file}: no such file; prepare the data with scripts/prepare_mlm.py")
        if os.path.getsize(file) == 0:
            raise UserError(f"{file}: empty; prepare the data again")
    try:
        lines = data_utils.load_indexed_dataset(path, dictionary, combine=combine)
        if lines is not None and len(lines):
            lines[len(lines) - 1]  # the last line is where a truncated file shows
    except (ValueError, AssertionError, RuntimeError) as error:
        raise UserError(f"{path}: its .idx and .bin are damaged or not fairseq's; prepare the data again") from error
    if lines is None or len(lines) == 0:
        raise UserError(f"{index}: contains no text")
    if max(int(lines[i].max()) for i in np.linspace(0, len(lines) - 1, SAMPLED_LINES, dtype=int)) >= len(dictionary):
        raise UserError(f"{path}.bin: contains words beyond dict.txt: it was made with another; prepare the data again")
    return lines
