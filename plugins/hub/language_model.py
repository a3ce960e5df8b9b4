"""Sampling and scoring, shared by the interfaces to character LMs and to causal LMs."""

import functools
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, Self

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from omegaconf import DictConfig
from torch import Tensor, nn

from plugins.errors import UserError, check
from plugins.modules import sampling
from plugins.modules.decoding import Stepper
from plugins.modules.int8 import quantize

from .devices import move
from .styles import is_number

SCORED_AT_ONCE = 8192  # tokens in a forward pass of loss and logits,
LOGITS_AT_ONCE = 1 << 26  # unless their logits would be more numbers than these


class AutoregressiveLM:
    """A language model that predicts each token from the tokens before it, with its dictionary.

    ``inputs`` of the methods are additional inputs of the model, for example styles.

    Args:
        model: the network; it is put into evaluation mode.
        dictionary: encodes and decodes text.
    """

    unit = "tokens"
    reads_characters = False
    fills_masks = False
    continues_text = True
    styles: Sequence[str] = ()

    model: Any  # fairseq's classes have no types

    def __init__(self, model: nn.Module, dictionary: Dictionary):
        self.model, self.dictionary = model.eval(), dictionary
        self.stepper = Stepper(self.model)

    @property
    def options(self) -> DictConfig:
        """The options of the model, defaults filled in."""
        return self.model.cfg

    @property
    def block_size(self) -> int:
        """The maximum number of tokens that the model takes."""
        return self.model.max_positions()

    @property
    def default_refresh(self) -> int:
        """The default of ``refresh`` in :meth:`steps`: an eighth of the block."""
        return max(1, self.block_size // 8)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move the model to a device, convert its weights to a dtype (see :func:`move`) and return self.

        On a CPU, sampling a single text is bound by reading the weights, and ``torch.bfloat16`` is faster than
        ``torch.float32``; probabilities are rounded accordingly. ``torch.int8`` converts the weights of the linear
        layers (see :mod:`plugins.modules.int8`), and is faster if steps are compiled. The model cannot be saved
        afterwards.
        """
        if dtype is torch.int8:
            move(self.model, device)
            quantize(self.model.decoder)
        else:
            move(self.model, device, dtype)
        return self

    # Sampling

    @property
    def opening(self) -> str | list[int]:
        """The text or tokens that replace an empty prompt."""
        raise NotImplementedError

    def sample(
        self, prompt: str | Sequence[int] | Tensor = "", length: int = 500, *args: Any, n: int = 1, **options: Any
    ) -> str | list[str]:
        """Return a continuation of a prompt, without the prompt: ``length`` tokens.

        Args:
            n: the number of samples, drawn in one batch.
            prompt, length, args, options: see :meth:`steps`.

        Returns:
            A string for ``n=1``, otherwise a list of n strings.

        Raises:
            UserError: an argument is invalid, or the prompt contains an unknown symbol.
        """
        steps = list(self.steps(prompt, length, *args, **(options | {"n": n})))
        tokens = torch.stack(steps, dim=1).cpu() if steps else torch.empty(n, 0, dtype=torch.long)  # (n, length)
        texts = [self.dictionary.decode(row) for row in tokens.tolist()]
        return texts[0] if n == 1 else texts

    def steps(
        self, prompt: str | Sequence[int] | Tensor = "", length: int = 500, temperature: float = 0.8,
        top_k: int | None = 200, top_p: float | None = None, seed: int | None = 1337, n: int = 1,
        refresh: int | None = None, cached: bool = True, slide: bool = False, compiled: bool | None = None,
        **inputs: Any,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Check the arguments and return an iterator over the tokens drawn: ``length`` tensors (n,) of int64.

        Args:
            prompt: the text to continue, or its tokens. The model sees its last :attr:`block_size` tokens. An empty
                prompt is replaced by :attr:`opening`.
            length: the number of tokens to draw.
            temperature: divides the logits; 0 always takes the likeliest token.
            top_k: draw from the k likeliest tokens only; None for all.
            top_p: draw from the smallest set of tokens with this total probability (nucleus sampling, Holtzman et
                al., 2020, section 3.1); None for all.
            seed: random seed; None for a different one at each call.
            n: the number of samples, drawn in one batch.
            refresh: how the window moves past the end of the block, see :func:`plugins.modules.sampling.generate`:
                1 encodes a whole block for each token; larger values are faster.
            cached: False encodes the whole context for each token: the same text, but slow.
            slide: past the end of the block let the cache slide instead, so that nothing is encoded twice: in each
                layer a token attends to those of the last block. For alibi and rotary positions.
            compiled: True compiles the steps on a CPU, which takes seconds; None does so if the number of tokens drawn
                from this object repays it; see :mod:`plugins.modules.decoding` for the limits.

        Raises:
            UserError: an argument is invalid, or the prompt contains an unknown symbol.
        """
        refresh = self.default_refresh if refresh is None else refresh
        check_sampling(self.unit, length, temperature, top_k, top_p, seed)
        self.check_count(n)
        self.check_refresh(refresh)
        tokens = self.encode(prompt)  # (T,)
        tokens = tokens if len(tokens) else self.encode(self.opening)
        generator = torch.Generator(self.device)
        generator.seed() if seed is None else generator.manual_seed(int(seed))
        check(cached or not slide, "slide=True needs the cache: leave out cached=False")
        cache = self.model.new_cache(n, self.block_size if slide else None) if cached else None
        if cache is not None:
            self.stepper.prepare(cache, n, length, compiled)
        next_logits = functools.partial(self.stepper.next_logits, cache=cache, **inputs)
        draw: Callable[[Tensor], Tensor] = functools.partial(
            sampling.draw, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator
        )
        unlimited = (top_k is None or top_k >= len(self.dictionary)) and (top_p is None or top_p >= 1)
        if cache is not None and temperature > 0 and unlimited:
            draw = cache.race = sampling.Race(temperature, generator)
        return sampling.generate(next_logits, draw, tokens.expand(n, -1), length, self.block_size, refresh, cache)

    # Scoring

    @torch.inference_mode()
    def logits(self, text: str | Sequence[int] | Tensor, **inputs: Any) -> Tensor:
        """Return the logits of the token after each token of a text.

        Args:
            text: a string or its tokens, at least one. Longer texts than :attr:`block_size` are split into blocks.

        Returns:
            (T, V) float32. Row t depends on the tokens of its block up to t only.

        Raises:
            UserError: the text is empty or contains an unknown symbol.
        """
        return torch.cat(list(self.windows(self.encode_some(text, 1), self.block_size, **inputs)))

    @torch.inference_mode()
    def loss(self, text: str | Sequence[int] | Tensor, refresh: int | None = None, **inputs: Any) -> float:
        """Return the mean of -ln p over the tokens of a text, each predicted from those before it.

        The first token is not predicted and does not count. A text longer than :attr:`block_size` is read in windows.
        By default they do not overlap, as in training, and a token at the start of a window has little context.

        Args:
            text: a string or its tokens, at least two.
            refresh: the stride of the windows; of each window but the first, the last ``refresh`` predictions count.
                1 gives each token a whole block of context; the value of :meth:`sample` gives the context used there.

        Returns:
            Nats per token.

        Raises:
            UserError: the text is too short or contains an unknown symbol.
        """
        refresh = self.block_size if refresh is None else refresh
        self.check_refresh(refresh)
        tokens = self.encode_some(text, 2)
        total, done = torch.zeros((), dtype=torch.float64, device=self.device), 1
        for logits in self.windows(tokens[:-1], refresh, **inputs):
            total += F.cross_entropy(logits, tokens[done : done + len(logits)], reduction="sum")
            done += len(logits)
        return total.item() / (len(tokens) - 1)

    def windows(self, tokens: Tensor, refresh: int, **inputs: Any) -> Iterator[Tensor]:
        """Yield the logits (N, V) of the token after each token, in the order of the text, by batches of windows.

        Args:
            tokens: (T,).
            refresh: the stride of the windows; only predictions that the windows before do not cover are yielded.
        """
        size, left = min(self.block_size, len(tokens)), len(tokens)
        padding = -(left - size) % refresh  # the model is causal: padding after the text changes nothing
        windows = F.pad(tokens, (0, padding)).unfold(0, size, refresh)  # (W, size)
        tokens_at_once = min(SCORED_AT_ONCE, LOGITS_AT_ONCE // len(self.dictionary))
        for i, batch in enumerate(windows.split(max(1, tokens_at_once // size))):
            logits = self.causal_logits(batch, **inputs)  # (B, size, V)
            new = logits[:, -refresh:].flatten(0, 1)  # (B * refresh, V)
            if i == 0:
                new = torch.cat([logits[0, :-refresh], new])
            yield new[:left].float()
            left -= min(left, len(new))

    def causal_logits(self, tokens: Tensor, **inputs: Any) -> Tensor:
        """Return the logits (B, T, V) after each of the tokens (B, T), given that token and those before it only."""
        return self.model(tokens, **inputs)[0]

    # Arguments

    def tokens(self, ids: Tensor) -> list[str]:
        """Return ids (T,) as readable strings, see :meth:`plugins.analysis.language_model.LanguageModel.tokens`."""
        return [readable(self.dictionary.decode([i]), self.dictionary[i]) for i in ids.tolist()]

    def encode(self, text: str | Sequence[int] | Tensor) -> Tensor:
        """Return the tokens (T,) of a text, on the model's device; tokens are returned unchanged.

        Raises:
            UserError: neither text nor token ids, or ids outside the dictionary.
        """
        if isinstance(text, str):
            return self.dictionary.encode(text).to(self.device)
        try:
            tokens = torch.as_tensor(text)  # (T,)
        except (TypeError, ValueError, RuntimeError):
            tokens = None
        if tokens is None or tokens.ndim != 1 or (len(tokens) and not is_integer(tokens)):
            raise UserError(f"{type(text).__name__} found, but a text (str) or its tokens are needed")
        tokens = tokens.long()
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < len(self.dictionary):
            wrong = next(i for i in tokens.tolist() if not 0 <= i < len(self.dictionary))
            raise UserError(f"token {wrong}: the dictionary has tokens 0 to {len(self.dictionary) - 1}")
        return tokens.to(self.device)

    def encode_some(self, text: str | Sequence[int] | Tensor, least: int) -> Tensor:
        """Return the tokens (T,) of a text.

        Raises:
            UserError: fewer than ``least``, or as in :meth:`encode`.
        """
        tokens = self.encode(text)
        check(len(tokens) >= least, f"{text!r} is too short: at least {least} {self.unit} are needed")
        return tokens

    def check_count(self, n: int) -> None:
        """Raise a :class:`UserError` unless ``n`` is a number of samples."""
        check(is_number(n, least=1), f"n={n!r}: the number of samples, 1 or more, is needed")

    def check_refresh(self, refresh: int) -> None:
        """Raise a :class:`UserError` unless ``refresh`` is a stride within a block."""
        limit = self.block_size
        fits = is_number(refresh, least=1) and refresh <= limit
        check(fits, f"refresh={refresh!r}: an integer from 1 to the block size, {limit}, is needed")


def check_sampling(unit: str, length: Any, temperature: Any, top_k: Any, top_p: Any, seed: Any) -> None:
    """Raise a :class:`UserError` unless the arguments of :meth:`AutoregressiveLM.steps` are in range."""
    check(is_number(length), f"length={length!r}: the number of {unit} to draw, 0 or more, is needed")
    check(is_number(temperature, Real), f"temperature={temperature!r}: 0 (the likeliest always) or more is needed")
    check(top_k is None or is_number(top_k, least=1), f"top_k={top_k!r}: 1, 2, ... is needed, or None for all")
    fits = top_p is None or (is_number(top_p, Real) and 0 < top_p <= 1)
    check(fits, f"top_p={top_p!r}: a probability above 0 is needed, or None for all")
    fits = seed is None or (is_number(seed, least=-(2**63)) and seed < 2**64)
    check(fits, f"seed={seed!r}: a 64-bit integer is needed, or None for a different one at each call")


def is_integer(tensor: Tensor) -> bool:
    """Return whether a tensor contains integers."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def readable(text: str, symbol: str) -> str:
    """Return a decoded subword with a space in front where a word starts.

    A part of a character, which does not decode by itself, is shown by its symbol, for example ``<0xD7>``.
    """
    if "\ufffd" in text and not symbol.isdigit():
        return symbol
    stripped = symbol.startswith("\u2581") and not text.startswith(" ")  # as by sentencepiece's decoder
    return " " + text if stripped else text
