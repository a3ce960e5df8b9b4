"""Options of the criterion ``metric_learning``."""

from dataclasses import dataclass
from typing import Any, Optional  # fairseq's parser does not read `float | None`

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from plugins.data.embedding.losses import LOSSES, MetricLoss
from plugins.errors import UserError
from plugins.modules.distances import DISTANCES
from plugins.options import option

LARGEST = 1e6  # margin or scale: losses are float32
MOST_NORMALIZED = 2.0  # distance of vectors of length one


@dataclass
class MetricLearningConfig(FairseqDataclass):
    """Options of the criterion ``metric_learning``."""

    metric_loss: ChoiceEnum(list(LOSSES)) = option("batch_hard_soft_margin", "the loss; see examples/embeddings")
    distance: Optional[ChoiceEnum(DISTANCES)] = option(
        None, "distance, for losses that use one (default: depends on the loss)"
    )
    margin: Optional[float] = option(None, "margin, for losses that use one (default: depends on the loss)")
    negative_margin: float = option(0.3, "largest cosine at which a negative has no loss, for mega_batch_margin")
    scale: Optional[float] = option(None, "factor on cosines, for losses that use one (default: depends on the loss)")
    symmetric: bool = option(False, "multiple_negatives_ranking: also find the first text from the second")
    grad_cache_rows: int = option(
        0, "texts per GradCache slice, encoded twice to fit a large batch in little memory (0: off)"
    )


def check(cfg: MetricLearningConfig, loss: MetricLoss, distance: str, margin: float | None, task: Any) -> None:
    """Check the options.

    Args:
        cfg: options of the criterion.
        loss: the loss that they name.
        distance, margin: their values with the defaults of the loss filled in.
        task: options of the task.

    Raises:
        UserError: options contradict each other, or one is out of range; the error names the flag.
    """
    name = str(cfg.metric_loss)
    for flag, value, default in (("--distance", cfg.distance, loss.distance), ("--margin", cfg.margin, loss.margin),
                                 ("--scale", cfg.scale, loss.scale)):  # fmt: skip
        if value is not None and default is None:
            raise UserError(f"{flag} {value}: --metric-loss {name} has none; leave it out")
    if cfg.scale is not None and not 0 < cfg.scale <= LARGEST:
        raise UserError(f"--scale {cfg.scale} is not positive and at most {LARGEST:g}")
    if margin is not None and not 0 <= margin <= LARGEST:
        raise UserError(f"--margin {margin} is not between 0 and {LARGEST:g}")
    unit = task.normalize or (loss.distance is not None and distance == "cosine")
    if loss.distance and margin is not None and unit and margin >= MOST_NORMALIZED:
        kind = "with --normalize" if task.normalize else "of cosine"
        raise UserError(f"--margin {margin}: distances {kind} are at most 2, so no batch can meet it; try 0.2")
    if cfg.symmetric and name != "multiple_negatives_ranking":
        raise UserError(f"--symmetric belongs to --metric-loss multiple_negatives_ranking, not {name}")
    if cfg.grad_cache_rows < 0:
        raise UserError(f"--grad-cache-rows {cfg.grad_cache_rows} is negative")
