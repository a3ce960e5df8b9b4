"""Python interface: load a checkpoint, then fill masks, or generate text, score it and classify its style."""

import os
from typing import Any

from fairseq.models.roberta import RobertaModel

from plugins import checkpoints
from plugins.checkpoints import find_checkpoint, kind_of
from plugins.errors import UserError, check
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.char_lm import CharLanguageModel

from . import roberta
from .causal_lm import CausalLM
from .char_lm import CharLM
from .embedder import Embedder, saved_settings
from .huggingface.export import export
from .positions import scale_positions
from .roberta import MASK, RobertaInterface, local_bpe
from .scorer import Scorer
from .sentence_format import export_sentence_transformers

__all__ = [
    "MASK", "CausalLM", "CharLM", "Embedder", "RobertaInterface", "Scorer", "export",
    "export_sentence_transformers", "find_checkpoint", "kind_of",
    "load", "local_bpe", "scale_positions",
]  # fmt: skip

checkpoints.loads("char_lm", CharLanguageModel)(CharLM.from_pretrained)
checkpoints.loads("causal_lm", CausalLanguageModel)(CausalLM.from_pretrained)
checkpoints.loads("masked_lm", RobertaModel)(roberta.load)


@checkpoints.reading_once()
def load(path: str | os.PathLike, base: str | None = None) -> CharLM | CausalLM | RobertaInterface | Embedder:
    """Load a model from a checkpoint, on the CPU and in evaluation mode.

    Args:
        path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.
        base: the checkpoint that an adapter (of ``--peft``) belongs to, if it has been moved.

    Returns:
        An :class:`Embedder` for a checkpoint of ``--task embedding``, a :class:`Scorer` for ``--task preference``; else
        a :class:`CharLM` for a character LM, which needs nothing but the file; a :class:`CausalLM` for a causal LM or a
        :class:`RobertaInterface` for a masked LM, whose dictionary and tokenizer are read from the folder.

    Raises:
        UserError: a file is missing, damaged, or does not fit the others.
    """
    for name, value in (("path", path), ("base", base or "")):
        check(isinstance(value, str | os.PathLike), f"{name}={value!r}: the path of a checkpoint (str) is needed")
    path = find_checkpoint(path)
    if saved_settings(path):
        return Embedder.from_pretrained(path, base=base)
    if saved_settings(path, "preference"):
        return Scorer.from_pretrained(path, base)
    return checkpoints.load(path, base)


def language_model_of(model: Any, path: str | os.PathLike, predicts: bool = True) -> Any:
    """Return the language model of a loaded checkpoint, for tools that read text with it.

    Args:
        model: returned by :func:`load`.
        path: the checkpoint, for the error.
        predicts: the tool needs its predictions, not only its attention.

    Raises:
        UserError: the predictions of an :class:`Embedder` are needed, which its training has not kept.
    """
    if not isinstance(model, Embedder):
        return model
    if predicts:
        raise UserError(
            f"{path}: trained by --task embedding or preference, so it has no language-model head; pass the "
            "language model that it was trained from"
        )
    return model.lm
