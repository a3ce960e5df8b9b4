"""Causal language modeling from text files, without a preprocessing step."""

import logging
import os
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

from fairseq import utils
from fairseq.tasks import register_task

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.data.text.sources import CorpusSpec, Reading
from plugins.data.text.splits import TextSplit
from plugins.data.text.token_corpus import TokenCorpus, learn
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.options import option

from .windows import TextConfig, WindowsConfig, WindowsTask, cache_folder, corpus_spec

logger = logging.getLogger(__name__)

LEARNED = ("char", "sentencepiece")


@dataclass
class CausalLMTaskConfig(WindowsConfig):
    """Options of the task ``causal_lm``."""

    vocabulary: Optional[str] = option(
        None,
        "tokenizer: a folder with GPT-2's vocab.json and merges.txt, a tokenizer.json or a "
        "sentencepiece .model; or, of the training text, char or sentencepiece (that of the checkpoint that training "
        "starts from, else sentencepiece)",
    )
    pieces: int = option(8000, "largest size of a learned sentencepiece vocabulary")


class WithVocabulary:
    """Mixin for tasks whose dictionary of tokens is known before the model, and is stored next to checkpoints."""

    state: Any  # fairseq's StatefulContainer
    source_dictionary: Any  # a TokenDictionary

    def use(self, dictionary: TokenDictionary) -> TokenDictionary:
        """Use a dictionary; checkpoints store its fingerprint."""
        self.state.merge_state_dict({"dictionary_sha256": dictionaries.fingerprint(dictionary)})
        logger.info("dictionary: %d symbols", len(dictionary))
        return dictionary

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a checkpoint has this dictionary.

        Raises:
            UserError: it has another.
        """
        saved = state_dict.get("dictionary_sha256")
        if saved not in (None, dictionaries.fingerprint(self.source_dictionary)):
            raise UserError(
                "the vocabulary is not the one that the checkpoint was trained with; use the files next to it"
            )

    def post_save(self, checkpoint_path: str, num_updates: int) -> None:
        """Write the files of the tokenizer next to a checkpoint that fairseq has just written."""
        self.source_dictionary.save_files(os.path.dirname(checkpoint_path))


def checkpoint_folder(cfg: TextConfig) -> str | None:
    """Return the folder of the checkpoint that is evaluated or that training starts from, or None."""
    if cfg.path:
        return os.path.dirname(utils.split_paths(cfg.path)[0]) or "."
    source = checkpoints.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
    return source and (os.path.dirname(source) or ".")


@register_task("causal_lm", dataclass=CausalLMTaskConfig)
class CausalLMTask(WithVocabulary, WindowsTask):
    """Predict the next token of windows of text.

    The dictionary is that of the checkpoint that training starts from or that is evaluated, else that of
    ``--vocabulary``. Its files are copied next to the checkpoints, whose folder is then all that is needed to use them.
    """

    takes = {"criterion": ("causal_lm",), "model": ("causal_lm",)}
    strict = ("model",)  # fairseq's need its dictionary, or the inputs of an encoder

    def __init__(self, cfg: CausalLMTaskConfig) -> None:
        super().__init__(cfg)
        self._dictionary: TokenDictionary | None = None
        self._corpus: TokenCorpus | None = None

    @property
    def dictionary(self) -> TokenDictionary:
        """The dictionary, found when it is first needed."""
        if self._dictionary is None:
            self._dictionary = self.use(self.find_dictionary())
        return self._dictionary

    source_dictionary = target_dictionary = dictionary

    def find_dictionary(self) -> TokenDictionary:
        """Return the dictionary of the checkpoint or of the options.

        Raises:
            UserError: they contradict each other, or there is none.
        """
        cfg, folder = self.cfg, checkpoint_folder(self.cfg)
        if folder is None and cfg.vocabulary in (None, *LEARNED):
            return learn(cfg.vocabulary or "sentencepiece", cfg.pieces, self.spec(), cache_folder(cfg))
        if folder is None:
            return TokenDictionary.from_files(str(cfg.vocabulary))
        known = TokenDictionary.from_files(folder)
        if cfg.vocabulary not in (None, *LEARNED):
            given = TokenDictionary.from_files(cfg.vocabulary)
            if dictionaries.fingerprint(given) != dictionaries.fingerprint(known):
                raise UserError(f"--vocabulary {cfg.vocabulary} is not the one in {folder}; leave the option out")
        return known

    def spec(self) -> CorpusSpec:
        """Return the files of the corpus and how they are split."""
        return corpus_spec(self.cfg, Reading(jsonl_key=self.cfg.jsonl_key))

    def read(self, split: str, length: int) -> TextSplit:
        """Return the text of a split, see :meth:`.WindowsTask.read`."""
        if self._corpus is None:
            self._corpus = TokenCorpus(self.spec(), self.dictionary, cache_folder(self.cfg))
        return self._corpus.split(split, length)
