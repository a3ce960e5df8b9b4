"""Observe the updates of a training run, for ``scripts/measure_memory.py``."""

from collections.abc import Callable
from typing import Any

from .patching import wrap


def observe_updates(update: Callable[[Callable[[], Any], Any, list], Any]) -> None:
    """Replace each update of ``fairseq-train`` by a call of a function.

    Args:
        update: called with a function that runs the update, the trainer, and the batches of the update; returns what
            the function returned.
    """
    from fairseq.trainer import Trainer

    def observed(original: Callable, self: Any, samples: list, *args: Any, **options: Any) -> Any:
        return update(lambda: original(self, samples, *args, **options), self, samples)

    wrap(Trainer, "train_step", observed)
