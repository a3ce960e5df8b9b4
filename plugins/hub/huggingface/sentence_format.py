"""Embedding models as folders of sentence-transformers, which are folders of transformers with a list of modules."""

from typing import Any

from plugins.data.text.tokenizers_library import CONFIG_FILE
from plugins.errors import UserError

from ..causal_lm import CausalLM
from ..embedder import Embedder
from ..roberta import RobertaInterface
from . import masked_lm, tokenizers_out
from .contents import Contents
from .sentence_in import POOLING

MODULES = ("Transformer", "Pooling", "Normalize")
NORMALIZE = "2_Normalize/config.json"


def contents(embedder: Embedder) -> Contents:
    """Return the content of the folder of a masked LM or a GPT-2 with its pooling: transformers' own files,
    ``modules.json``, ``1_Pooling``, and ``2_Normalize`` where vectors have length one.

    Raises:
        UserError: transformers or sentence-transformers does not support the model.
    """
    pooling = embedder.head.pooling
    if pooling not in POOLING:
        raise UserError(f"pooling {pooling!r}: sentence-transformers has {', '.join(POOLING)}")
    found = model_contents(embedder)
    normalize = getattr(embedder.head, "normalize", False)
    rows = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(MODULES if normalize else MODULES[:2])
    ]
    modes = {mode: name == pooling for name, mode in POOLING.items()}
    more: dict[str, Any] = {
        "modules.json": rows,
        "sentence_bert_config.json": {"max_seq_length": embedder.longest, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": embedder.width, **modes},
    }
    found.files |= more | ({NORMALIZE: {}} if normalize else {})
    found.pipeline = "sentence-similarity"
    return found


def model_contents(embedder: Embedder) -> Contents:
    """Return the content of the folder of a model without its pooling.

    Raises:
        UserError: transformers does not have the model.
    """
    from .. import gpt2

    lm = embedder.lm
    if isinstance(lm, RobertaInterface):
        return masked_lm.contents(lm, None, None)
    if not isinstance(lm, CausalLM) or not gpt2.is_gpt2(lm.model):
        raise UserError(
            f"sentence-transformers loads models that transformers has: masked LMs, and causal LMs with learned "
            f"positions (GPT-2), not a {type(lm).__name__} of this form"
        )
    found = gpt2.contents(lm.model)
    symbol = found.files[CONFIG_FILE]["bos_token"]
    found.files |= tokenizers_out.with_first(found.files, symbol, lm.dictionary.bos())
    # GPT-2 counts positions from the first column, so padding must be on the right.
    found.files[CONFIG_FILE]["padding_side"] = "right"
    return found
