"""Export an embedding model as a folder that sentence-transformers loads."""

from pathlib import Path

from plugins.errors import check

from .embedder import Embedder
from .huggingface.export import export
from .roberta import RobertaInterface


def export_sentence_transformers(embedder: Embedder, folder: str | Path) -> None:
    """Write a masked LM with its pooling as a folder of sentence-transformers; the same as :func:`export`.

    Args:
        embedder: returned by ``plugins.hub.load`` for a checkpoint of ``--task embedding``.
        folder: a new folder.

    Raises:
        UserError: the folder exists, or transformers or sentence-transformers does not support the model.
    """
    check(isinstance(embedder.lm, RobertaInterface), "only masked LMs are exported to sentence-transformers")
    export(embedder, folder)
