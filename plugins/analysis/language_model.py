"""The interface that the analysis tools expect of a language model. What ``plugins.hub.load`` returns implements it."""

from collections.abc import Sequence
from typing import Any, Protocol

from fairseq.data import Dictionary
from omegaconf import DictConfig
from torch import Tensor


class LanguageModel(Protocol):
    """A model with its dictionary and tokenizer, and flags for what it can do.

    Attributes:
        model: the network, with ``max_positions()``.
        options: of the model, defaults filled in.
        dictionary: maps ids to symbols; its first ``nspecial`` symbols are special tokens.
        styles: names of the styles, empty for a model without a style adapter.
        reads_characters: tokens are characters or bytes, so that a text can be cut anywhere.
        fills_masks: implements :class:`MaskFiller`.
        continues_text: implements :class:`TextGenerator`.
    """

    model: Any  # fairseq's classes have no types
    options: DictConfig
    dictionary: Dictionary
    styles: Sequence[str]
    reads_characters: bool
    fills_masks: bool
    continues_text: bool

    def encode(self, text: str) -> Tensor:
        """Return the ids (T,) of a text, with the special tokens around it that the model was trained with."""

    def tokens(self, ids: Tensor) -> list[str]:
        """Return ids (T,) in readable form, one string per token.

        Characters are returned unchanged, so that they join to the text; of bytes, ASCII is unchanged and others are
        two hexadecimal digits; subwords that start a word begin with a space; special tokens are their names, for
        example ``<s>``.
        """


class MaskFiller(LanguageModel, Protocol):
    """A language model that predicts the tokens at ``<mask>``."""

    def fill_mask(self, masked_input: str | Sequence[str], topk: int = 5) -> list:
        """Return the likeliest answers for each mask."""

    def single_token(self, target: str) -> int:
        """Return the id of a word that is one token; otherwise raise a :class:`~plugins.errors.UserError`."""


class TextGenerator(LanguageModel, Protocol):
    """A language model that predicts each token from the tokens before it."""

    def sample(
        self, prompt: str = "", length: int = 500, *, temperature: float = 0.8, seed: int | None = 1337, **inputs: Any
    ) -> Any:
        """Return a continuation of a prompt, without the prompt; ``inputs`` are further ones of the model."""

    def logits(self, text: str) -> Tensor:
        """Return the logits (T, V) of the token after each token of a text."""
