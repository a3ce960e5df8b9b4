"""Floating-point operations, hours and transferred bytes of training.

Shapes: L layers of C channels; V words; T tokens in a sequence.
"""

from .memory import FLOAT
from .models import Shape

FORWARD_AND_BACKWARD = 6  # operations a parameter: a product and a sum forward, twice that backward
BACKWARD = 2 / 3  # of an update's time, during which gradients can be transferred


def flops_per_token(shape: Shape, length: int) -> float:
    """Return the operations of forward and backward for a token.

    6 for each weight of the layers, and of the output table for each predicted token (Kaplan et al., 2020, arXiv
    2001.08361, section 2.1); 12 L C T for attention, causal or not (Chowdhery et al., 2022, arXiv 2204.02311, appendix
    B). Recomputed activations do not count.
    """
    head = FORWARD_AND_BACKWARD * shape.predicted * shape.width * shape.words
    return FORWARD_AND_BACKWARD * shape.in_layers + 12 * shape.layers * shape.width * length + head


def compute_seconds(shape: Shape, length: int, tokens: float, flops: float, mfu: float) -> float:
    """Return the time of training on a number of tokens.

    Args:
        flops: the peak of all processors together, FLOP/s.
        mfu: model FLOPs utilization, the share of the peak that is reached.
    """
    return tokens * flops_per_token(shape, length) / (flops * mfu)


def transfer_seconds(shape: Shape, processes: int, link: float, shard: bool, batches: int = 1) -> float:
    """Return the time in which a process sends and receives what an update needs, by ring algorithms.

    Data parallel: gradients, reduced once an update, 2 (W - 1) / W of their bytes. Sharded: parameters gathered in the
    forward and the backward pass and gradients scattered, for each batch: 3 (W - 1) / W (Rajbhandari et al., 2020,
    arXiv 1910.02054, section 7).

    Args:
        processes: W.
        link: bytes/s, one way.
        shard: ``--shard``.
        batches: accumulated in an update, ``--update-freq``.
    """
    ring = (processes - 1) / processes
    if not shard:
        return 2 * ring * FLOAT * shape.trained / link
    return batches * ring * FLOAT * (2 * shape.parameters + shape.trained) / link
