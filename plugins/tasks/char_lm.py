"""Character language modeling from text files, without a preprocessing step."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `str | None`

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task

from plugins import checkpoints
from plugins.data.text.char_corpus import CharCorpus, open_corpus
from plugins.data.text.char_dictionary import UNITS, CharDictionary, describe
from plugins.data.text.sources import STYLE_SOURCES, Reading
from plugins.data.text.splits import TextSplit
from plugins.errors import UserError
from plugins.options import option

from .windows import WindowsConfig, WindowsTask, cache_folder, corpus_spec

logger = logging.getLogger(__name__)

UNIT = ChoiceEnum(list(UNITS))
STYLE_FROM = ChoiceEnum(list(STYLE_SOURCES))


@dataclass
class CharLMTaskConfig(WindowsConfig):
    """Options of the task ``char_lm``."""

    unit: Optional[UNIT] = option(None, "unit of prediction: characters, or bytes of any file (char)")
    style_from: STYLE_FROM = option(
        "none",
        "source of a document's style: its file's name, its folder's name, or a field of its JSONL record",
    )
    style_key: str = option("style", "field of a JSONL record that contains its style")


@register_task("char_lm", dataclass=CharLMTaskConfig)
class CharLMTask(WindowsTask):
    """Predict the next character of windows of text.

    The characters and the names of the styles are those of the checkpoint that training starts from or that is
    evaluated, else those of the training text. Both are stored in every checkpoint.
    """

    takes = {"criterion": ("style_lm", "causal_lm"), "model": ("char_lm",)}
    strict = ("model",)  # fairseq's need its dictionary, or the inputs of an encoder

    def __init__(self, cfg: CharLMTaskConfig) -> None:
        super().__init__(cfg)
        self._origin = "the training text"  # source of the dictionary and the styles
        self._corpus: CharCorpus | None = None

    # Characters and styles

    @property
    def dictionary(self) -> CharDictionary:
        """The characters, found when they are first needed."""
        self._learn_symbols()
        return self._dictionary

    source_dictionary = target_dictionary = dictionary

    @property
    def style_names(self) -> list[str]:
        """Names of the styles in the order of their ids."""
        self._learn_symbols()
        return self._styles

    def _learn_symbols(self):
        if hasattr(self, "_dictionary"):
            return
        cfg = self.cfg
        source = checkpoints.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
        if source is None:
            corpus = self.corpus(cfg.unit or "char")
            self._set_symbols(corpus.dictionary(), corpus.styles)
            if found := self._dictionary.controls():
                advice = "; convert Windows line ends to remove '\\r'" if "\r" in found else ""
                names = ", ".join(map(describe, found))
                logger.warning("the training text has control characters, which are learned: %s%s", names, advice)
        else:
            self._adopt(checkpoints.read_state(source).get("task_state") or {}, source)

    def _set_symbols(self, dictionary, styles):
        self._dictionary, self._styles = dictionary, list(styles)
        self.state.merge_state_dict({"dictionary": dictionary.state(), "styles": self._styles})
        logger.info("dictionary: %d %ss; styles: %s", len(dictionary), dictionary.unit, ", ".join(styles) or "none")

    def _adopt(self, state: Mapping[str, Any], source: str) -> None:
        """Use the characters and the styles that a checkpoint stores."""
        if "dictionary" not in state:
            raise UserError(f"{source}: contains no characters, so it is not a checkpoint of --task char_lm")
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Use the characters and the styles that a checkpoint stores."""
        self._adopt(state_dict, self.cfg.path or "the checkpoint")

    # Text

    def corpus(self, unit: str) -> CharCorpus:
        """Return the encoded text of all splits."""
        if self._corpus is None:
            self._corpus = open_corpus(corpus_spec(self.cfg, reading(self.cfg, unit)), cache_folder(self.cfg))
        return self._corpus

    def read(self, split: str, length: int) -> TextSplit:
        """Return the text of a split, see :meth:`.WindowsTask.read`."""
        dictionary = self.dictionary
        return self.corpus(dictionary.unit).split(split, dictionary, self.style_names, length, self._origin)


def reading(cfg: CharLMTaskConfig, unit: str) -> Reading:
    """Return how the files are read: their unit, and the source of a document's style."""
    return Reading(str(unit), str(cfg.style_from), cfg.style_key, cfg.jsonl_key)
