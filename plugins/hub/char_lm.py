"""Character LMs: sample, score text, classify its style."""

import codecs
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plugins import checkpoints
from plugins.data.text.char_dictionary import CharDictionary
from plugins.errors import check

from .characters import read_characters
from .language_model import AutoregressiveLM
from .styles import Style, weights_of

Text = str | Sequence[int] | Tensor


class CharLM(AutoregressiveLM):
    """A character LM with its characters and the names of its styles.

    A byte model has the 256 bytes as characters; its text is UTF-8.

    Methods with a ``style`` argument take
        - None: the model infers the style from the text so far;
        - a name in :attr:`styles`, or a mixture {name: weight}, normalized to sum to 1;
        - False, or ``"none"``: no style.

    Args:
        model: the CharLanguageModel.
        dictionary: its characters.
        styles: the names of its styles; numbers if they have no names.
    """

    unit = "characters"
    reads_characters = True

    def __init__(self, model: nn.Module, dictionary: CharDictionary, styles: Sequence[str] = ()):
        super().__init__(model, dictionary)
        count = self.model.num_styles
        self.styles = list(styles) if len(styles) == count else [str(i) for i in range(count)]

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike, base: str | None = None) -> "CharLM":
        """Load a checkpoint of ``fairseq-train --task char_lm``; no other file is needed.

        Args:
            path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.
            base: the checkpoint that an adapter belongs to, if it has been moved.

        Raises:
            UserError: the file is missing, damaged, or of another kind of model.
        """
        return cls(*checkpoints.read_char_lm(checkpoints.find_checkpoint(path), base))

    @classmethod
    def from_nanogpt(
        cls, checkpoint: str | os.PathLike, itos_or_meta: str | os.PathLike | Sequence[str] | Mapping
    ) -> "CharLM":
        """Load a checkpoint of nanoGPT's character model.

        Args:
            checkpoint: its ``ckpt.pt``.
            itos_or_meta: its ``meta.pkl``, or the characters, see :func:`.characters.read_characters`.

        Raises:
            UserError: a file is damaged, contains more than plain data, or does not fit the other.
        """
        return cls(*checkpoints.read_nanogpt(os.fspath(checkpoint), read_characters(itos_or_meta)))

    @classmethod
    def from_multi_style(
        cls, checkpoint: str | os.PathLike, characters: str | os.PathLike | Sequence[str] | Mapping
    ) -> "CharLM":
        """Load a checkpoint of the published Multi-Style Adapter. Its styles depend on later text and have no names.

        Args:
            checkpoint: the file, with nanoGPT's keys and the weights of the styles.
            characters: in the order of their indices, see :func:`.characters.read_characters`.

        Raises:
            UserError: a file is damaged, contains more than plain data, or does not fit the other.
        """
        return cls(*checkpoints.read_multi_style(os.fspath(checkpoint), read_characters(characters)))

    # Properties

    @property
    def characters(self) -> list[str]:
        """The characters, in the order of the columns of :meth:`logits`."""
        return self.dictionary.characters

    @property
    def opening(self) -> str:
        """A line break, or the first character of a model without one."""
        return "\n" if "\n" in self.characters else self.characters[0]

    @property
    def sees_the_future(self) -> bool:
        """True for the published style adapter, whose style at a position depends on the text after it."""
        return self.model.num_styles > 0 and self.model.cfg.style_inference == "published"

    def tokens(self, ids: Tensor) -> list[str]:
        """Return ids (T,) as characters; of bytes, ASCII as it is and others as two hexadecimal digits."""
        symbols = [self.characters[i] for i in ids.tolist()]
        if self.dictionary.unit != "byte":
            return symbols
        return [symbol if symbol.isascii() else f"{ord(symbol):02x}" for symbol in symbols]

    # Sampling

    def stream(self, prompt: Text = "", length: int = 500, *args: Any, **options: Any) -> Iterator[str]:
        """Return an iterator over the pieces of the text that :meth:`sample` returns.

        Args:
            prompt: the text to continue. The model sees its last :attr:`block_size` characters. An empty prompt is
                replaced by :attr:`opening`.
            length: the number of characters to draw; bytes for a byte model, which yields whole characters.
            args, options: ``temperature``, ``top_k``, ``top_p``, ``seed``, ``style``, ``refresh`` and ``cached`` of
                :meth:`steps`.

        Raises:
            UserError: as :meth:`sample`, at the call and not at the first piece; or n is not 1.
        """
        check(options.get("n", 1) == 1, f"n={options.get('n')!r}: a stream is one text; use sample for several")
        steps = self.steps(prompt, length, *args, **options)
        return self.decoded(int(token) for token in steps)

    def decoded(self, tokens: Iterable[int]) -> Iterator[str]:
        """Yield the text of tokens as soon as a character is complete."""
        if self.dictionary.unit != "byte":
            yield from (self.characters[i] for i in tokens)
            return
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        yield from filter(None, (decoder.decode(bytes([i])) for i in tokens))
        yield from filter(None, [decoder.decode(b"", final=True)])

    def steps(  # type: ignore[override]  # style comes before n, also by position
        self, prompt: Text = "", length: int = 500, temperature: float = 0.8, top_k: int | None = 200,
        top_p: float | None = None, seed: int | None = 1337, style: Style = None, n: int = 1,
        refresh: int | None = None, cached: bool = True, slide: bool = False, compiled: bool | None = None,
    ) -> Iterator[Tensor]:  # fmt: skip
        """See :meth:`.AutoregressiveLM.steps`, and the class for ``style``."""
        cached = cached and not self.sees_the_future
        self.check_count(n)
        return super().steps(
            prompt, length, temperature, top_k, top_p, seed, n, refresh, cached, slide, compiled,
            styles=self.style_weights(style, n),
        )  # fmt: skip

    # Scoring

    def logits(  # type: ignore[override]  # a style is the only further input
        self, text: Text, style: Style = None
    ) -> Tensor:
        """Return the logits of the character after each character of a text, see :meth:`.AutoregressiveLM.logits`.

        Args:
            text: at least one character.
            style: see the class.

        Returns:
            (T, V) float32, columns in the order of :attr:`characters`; T counts bytes for a byte model.
        """
        return super().logits(text, style=style)

    def loss(  # type: ignore[override]  # style comes before refresh, also by position
        self, text: Text, style: Style = None, refresh: int | None = None
    ) -> float:
        """Return nats per character, or per byte: see :meth:`.AutoregressiveLM.loss`, and the class for ``style``."""
        return super().loss(text, refresh, style=style)

    @torch.inference_mode()
    def classify_style(self, text: Text) -> dict[str, float]:
        """Return the probability of each style; they sum to 1.

        It is the style inferred at the end of the text. For a text longer than :attr:`block_size` characters, it is
        the mean over its blocks, weighted by their lengths.

        Raises:
            UserError: the model has no styles, the text is empty, or contains an unknown character.
        """
        self.check_styles()
        tokens = self.encode_some(text, 1)
        total = torch.zeros(len(self.styles), device=self.device)
        for block in tokens.split(self.block_size):
            logits = self.model(block[None])[1]["style_logits"]  # (1, T, K)
            check(logits is not None, f"--style-inference {self.model.cfg.style_inference} infers no style from a text")
            total += len(block) * logits[0, -1].float().softmax(-1)
        return dict(zip(self.styles, (total / len(tokens)).tolist(), strict=True))

    def causal_logits(self, tokens: Tensor, style: Style) -> Tensor:  # type: ignore[override]  # as in logits
        """See :meth:`.AutoregressiveLM.causal_logits`; a model that sees the future runs once per prefix."""
        styles = self.style_weights(style, len(tokens))
        if not self.sees_the_future:
            return self.model(tokens, styles=styles)[0]
        ends = range(1, tokens.size(1) + 1)
        return torch.stack([self.model(tokens[:, :end], styles=styles)[0][:, -1] for end in ends], dim=1)

    # Arguments

    def check_styles(self) -> None:
        """Raise a :class:`UserError` for a model without styles."""
        check(self.styles, "this model has no styles; models trained with --arch style_char_lm_... have")

    def style_weights(self, style: Style, count: int) -> Tensor | None:
        """Return the weights (count, K) of the styles, or None for the model to infer them."""
        if style is None or (not self.styles and style in (False, "none")):
            return None
        self.check_styles()
        return torch.tensor(weights_of(style, self.styles), device=self.device).expand(count, -1)
