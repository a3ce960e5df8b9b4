"""Export an embedding model as a folder that sentence-transformers loads."""

from pathlib import Path

from .embedder import Embedder
from .huggingface.export import export


def export_sentence_transformers(embedder: Embedder, folder: str | Path) -> None:
    """Write a masked LM, or a GPT-2, with its pooling as a folder of sentence-transformers; the same as :func:`export`.

    Args:
        embedder: returned by ``plugins.hub.load`` for a checkpoint of ``--task embedding``.
        folder: a new folder.

    Raises:
        UserError: the folder exists, or transformers or sentence-transformers does not support the model.
    """
    export(embedder, folder)
