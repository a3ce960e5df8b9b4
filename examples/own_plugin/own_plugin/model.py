"""An architecture without new parameters: the embedding of a token plus that of the token before it."""

import torch.nn.functional as F
from fairseq.models import register_model
from torch import Tensor, nn

from plugins.models.architecture import register_size
from plugins.models.clap_roberta import ClapRobertaModel
from plugins.models.clap_roberta_config import SIZES, ClapRobertaConfig


@register_model("bigram_roberta", dataclass=ClapRobertaConfig)
class BigramRoberta(ClapRobertaModel):
    """``clap_roberta`` on sums of neighboring embeddings, so that its first layer sees pairs of tokens.

    The state dict is that of ``clap_roberta``: only the registered name in a checkpoint identifies the model.
    """

    def __init__(self, cfg, encoder):
        super().__init__(cfg, encoder)
        encoder.sentence_encoder.token_embedding.register_forward_hook(add_previous)


def add_previous(module: nn.Module, arguments: tuple, x: Tensor) -> Tensor:
    """Add the preceding vector to each vector of (..., T, C); the first is unchanged."""
    return x + F.pad(x, (0, 0, 1, 0))[..., :-1, :]  # (..., T, C)


for _size, _sizes in SIZES.items():
    register_size("bigram_roberta", f"bigram_roberta_{_size}", _sizes)
