"""The interface that the analysis tools expect of a language model. Models from ``plugins.hub.load`` implement it."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from fairseq.data import Dictionary
from omegaconf import DictConfig
from torch import Tensor


class LanguageModel(Protocol):
    """A model with its dictionary and tokenizer, and flags for what it can do.

    Attributes:
        model: the network, with ``max_positions()``.
        styles: names of the styles, empty for a model without a style adapter.
        reads_characters: tokens are characters or bytes, so that a text can be cut anywhere.
        fills_masks: implements :class:`MaskFiller`.
        continues_text: implements :class:`TextGenerator`.
    """

    model: Any  # fairseq's classes have no types
    styles: Sequence[str]
    reads_characters: bool
    fills_masks: bool
    continues_text: bool

    @property
    def options(self) -> DictConfig:
        """The options of the model, defaults filled in."""

    @property
    def dictionary(self) -> Dictionary:
        """Maps ids to symbols; its first ``nspecial`` symbols are special tokens."""

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


class StyleLM(TextGenerator, Protocol):
    """A character LM whose text may have styles; :class:`plugins.hub.CharLM` implements it."""

    @property
    def block_size(self) -> int:
        """The maximum number of tokens that the model takes."""

    @property
    def default_refresh(self) -> int:
        """The stride of the windows past the end of the block."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""

    @property
    def opening(self) -> str:
        """The text that replaces an empty prompt."""

    @property
    def characters(self) -> list[str]:
        """The characters, or bytes, in the order of their indices."""

    @property
    def sees_the_future(self) -> bool:
        """Whether the style at a position depends on the text after it."""

    def check_styles(self) -> None:
        """Raise a :class:`~plugins.errors.UserError` for a model without styles."""

    def check_refresh(self, refresh: int) -> None:
        """Raise a :class:`~plugins.errors.UserError` for a stride that is out of range."""

    def encode_some(self, text: str, least: int) -> Tensor:
        """Return the tokens (T,) of a text; raise a :class:`~plugins.errors.UserError` if they are fewer than that."""
