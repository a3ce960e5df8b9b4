"""The CLAP head: word logits as scaled inner products with L2-normalised embeddings (EIFY/fairseq, README).

Shapes: N predictions, C channels, V words.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 1024  # words


def norm_floor(dtype: torch.dtype) -> float:
    """The shortest norm that is divided by: its inverse must exist in half precision."""
    return 1e-4 if dtype == torch.float16 else 1e-6


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def l2_normalize(x: Tensor) -> Tensor:
    """Divide the last dimension by its L2 norm, taken in float32; a zero vector stays zero in every precision."""
    return F.normalize(x.to(at_least_float32(x.dtype)), dim=-1, eps=norm_floor(x.dtype)).to(x.dtype)


class _NormalizedLinear(torch.autograd.Function):
    """x (N, C), weight (V, C), scale (1,) -> scale * x ŵ^T (N, V), ŵ the rows of weight divided by their norm.

    The columns of the product are scaled, so no normalised copy of the table (V x C) is made or kept. A row that is
    shorter than the floor counts as zero and gets no gradient.
    """

    @staticmethod
    def forward(ctx, x, weight, scale):
        norm = torch.linalg.vector_norm(weight, dim=-1, dtype=at_least_float32(weight.dtype))  # (V,)
        inverse = norm.reciprocal().masked_fill_(norm < norm_floor(weight.dtype), 0)
        ctx.save_for_backward(x, weight, scale, inverse)
        factor = (inverse * scale).clamp_max(torch.finfo(x.dtype).max)
        return (x @ weight.t()).mul_(factor.to(x.dtype))

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale, inverse = ctx.saved_tensors
        scaled_x = x * scale.to(x.dtype)
        grad_x, grad_weight = torch.zeros_like(x), torch.empty_like(weight)
        # A block of words at a time, which is still in the cache at the end; no second (N, V) or (V, C) is needed.
        for start in range(0, len(weight), BLOCK):
            words = slice(start, start + BLOCK)
            w, inv = weight[words], inverse[words]
            g = grad[:, words] * inv.to(grad.dtype)  # with respect to scale * x w^T
            grad_x.addmm_(g, w)
            by_word = (g.t() @ scaled_x).to(inv.dtype)
            w = w.to(inv.dtype)
            radial = torch.linalg.vecdot(by_word, w) * inv**2  # along the row, which normalisation takes out
            grad_weight[words] = by_word.addcmul_(w, radial[:, None], value=-1)
        grad_scale = (grad_x * x).sum(dtype=scale.dtype).reshape(1)
        return grad_x.mul_(scale.to(x.dtype)), grad_weight, grad_scale


class ClapHead(nn.Module):
    """beta * x ŵ^T, with nothing else: no dense layer, no activation, no layer norm, no bias.

    Args:
        weight: (V, C) embedding table, shared with the input.
        initial_beta: start of the learned inverse temperature. x comes from a layer norm, so its norm is about
            sqrt(C) and the scale of a cosine is beta * sqrt(C): 27.7 at C = 768 and beta = 1.
        normalize: divide the rows of the table by their norm.
        reference_dim: 0, as published, or the width at which ``initial_beta`` was found. The logits then get a factor
            of sqrt(reference_dim / C), which makes one beta mean the same scale at every width.
        max_scale: 0, as published, or the cap on the scale of a cosine (CLIP caps it at 100). With a cap beta cannot
            become negative either.
        excluded: (K,) indices of words that are never a target (``<pad>``, fillers): their logits are -inf.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        initial_beta: float = 1.0,
        *,
        normalize: bool = True,
        reference_dim: int = 0,
        max_scale: float = 0.0,
        excluded: Tensor | None = None,
    ):
        super().__init__()
        width = weight.size(-1)
        self.weight = weight
        self.beta = nn.Parameter(torch.full((1,), float(initial_beta)))
        self.beta.no_weight_decay = True
        self.normalize = normalize
        self.width_factor = math.sqrt(reference_dim / width) if reference_dim else 1.0
        self.max_beta = max_scale / math.sqrt(width) if max_scale else None
        self.register_buffer("excluded", excluded, persistent=False)
        self.register_state_dict_post_hook(_save_beta_as_scalar)
        self.register_load_state_dict_pre_hook(_load_beta_of_any_shape)

    def scale(self) -> Tensor:
        """Return the factor on the inner products, in at least float32: (1,)."""
        scale = self.beta.to(at_least_float32(self.beta.dtype)) * self.width_factor
        return scale if self.max_beta is None else scale.clamp(0, self.max_beta)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (..., C) to logits (..., V)."""
        if self.normalize:
            x, weight = cast_for_autocast(x, self.weight)
            logits = _NormalizedLinear.apply(x.reshape(-1, x.size(-1)), weight, self.scale())
            logits = logits.view(*x.shape[:-1], len(weight))
        else:
            logits = F.linear(x * self.scale().to(x.dtype), self.weight)
        return logits if self.excluded is None else logits.index_fill(-1, self.excluded, -math.inf)


def cast_for_autocast(*tensors):
    """Cast to the type of the surrounding ``torch.autocast``, which does not reach into a custom function."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def _save_beta_as_scalar(head, state_dict, prefix, local_metadata):
    # Checkpoints hold a 0-dimensional beta, as published; in memory it has one dimension, which sharded training needs.
    state_dict[prefix + "beta"] = state_dict[prefix + "beta"].reshape(())


def _load_beta_of_any_shape(head, state_dict, prefix, *unused):
    if prefix + "beta" in state_dict:
        state_dict[prefix + "beta"] = state_dict[prefix + "beta"].reshape(1)


class RobertaHead(nn.Module):
    """RoBERTa's head: dense, activation, layer norm, then the embedding table and a bias for each word.

    Args:
        weight: (V, C) table, shared with the input or not.
        activation: from (..., C) to (..., C).
    """

    def __init__(self, weight: nn.Parameter, activation):
        super().__init__()
        words, width = weight.shape
        self.dense = nn.Linear(width, width)
        self.activation = activation
        self.layer_norm = nn.LayerNorm(width)
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (..., C) to logits (..., V)."""
        return F.linear(self.layer_norm(self.activation(self.dense(x))), self.weight, self.bias)
