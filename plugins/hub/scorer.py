"""Score texts with a model of ``--task preference`` and the threshold that its checkpoint stores."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from plugins import checkpoints
from plugins.errors import UserError, check, shortened

from .embedder import Embedder, encoder_of

if TYPE_CHECKING:
    from plugins.modules.score_head import ScoreHead


class Scorer(Embedder):
    """A model with a single-output head; a score does not depend on the other texts of its batch.

    Attributes:
        threshold: of :mod:`plugins.analysis.metrics.thresholds`, as ``scripts/choose_threshold.py`` stored it, or None.
    """

    threshold: dict | None = None
    width = 1

    @classmethod
    @checkpoints.reading_once()
    def from_pretrained(  # type: ignore[override]  # the training has chosen the pooling
        cls, path: str, base: str | None = None
    ) -> "Scorer":
        """Load a checkpoint of ``--task preference``.

        Raises:
            UserError: a file is missing or damaged, or the checkpoint has no such head.
        """
        path = checkpoints.find_checkpoint(path)
        state = checkpoints.read_state(path)
        saved = (state.get("task_state") or {}).get("preference")
        if not saved:
            raise UserError(f"{path}: not a checkpoint of --task preference")
        lm = checkpoints.load(path, base)
        head = getattr(lm.model, "score_head", None) or load_head(state, saved, path, lm.model)
        scorer = cls(lm.model, encoder_of(lm), head, min(saved.get("longest") or 512, lm.model.max_positions()))
        scorer.lm = lm
        scorer.threshold = (state.get("task_state") or {}).get("threshold")
        return scorer

    def score(self, texts: str | Iterable[str], batch_size: int = 64, progress: bool = True) -> np.ndarray | float:
        """Return the scores of texts, (n,) float32; for a single string, a number."""
        if isinstance(texts, str):
            return float(self.encode([texts], batch_size, normalize=False, progress=False)[0, 0])
        return self.encode(texts, batch_size, normalize=False, progress=progress)[:, 0]

    def decide(self, texts: Iterable[str], batch_size: int = 64) -> np.ndarray:
        """Return which texts are above the stored threshold, (n,) boolean.

        Raises:
            UserError: the checkpoint has none.
        """
        if self.threshold is None:
            raise UserError("the checkpoint has no threshold; choose one with scripts/choose_threshold.py")
        return self.score(texts, batch_size) > self.threshold["threshold"]


def load_head(state: dict, saved: dict, path: str, model: Any) -> "ScoreHead":
    """Return the head of a checkpoint whose model is built without its task (a causal or character LM).

    Raises:
        UserError: it has no head, or one of another shape.
    """
    from plugins.modules.score_head import ScoreHead

    weights = {name.removeprefix("score_head."): tensor for name, tensor in state["model"].items()
               if name.startswith("score_head.")}  # fmt: skip
    check("out_proj.weight" in weights, f"{path}: has no score_head")
    flip_rate = 0.1 if "flip" in weights else 0.0
    head = ScoreHead(model.peft_parts().table.weight.size(1), saved["pooling"], 0.0, flip_rate)
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: its score_head does not fit: {shortened(str(error))}") from None
    return head
