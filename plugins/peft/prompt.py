"""Prompt tuning (Lester et al., 2021, arXiv 2104.08691): ``--peft prompt``."""

import contextlib

import torch

from plugins.errors import UserError
from plugins.modules.soft_prompt import SoftPrompt

from .tuning import Method, Parts

NO_MERGE = "a prompt cannot be merged: it stands in the input, and no weights do the same; use it with its base"


class Prompt(Method):
    """Learned vectors in the input.

    They begin as the embeddings of given words, or of words drawn from the vocabulary ("sampled vocabulary", section
    3.2), and have positions of their own, as in the peft library: the text starts after them.

    Args:
        words: tokens (N,) to begin as, cut or repeated to fit; None to draw them.
    """

    def __init__(self, cfg, identity, words=None):
        super().__init__(cfg, identity)
        self.words = words

    def install(self, model, parts: Parts) -> None:
        table = parts.table.weight
        if self.words is None:
            words = torch.randint(len(table), (self.cfg.prompt_tokens,), device=table.device)
        else:
            index = torch.arange(self.cfg.prompt_tokens) % len(self.words)
            words = torch.as_tensor(self.words)[index].to(table.device)
        parts.body.prompt = SoftPrompt(parts.body.look_up(words), parts.prompt_at)

    def merge(self, model):
        raise UserError(NO_MERGE)

    unmerge = merge

    @contextlib.contextmanager
    def disabled(self, model):
        body = model.peft_parts().body
        prompt, body.prompt = body.prompt, None
        try:
            yield
        finally:
            body.prompt = prompt
