"""Embedding models as folders of sentence-transformers, which are folders of transformers with a list of modules."""

from typing import Any

from plugins.errors import UserError, check

from ..embedder import Embedder
from ..roberta import RobertaInterface
from . import masked_lm
from .contents import Contents

POOLING = {"mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens", "bos": "pooling_mode_cls_token",
           "last": "pooling_mode_lasttoken"}  # fmt: skip
MODULES = ("Transformer", "Pooling", "Normalize")
NORMALIZE = "2_Normalize/config.json"


def contents(embedder: Embedder) -> Contents:
    """Return the content of the folder of a masked LM with its pooling: transformers' own files, ``modules.json``,
    ``1_Pooling``, and ``2_Normalize`` where vectors have length one.

    Raises:
        UserError: transformers or sentence-transformers does not support the model.
    """
    pooling = embedder.head.pooling
    check(isinstance(embedder.lm, RobertaInterface), "only masked LMs are exported to sentence-transformers")
    if pooling not in POOLING:
        raise UserError(f"pooling {pooling!r}: sentence-transformers has {', '.join(POOLING)}")
    found = masked_lm.contents(embedder.lm, None, None)
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
