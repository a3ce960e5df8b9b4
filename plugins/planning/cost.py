"""Floating-point operations, time and communication volume of training.

Shapes: L layers of C channels; V words; T tokens in a sequence.
"""

from .memory import FLOAT
from .models import Shape

FORWARD_AND_BACKWARD = 6  # operations per parameter: multiply and add in the forward pass, twice that backward
BACKWARD = 2 / 3  # fraction of an update spent in the backward pass, which overlaps with gradient transfers


def flops_per_token(shape: Shape, length: int) -> float:
    """Return the operations of the forward and backward passes per token.

    The count is 6 for each weight of the layers, and of the output table for each predicted token (Kaplan et al., 2020,
    arXiv 2001.08361, section 2.1), plus 12 L C T for attention, causal or not (Chowdhery et al., 2022, arXiv
    2204.02311, appendix B). Recomputation of activations is not counted.
    """
    head = FORWARD_AND_BACKWARD * shape.predicted * shape.width * shape.words
    return FORWARD_AND_BACKWARD * shape.in_layers + 12 * shape.layers * shape.width * length + head


def compute_seconds(shape: Shape, length: int, tokens: float, flops: float, mfu: float) -> float:
    """Return the compute time of training on a number of tokens, in seconds.

    Args:
        flops: total peak FLOP/s of all processors.
        mfu: model FLOPs utilization, the achieved fraction of the peak.
    """
    return tokens * flops_per_token(shape, length) / (flops * mfu)


def transfer_seconds(shape: Shape, processes: int, link: float, shard: bool, batches: int = 1) -> float:
    """Return the communication time of an update with ring algorithms, in seconds.

    Data parallel: an all-reduce of the gradients once per update, 2 (W - 1) / W of their bytes. Sharded: for each
    batch, parameters are gathered in the forward and the backward pass and gradients are scattered, 3 (W - 1) / W
    (Rajbhandari et al., 2020, arXiv 1910.02054, section 7).

    Args:
        processes: W.
        link: bandwidth in bytes/s, one way.
        shard: ``--shard``.
        batches: accumulated batches of an update, ``--update-freq``.
    """
    ring = (processes - 1) / processes
    if not shard:
        return 2 * ring * FLOAT * shape.trained / link
    return batches * ring * FLOAT * (2 * shape.parameters + shape.trained) / link
