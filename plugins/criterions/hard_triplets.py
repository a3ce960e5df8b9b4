"""Accuracy on hard triplets as a metric of validation. The triplets are mined once, with the model before training."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fairseq.models import BaseFairseqModel

from plugins.analysis.metrics import retrieval
from plugins.data.embedding import specs, triplets
from plugins.data.embedding.dataset import EmbeddingRows
from plugins.errors import UserError

from .text_vectors import embed

logger = logging.getLogger(__name__)

ROWS = 64  # texts encoded at a time


@dataclass(frozen=True)
class HardTriplets:
    """The hard triplets of a split.

    Attributes:
        triplets: (T, 3) row numbers.
        labels: (N,) class ids of the split.
    """

    triplets: np.ndarray
    labels: np.ndarray

    def accuracy(self, vectors: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of triplets whose positive is closer; NaN for the rows of another split.

        Args:
            vectors: (N, d).
            labels: (N,) class ids.
        """
        same = np.array_equal(labels, self.labels)
        return retrieval.triplet_accuracy(vectors, self.triplets) if same else float("nan")


def freeze(model: BaseFairseqModel, rows: EmbeddingRows, path: str, resumed: bool) -> HardTriplets:
    """Make the triplets of a split from a model and write them, or read those of the resumed run.

    Args:
        model: has an ``embedding_head``.
        rows: labeled texts.
        path: the file of the triplets.
        resumed: training resumes a run, which has written the file.

    Raises:
        UserError: the classes have no triplet, or the file is missing, damaged, or of other rows.
    """
    assert rows.labels is not None, "hard triplets need labels"
    if not resumed:
        try:
            found = retrieval.hard_triplets(vectors_of(model, rows), rows.labels)
        except UserError as error:
            raise UserError(
                f"--best-checkpoint-metric {specs.HARD_ACCURACY}: of the validation rows, {error}"
            ) from None
        triplets.write(path, found, rows.rows.texts[0])
        logger.info("%s: %d triplets, made from the model before training", path, len(found))
    elif Path(path).exists():
        found = triplets.read(path, rows.rows.texts[0], rows.labels)
    else:
        raise UserError(
            f"{path}: no such file; only the start of a run can write it: choose another --save-dir or "
            "--best-checkpoint-metric"
        )
    return HardTriplets(found, rows.labels)


@torch.no_grad()
def vectors_of(model: BaseFairseqModel, rows: EmbeddingRows) -> np.ndarray:
    """Return the embeddings of rows with one text each, computed without dropout: (N, d)."""
    found: np.ndarray | None = None
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        for batch in rows.batch_by_size(rows.ordered_indices(), max_sentences=ROWS):
            inputs = {name: value.to(device) for name, value in rows.collater(batch.tolist())["net_input"].items()}
            vectors = embed(model, **inputs).float().cpu().numpy()  # (B, d)
            found = np.empty((len(rows), vectors.shape[1]), np.float32) if found is None else found
            found[batch] = vectors
    finally:
        model.train(training)
    assert found is not None, "a split has rows"
    return found
