"""The losses of ``--criterion metric_learning``: row kinds that they accept, and their defaults."""

from dataclasses import dataclass

from plugins.data.embedding.specs import (
    LABELED,
    LABELED_PAIRS,
    MARGINS,
    PAIRS,
    SCORED_PAIRS,
    TEXTS,
    TRIPLETS,
    RowSpec,
)
from plugins.errors import UserError

EUCLIDEAN, COSINE = "euclidean", "cosine"


@dataclass(frozen=True)
class MetricLoss:
    """A loss.

    Attributes:
        kinds: kinds of rows, see :data:`plugins.data.embedding.specs.KINDS`.
        distance: default; None: it has no choice.
        margin: default; None: it has none.
        scale: default; None: it has none.
        teacher: it needs the vectors of a teacher, except for rows with margins.
    """

    kinds: tuple
    distance: str | None = None
    margin: float | None = None
    scale: float | None = None
    teacher: bool = False


LOSSES = {
    "batch_all": MetricLoss((LABELED,), EUCLIDEAN, 5.0),
    "batch_hard": MetricLoss((LABELED,), EUCLIDEAN, 5.0),
    "batch_hard_soft_margin": MetricLoss((LABELED,), EUCLIDEAN),
    "batch_semi_hard": MetricLoss((LABELED,), EUCLIDEAN, 5.0),
    "supervised_contrastive": MetricLoss((LABELED,), scale=10.0),
    "contrastive": MetricLoss((LABELED_PAIRS, LABELED), COSINE, 0.5),
    "online_contrastive": MetricLoss((LABELED_PAIRS, LABELED), COSINE, 0.5),
    "softmax": MetricLoss((LABELED_PAIRS, LABELED)),
    "cosine_similarity": MetricLoss((SCORED_PAIRS, LABELED)),
    "cosent": MetricLoss((SCORED_PAIRS, LABELED), scale=20.0),
    "multiple_negatives_ranking": MetricLoss((PAIRS, TRIPLETS, LABELED, TEXTS), scale=20.0),
    "mega_batch_margin": MetricLoss((PAIRS, LABELED), margin=0.8),
    "triplet": MetricLoss((TRIPLETS, LABELED), EUCLIDEAN, 5.0),
    "mse": MetricLoss((TEXTS, LABELED), teacher=True),
    "margin_mse": MetricLoss((MARGINS, LABELED), teacher=True),
    "denoising": MetricLoss((TEXTS, LABELED)),
}
BY_LENGTH = ("mse", "denoising")  # losses on one text per row, which do not compare rows


def find(name: str, spec: RowSpec) -> MetricLoss:
    """Return a loss.

    Raises:
        UserError: no such loss, or it does not accept the rows of ``spec``.
    """
    if name not in LOSSES:
        raise UserError(f"--metric-loss {name}: choose one of {', '.join(LOSSES)}")
    loss = LOSSES[name]
    if spec.kind not in loss.kinds:
        possible = ", ".join(other for other, row in LOSSES.items() if spec.kind in row.kinds)
        raise UserError(
            f"--metric-loss {name} takes {' or '.join(loss.kinds)}, and {spec.name} has {spec.kind}; for these there "
            f"are {possible}"
        )
    if name in ("contrastive", "online_contrastive") and spec.kind == LABELED_PAIRS and len(spec.labels) != 2:
        raise UserError(f"--metric-loss {name}: {spec.name} has {len(spec.labels)} labels; it takes two, 1 for similar")
    return loss


def needs_classes(name: str, spec: RowSpec) -> bool:
    """Return whether the loss compares the rows of a batch by their classes."""
    return spec.kind == LABELED and name not in BY_LENGTH
