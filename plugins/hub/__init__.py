"""Python interface: load a checkpoint, then fill masks, or generate text, score it and classify its style."""

from . import roberta
from .causal_lm import CausalLM
from .char_lm import CharLM
from .checkpoints import find_checkpoint, kind_of
from .roberta import MASK, RobertaInterface, local_bpe

__all__ = ["MASK", "CausalLM", "CharLM", "RobertaInterface", "load", "local_bpe"]


def load(path, base=None):
    """Load a model from a checkpoint, on the CPU and in evaluation mode.

    Args:
        path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.
        base: the checkpoint that an adapter (of ``--peft``) belongs to, if it is no longer where it was.

    Returns:
        A :class:`CharLM` for a character LM, which needs nothing but the file; a :class:`CausalLM` for a causal LM or
        a :class:`RobertaInterface` for a masked LM, whose dictionary and tokenizer are read from the folder.

    Raises:
        UserError: a file is missing, damaged, or does not fit the others.
    """
    path = find_checkpoint(path)
    loaders = {"char_lm": CharLM.from_pretrained, "causal_lm": CausalLM.from_pretrained, "masked_lm": roberta.load}
    return loaders[kind_of(path)](path, base)
