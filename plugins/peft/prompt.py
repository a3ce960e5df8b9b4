"""Prompt tuning (Lester et al., 2021, arXiv 2104.08691): ``--peft prompt``."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from plugins.errors import UserError
from plugins.modules.soft_prompt import SoftPrompt

from .tuning import Method, Parts, parts_of

NO_MERGE = "a prompt cannot be merged: it is part of the input, which no weights can replace; use it with its base"


class PromptTuning(Method):
    """Learned vectors in the input.

    They are initialized with the embeddings of given words, or of words sampled from the vocabulary ("sampled
    vocabulary", section 3.2). As in the peft library they take up positions: the text starts after them.

    Args:
        cfg: the options of :class:`plugins.peft.PeftConfig`, completed.
        identity: the SHA-256 of the base.
        words: N tokens to initialize with, cut or repeated to fit; None to sample them.
    """

    def __init__(self, cfg: Any, identity: bytes, words: Sequence[int] | None = None):
        super().__init__(cfg, identity)
        self.words = words

    def install(self, model: nn.Module, parts: Parts) -> None:
        table = parts.table.weight
        if self.words is None:
            words = torch.randint(len(table), (self.cfg.prompt_tokens,), device=table.device)
        else:
            index = torch.arange(self.cfg.prompt_tokens) % len(self.words)
            words = torch.as_tensor(self.words)[index].to(table.device)
        parts.body.prompt = SoftPrompt(parts.body.look_up(words), parts.prompt_at)

    def merge(self, model: nn.Module) -> None:
        """Raise an error: see :data:`NO_MERGE`.

        Raises:
            UserError: always.
        """
        raise UserError(NO_MERGE)

    unmerge = merge

    @contextlib.contextmanager
    def disabled(self, model: nn.Module) -> Iterator[None]:
        body = parts_of(model).body
        prompt, body.prompt = body.prompt, None
        try:
            yield
        finally:
            body.prompt = prompt
