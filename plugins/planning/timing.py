"""Estimate the time of an update on this machine by extrapolation from models with one and three layers.

The time is linear in the number of layers. The sequences are random tokens.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .models import MASKED, build, shape_of

FEW, MORE = 1, 3  # layers of the two models


def seconds_of_update(
    arch: str, words: int | None, options: Sequence[str], batch: int, length: int, repeats: int = 5
) -> float:
    """Estimate the seconds of forward pass, backward pass and ``fused_adamw`` for one batch.

    Args:
        arch, words, options: see :func:`.models.build`.
        batch: number of sequences.
        length: tokens of a sequence.
        repeats: number of measurements; the median is used.
    """
    model, cfg = build(arch, words, options, length=length)
    layers = shape_of(model, cfg).layers
    flag = "--decoder-layers" if "decoder_layers" in cfg else "--encoder-layers"
    steps = {n: update(arch, words, [*options, flag, str(n)], batch, length) for n in (FEW, MORE)}
    seconds = medians(steps, repeats)
    return seconds[FEW] + (layers - FEW) * (seconds[MORE] - seconds[FEW]) / (MORE - FEW)


def update(arch: str, words: int | None, options: Sequence[str], batch: int, length: int) -> Callable[[], None]:
    """Return a function that trains a new model for one update on random tokens."""
    model, cfg = build(arch, words, options, length, fake=False)
    model.train()
    loss = loss_of(model, cfg, batch, length)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def loss_of(model: nn.Module, cfg: Any, batch: int, length: int) -> Callable[[], torch.Tensor]:
    """Return a function that computes the loss of a registered model on random tokens."""
    tokens = torch.randint(4, cfg.vocab_size - 1, (batch, length))
    if "decoder_layers" in cfg:
        return lambda: model(tokens, target=tokens)[1]["loss"]
    masked = torch.rand(batch, length) < MASKED
    return lambda: model(tokens, masked_tokens=masked, target=tokens)[1]["loss"]


def medians(steps: dict[int, Callable[[], None]], repeats: int) -> dict[int, float]:
    """Return the median seconds of each function; they run alternately, after one warm-up run."""
    seconds: dict[int, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
