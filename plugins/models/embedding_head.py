"""The head that ``--task embedding`` adds to a model, when checkpoints with and without it are loaded."""

from collections.abc import MutableMapping

from torch import Tensor, nn

from plugins.modules.embedding_head import EmbeddingHead, TextDecoder

NAME = "embedding_head"
HEAD_WIDTH = 64  # of the decoder for denoising


class WithEmbeddingHead:
    """Mixin for models that give features of tokens: ``model(tokens, features_only=True)``."""

    def register_embedding_head(
        self, pooling: str, normalize: bool = False, classes: int = 0, decoder_tokens: int = 0
    ) -> None:
        """Add a head, see :class:`EmbeddingHead`, and freeze the output layer, which no embedding depends on.

        Args:
            classes: of the classifier of pairs; 0 for none.
            decoder_tokens: longest text that a decoder for denoising reads from an embedding; 0 for no decoder.
        """
        parts = self.peft_parts()
        table = parts.table.weight
        for parameter in parts.head.parameters():  # unchanged, so that the model is still a language model
            if parameter is not table:
                parameter.requires_grad_(False)
        width = table.size(1)
        heads = next(n for n in range(max(1, width // HEAD_WIDTH), 0, -1) if width % n == 0)
        decoder = TextDecoder(table, decoder_tokens, heads) if decoder_tokens else None
        self.embedding_head = EmbeddingHead(width, pooling, normalize, classes, decoder)

    def upgrade_state_dict_named(self, state_dict, name):
        adopt_embedding_head(self, state_dict, name + "." if name else "")
        super().upgrade_state_dict_named(state_dict, name)


def adopt_embedding_head(model: nn.Module, state_dict: MutableMapping[str, Tensor], prefix: str = "") -> None:
    """Make a state dict fit the embedding head that a model has, or has not.

    A model without the head ignores it. One with it keeps its own initial values where the checkpoint has none, or
    those of another loss.
    """
    head = getattr(model, NAME, None)
    own = {} if head is None else {f"{prefix}{NAME}.{name}": tensor for name, tensor in head.state_dict().items()}
    for name in [name for name in state_dict if name.startswith(f"{prefix}{NAME}.")]:
        if name not in own or own[name].shape != state_dict[name].shape:
            del state_dict[name]
    for name, tensor in own.items():
        state_dict.setdefault(name, tensor)
