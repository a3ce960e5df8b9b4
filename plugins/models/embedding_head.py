"""The heads that ``--task embedding`` and ``--task preference`` add to any model, with checkpoint loading."""

from collections.abc import MutableMapping
from typing import Any, cast

from torch import Tensor, nn

from plugins.modules.embedding_head import EmbeddingHead, TextDecoder
from plugins.modules.score_head import ScoreHead
from plugins.peft.tuning import parts_of

NAME = "embedding_head"
SCORE_HEAD = "score_head"
HEAD_WIDTH = 64  # layers of the denoising decoder


class WithEmbeddingHead:
    """Mixin for models that give features of tokens: ``model(tokens, features_only=True)``."""

    def register_embedding_head(
        self, pooling: str, normalize: bool = False, classes: int = 0, decoder_tokens: int = 0
    ) -> None:
        """Add a head, see :class:`EmbeddingHead`, and freeze the output layer, which does not affect embeddings.

        Args:
            classes: classes of the classifier of pairs; 0 for none.
            decoder_tokens: longest text that the denoising decoder reconstructs from an embedding; 0 for no decoder.
        """
        table = self._freeze_output()
        width = table.size(1)
        heads = next(n for n in range(max(1, width // HEAD_WIDTH), 0, -1) if width % n == 0)
        decoder = TextDecoder(table, decoder_tokens, heads) if decoder_tokens else None
        self.embedding_head = EmbeddingHead(width, pooling, normalize, classes, decoder)

    def register_score_head(self, pooling: str, dropout: float = 0.0, flip_rate: float = 0.0) -> None:
        """Add a head that gives each text a score, see :class:`ScoreHead`, and freeze the output layer."""
        self.score_head = ScoreHead(self._freeze_output().size(1), pooling, dropout, flip_rate)

    def _freeze_output(self) -> nn.Parameter:
        """Freeze the output layer, so that the model remains a language model; return the embedding table."""
        parts = parts_of(cast(nn.Module, self))
        table = cast(nn.Parameter, parts.table.weight)
        for parameter in parts.head.parameters():
            if parameter is not table:
                parameter.requires_grad_(False)
        return table

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Adapt a state dict to the heads of this model, see :func:`adopt_head`."""
        prefix = name + "." if name else ""
        model: Any = self
        for head in (NAME, SCORE_HEAD):
            adopt_head(model, head, state_dict, prefix)
        upgrade: Any = super()
        upgrade.upgrade_state_dict_named(state_dict, name)


def adopt_head(model: nn.Module, head: str, state_dict: MutableMapping[str, Tensor], prefix: str = "") -> None:
    """Adapt a state dict to the head of a model, or to a model without one.

    A model without the head ignores it. One with it keeps its own initial values where the checkpoint has none, or
    those of another loss.
    """
    module = getattr(model, head, None)
    own = {} if module is None else {f"{prefix}{head}.{name}": tensor for name, tensor in module.state_dict().items()}
    for name in [name for name in state_dict if name.startswith(f"{prefix}{head}.")]:
        if name not in own or own[name].shape != state_dict[name].shape:
            del state_dict[name]
    for name, tensor in own.items():
        state_dict.setdefault(name, tensor)
