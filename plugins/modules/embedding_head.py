"""Head that turns the features of a model into a text embedding, with the extra modules of some losses."""

import torch
from torch import Tensor, nn

from .decoder import Decoder, initialize
from .distances import normalize
from .linear_cross_entropy import linear_cross_entropy
from .pooler import attention_weights, pool


class EmbeddingHead(nn.Module):
    """Pool features, and optionally scale the result to unit length.

    Args:
        width: C.
        pooling: one of :data:`plugins.modules.pooler.EMBEDDING_POOLERS`.
        normalize: return vectors of length one.
        classes: K of the classifier of pairs of embeddings (Reimers and Gurevych, 2019); 0 for none.
        decoder: reconstructs a text from its embedding, for denoising; None for no decoder.
    """

    def __init__(
        self,
        width: int,
        pooling: str = "mean",
        normalize: bool = False,
        classes: int = 0,
        decoder: nn.Module | None = None,
    ):
        super().__init__()
        self.pooling, self.normalize = pooling, normalize
        self.attention = attention_weights(width) if pooling == "attention" else None
        self.classifier = nn.Linear(3 * width, classes) if classes else None
        self.decoder = decoder

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Map features (B, T, C) of texts of (B,) tokens to embeddings (B, C)."""
        padding = torch.arange(features.size(1), device=features.device) >= lengths[:, None]  # (B, T)
        pooled = pool(features, padding, self.pooling, self.attention)
        return normalize(pooled) if self.normalize else pooled


class TextDecoder(nn.Module):
    """Reads a text from one vector, which is the prompt of a decoder (after Wang et al., 2021, TSDAE, section 3).

    The embedding is the decoder's only input from the text, besides the preceding tokens.

    Args:
        table: (V, C), the token embeddings of the model that encodes, which the decoder shares.
        longest: tokens of a text at most.
        heads: heads of the decoder, a divisor of C.
        layers: number of layers.
    """

    def __init__(self, table: nn.Parameter, longest: int, heads: int, layers: int = 1):
        super().__init__()
        words, width = table.shape
        self.body = Decoder(words, longest, width, 4 * width, layers, heads)
        initialize(self)
        self.body.wte.weight = table

    def forward(self, embeddings: Tensor, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, int]:
        """Return the cross-entropy in nats, summed over the tokens of texts but their first, and how many these are.

        Args:
            embeddings: (B, C).
            tokens: (B, T).
            lengths: (B,) without padding.
        """
        self.body.prompt = VectorPrompt(embeddings)
        features = self.body(tokens[:, :-1])  # (B, T - 1, C)
        self.body.prompt = None
        real = torch.arange(1, tokens.size(1), device=tokens.device) < lengths[:, None]  # (B, T - 1)
        return linear_cross_entropy(features[real], self.body.wte.weight, tokens[:, 1:][real]), int(real.sum())


class VectorPrompt:
    """A separate vector (B, C) before the tokens of each sequence; used as a :class:`.soft_prompt.SoftPrompt`."""

    def __init__(self, vectors: Tensor):
        self.vectors = vectors

    def __len__(self) -> int:
        return 1

    def insert(self, x: Tensor) -> Tensor:
        """Map embedded tokens (B, T, C) to (B, 1 + T, C)."""
        return torch.cat([self.vectors[:, None].to(x.dtype), x], 1)

    def remove(self, x: Tensor) -> Tensor:
        """Map features (B, 1 + T, C) to those of the tokens, (B, T, C)."""
        return x[:, 1:]
