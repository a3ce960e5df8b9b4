"""What a Python user calls: load a checkpoint, then fill masks, or sample, score text and tell its style."""

from . import roberta
from .char_lm import CharLM
from .checkpoints import find_checkpoint, holds_char_lm
from .roberta import MASK, RobertaInterface, local_bpe

__all__ = ["MASK", "CharLM", "RobertaInterface", "load", "local_bpe"]


def load(path):
    """Load a model from a checkpoint, on the CPU and in evaluation mode.

    Args:
        path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.

    Returns:
        A :class:`CharLM` for a character LM, which needs nothing but the file; a :class:`RobertaInterface` for a
        masked LM, whose dictionary and tokeniser are read from the folder.

    Raises:
        UserError: a file is missing, damaged, or does not fit the others.
    """
    path = find_checkpoint(path)
    return CharLM.from_pretrained(path) if holds_char_lm(path) else roberta.load(path)
