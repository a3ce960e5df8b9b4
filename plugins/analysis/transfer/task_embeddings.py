"""Vectors of tasks: TextEmb, the mean of the vectors of their texts, and TaskEmb, their Fisher information.

TaskEmb is the diagonal of a model's Fisher information, one component per weight (Vu et al., 2020, section 3.2).
The public code squares the gradient of a batch's mean, so that its value depends on the batch size (1.00, .14 and .04
for 1, 8 and 32 rows in a toy example). Here the gradient of each row is squared.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

JOIN = 60  # k of reciprocal rank fusion (Cormack et al., 2009)


def fisher_diagonal(
    parameters: Mapping[str, nn.Parameter], losses: Iterable[Callable[[], Tensor]]
) -> dict[str, np.ndarray]:
    """Return the mean over rows of the squared gradient of each row's loss: {name: float64 of the parameter's shape}.

    Args:
        parameters: parameters of the model to compute the information of.
        losses: for each row a function that returns -log p(y | x), a scalar.
    """
    names, values = list(parameters), list(parameters.values())
    total = [torch.zeros_like(p, dtype=torch.float64) for p in values]
    rows = 0
    for loss in losses:
        gradients = torch.autograd.grad(loss(), values, allow_unused=True)
        for sum_, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                sum_ += gradient.double() ** 2
        rows += 1
    return {name: (sum_ / max(rows, 1)).cpu().numpy() for name, sum_ in zip(names, total, strict=True)}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two arrays of the same shape; 0 if either is zero."""
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / scale) if scale else 0.0


def similarities(embeddings: Mapping[str, Mapping[str, np.ndarray]], target: str) -> dict[str, float]:
    """Return how similar other tasks are to a target: their ranks by the cosine of each component, joined by reciprocal
    rank, {source: sum over components of 1 / (60 + rank)}.

    Args:
        embeddings: {task: {component: array}}.
    """
    sources = [name for name in embeddings if name != target]
    joined = dict.fromkeys(sources, 0.0)
    for component, own in embeddings[target].items():
        scores = {name: cosine(embeddings[name][component], own) for name in sources}
        for rank, name in enumerate(sorted(sources, key=lambda name: -scores[name]), start=1):
            joined[name] += 1 / (JOIN + rank)
    return joined


def mean_cosine(embeddings: Mapping[str, Mapping[str, np.ndarray]], target: str) -> dict[str, float]:
    """Return the mean over components of the cosine of other tasks with a target, {source: cosine}."""
    own = embeddings[target]
    return {
        name: float(np.mean([cosine(found[component], own[component]) for component in own]))
        for name, found in embeddings.items() if name != target
    }  # fmt: skip
