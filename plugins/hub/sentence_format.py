"""Export an embedding model as a folder that sentence-transformers loads."""

from pathlib import Path

from plugins.errors import UserError, check
from plugins.files import write_json

from .embedder import Embedder
from .huggingface.export import export
from .roberta import RobertaInterface

POOLING = {"mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens", "bos": "pooling_mode_cls_token",
           "last": "pooling_mode_lasttoken"}  # fmt: skip
MODULES = ("Transformer", "Pooling", "Normalize")


def export_sentence_transformers(embedder: Embedder, folder: str | Path) -> None:
    """Write a masked LM with its pooling as a sentence-transformers folder: transformers' own files, ``modules.json``,
    ``1_Pooling/config.json``, and ``2_Normalize`` where vectors have length one.

    Args:
        embedder: returned by ``plugins.hub.load`` for a checkpoint of ``--task embedding``.
        folder: a new folder.

    Raises:
        UserError: the folder exists, or transformers or sentence-transformers does not support the model.
    """
    folder, pooling = Path(folder), embedder.head.pooling
    check(isinstance(embedder.lm, RobertaInterface), "only masked LMs are exported to sentence-transformers")
    if pooling not in POOLING:
        raise UserError(f"pooling {pooling!r}: sentence-transformers has {', '.join(POOLING)}")
    export(embedder.lm, folder)
    modules = MODULES if embedder.head.normalize else MODULES[:2]
    rows = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(modules)
    ]
    write_json(folder / "modules.json", rows, indent=2)
    limits = {"max_seq_length": embedder.longest, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", limits, indent=2)
    modes = {mode: name == pooling for name, mode in POOLING.items()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": embedder.width, **modes}, indent=2)
    if embedder.head.normalize:
        (folder / "2_Normalize").mkdir()
