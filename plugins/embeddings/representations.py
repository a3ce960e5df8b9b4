"""Vectors of texts to compare: a model or a file, whitened, the model before tuning, and baselines without training."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from plugins.analysis.metrics.anisotropy import whiten
from plugins.errors import UserError
from plugins.hub import Embedder

from . import texts
from .evaluation import TFIDF, WORDS, tfidf

logger = logging.getLogger(__name__)

UNTUNED = "untuned"


def of_model(
    source: str,
    words: Sequence[str],
    untuned: str | None = None,
    pooling: str | None = None,
    components: int | None = None,
    device: str | torch.device | None = None,
) -> tuple[dict[str, np.ndarray], Embedder | None]:
    """Return the vectors of N texts, by name, and the model, or None for a file of vectors.

    Args:
        source: checkpoint, or a file of ``scripts/embed.py``; its stem is the first name.
        words: the texts.
        untuned: checkpoint before tuning, called ``untuned``, or None.
        pooling: of checkpoints (default: as trained, else mean).
        components: also return the vectors without the mean and this number of top components; None: not.
        device: of the models; None: the CPU.

    Returns:
        {name: (N, d)}, and the model.

    Raises:
        UserError: a file cannot be read or has other rows, ``pooling`` is not supported, or there is no such device.
    """
    title, embedder = Path(source).stem, None
    if texts.is_file_of_vectors(source):
        found = {title: texts.stored(source, words)}
    else:
        embedder = Embedder.from_pretrained(source, pooling).to(device)
        found = {title: embedder.encode(words)}
    if components is not None:
        found[f"{title}, whitened ({components})"] = whiten(found[title], components)
    if untuned:
        found[UNTUNED] = Embedder.from_pretrained(untuned, pooling).to(device).encode(words)
    return found, embedder


def baselines(words: Sequence[str], embedder: Embedder | None) -> dict[str, np.ndarray]:
    """Return the vectors (N, d) of N texts by TF-IDF and, if there is a model, by the mean of its word vectors.

    TF-IDF is left out, with a warning, if no text has a word of two letters.
    """
    found = {} if embedder is None else {WORDS: embedder.word_vectors(words)}
    try:
        return found | {TFIDF: tfidf(words)}
    except UserError as error:
        logger.warning("TF-IDF is left out: %s", error)
        return found
