"""Causal LMs such as GPT-2: generate, sample, score text; from and to Hugging Face's folders."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from plugins import checkpoints
from plugins.errors import UserError, check
from plugins.modules import generation
from plugins.modules.constraints import Constraints

from . import gpt2
from .language_model import AutoregressiveLM
from .styles import is_number

CONTEXT = 8  # tokens of context when a piece of text is decoded; without it, sentencepiece would drop a leading space
Text = str | Sequence[int] | Tensor


class CausalLM(AutoregressiveLM):
    """A causal LM with its tokenizer. Arguments that are a text may also be given as tokens."""

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike, base: str | None = None) -> "CausalLM":
        """Load a checkpoint of ``fairseq-train --arch causal_lm_...``, or a Hugging Face folder.

        Args:
            path: the ``.pt`` file, with its tokenizer next to it; the folder with ``checkpoint_best.pt`` or
                ``checkpoint_last.pt``; or the folder of a GPT-2 with ``config.json``.
            base: the checkpoint that an adapter belongs to, if it has been moved.

        Raises:
            UserError: a file is missing, damaged, or does not fit the others.
        """
        if gpt2.is_folder(path):
            check(base is None, f"{path}: not an adapter, so it has no base ({base})")
            model = gpt2.read(path)
            return cls(model, model.decoder.dictionary)
        return cls(*checkpoints.read_causal_lm(checkpoints.find_checkpoint(path), base))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write a folder that Hugging Face transformers loads, see :func:`.gpt2.write`."""
        gpt2.write(self.model, folder)

    @property
    def opening(self) -> list[int]:
        """The end-of-document token."""
        return [self.dictionary.bos()]

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Return the text of tokens (N,); padding is omitted."""
        return self.dictionary.decode(ids)

    def stream(self, prompt: Text = "", length: int = 500, *args: Any, **options: Any) -> Iterator[str]:
        """Return an iterator over the pieces of the text that :meth:`sample` returns.

        Args:
            prompt, length, args, options: those of :meth:`steps`, with n = 1.

        Raises:
            UserError: as :meth:`sample`, at the call and not at the first piece; or n is not 1.
        """
        check(options.get("n", 1) == 1, f"n={options.get('n')!r}: a stream is one text; use sample for several")
        steps = self.steps(prompt, length, *args, **options)
        return self.decoded((int(token) for token in steps), self.encode(prompt)[-CONTEXT:].tolist())

    def decoded(self, tokens: Iterable[int], before: Sequence[int] = ()) -> Iterator[str]:
        """Yield the text of tokens as soon as its characters are complete; ``before`` are the tokens in front."""
        shown, pending = list(before), []
        decode = self.dictionary.decode
        for token in tokens:
            pending.append(token)
            text = decode(shown + pending)[len(decode(shown)) :]
            if not text.endswith("\ufffd"):
                yield text
                shown, pending = (shown + pending)[-CONTEXT:], []
        if pending:
            yield decode(shown + pending)[len(decode(shown)) :]

    def generate(
        self,
        prompts: Text | Iterable[Text],
        max_length: int | None = None,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
        compiled: bool | None = None,
        **search: Any,
    ) -> str | list[str]:
        """Continue prompts up to the end of the document, which the model predicts.

        Args:
            prompts: a text, or several texts, continued in one batch.
            max_length: maximum number of tokens of a continuation; None for as many as fit after the longest prompt.
            min_length: minimum number of tokens.
            no_repeat_ngram: no n-gram of this length occurs twice; 0 for no such rule.
            compiled: see :meth:`steps`.
            search: ``temperature``, ``top_k``, ``top_p``, ``beam``, ``length_penalty`` and ``seed`` of
                :class:`plugins.modules.generation.Search`. The default is greedy search.

        Returns:
            A string for a single text, otherwise a list of strings.

        Raises:
            UserError: an option is invalid, or a prompt and its continuation would not fit the model.
        """
        if isinstance(prompts, str):
            return self.generate([prompts], max_length, min_length, no_repeat_ngram, compiled, **search)[0]
        check(isinstance(prompts, Iterable), f"prompts={prompts!r}: a text or a list of texts is needed")
        prompts = list(prompts)
        wrong = next((prompt for prompt in prompts if not hasattr(prompt, "__len__")), None)
        check(wrong is None, f"prompts: {wrong!r} is not a text; give tokens of one prompt as [tokens]")
        tokens = [self.encode(prompt if len(prompt) else self.opening) for prompt in prompts]  # (T,) each
        longest = max(map(len, tokens), default=0)
        max_length = max(self.block_size - longest, 1) if max_length is None else max_length
        for name, value, least in (
            ("max_length", max_length, 1), ("min_length", min_length, 0), ("no_repeat_ngram", no_repeat_ngram, 0)
        ):  # fmt: skip
            check(is_number(value, least=least), f"{name}={value!r}: an integer, {least} or more, is needed")
        check(
            longest + max_length <= self.block_size,
            f"a prompt of {longest} tokens and max_length={max_length} exceed the model's {self.block_size}",
        )
        try:
            rules = Constraints(self.dictionary.eos(), max_length, min_length, no_repeat_ngram)
            options = generation.Search(**search)
        except (ValueError, TypeError) as error:
            raise UserError(f"generate: {error}") from None
        texts = generation.generate(self.stepper, tokens, rules, options, compiled=compiled)
        return [self.dictionary.decode(text) for text in texts]
