"""The embeddings of a batch of texts in training: in slices of similar length, with GradCache, with dropout.

Shapes: N texts of T tokens, d channels of an embedding.
"""

from itertools import pairwise

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from plugins.data.by_length import SMALL_BATCH, cuts


def embed(model: BaseFairseqModel, src_tokens: Tensor, src_lengths: Tensor, most_rows: int = 0) -> Tensor:
    """Return the embeddings (N, d) of texts.

    Texts are sorted by length and encoded in slices, so that little is computed for padding. A sharded model encodes
    them at once: a forward pass needs all processes, whose batches would have different numbers of slices.

    Args:
        model: has an ``embedding_head``.
        src_tokens: (N, T).
        src_lengths: (N,).
        most_rows: maximum number of texts in a slice, 0 for no maximum. Slices are computed again in the backward pass
            (GradCache, Gao et al., 2021), which gives the gradients of the whole batch, with the same dropout.
    """
    cached = 0 < most_rows < len(src_tokens)
    small = SMALL_BATCH[src_tokens.device.type == "cuda"]
    sharded = hasattr(model, "unshard")  # torch's FSDPModule, which takes a second to import
    if not cached and (sharded or src_tokens.numel() <= small):  # one slice, without copying lengths from the device
        return vectors_of(model, src_tokens, src_lengths)
    sizes, order = src_lengths.sort(descending=True, stable=True)
    lengths = sizes.tolist()
    edges = [0, *cuts(lengths, most_rows if cached else len(order), small), len(order)]
    parts = []
    for start, end in pairwise(edges):
        rows = order[start:end]
        given = model, src_tokens[rows, : lengths[start]], sizes[start:end]
        parts.append(checkpoint(vectors_of, *given, use_reentrant=False) if cached else vectors_of(*given))
    return torch.cat(parts)[order.argsort()]


def embed_with_dropout(model: BaseFairseqModel, src_tokens: Tensor, src_lengths: Tensor) -> Tensor:
    """Return the embeddings (N, d) of texts encoded with dropout, the same at each call, by a model in evaluation."""
    device = src_tokens.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(1)
        model.train()
        try:
            return embed(model, src_tokens, src_lengths)
        finally:
            model.eval()


def vectors_of(model: BaseFairseqModel, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Return the embeddings (N, d) of texts (N, T) of (N,) tokens."""
    features, _ = model(tokens, src_lengths=lengths, features_only=True)
    return model.embedding_head(features, lengths)
