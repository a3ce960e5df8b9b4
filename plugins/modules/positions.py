"""Positional schemes: how a Transformer encodes the order of its tokens.

A scheme acts at up to three places, and is the identity at the others:

    embed    adds to the token embeddings, before the first layer
    rotate   turns queries and keys, in every layer
    score    adds to the attention scores a number for each head and each offset (key position minus query position)

To add one, write a subclass of :class:`Positions` and add it to :data:`SCHEMES`, here or in a plugin of your own
(``SCHEMES["mine"] = Mine``). ``--positions`` of encoders and decoders, generation with a cache, and attention capture
then use it.
"""

from .absolute_positions import Learned, Sinusoidal, sinusoids
from .alibi import Alibi, SymmetricAlibi
from .position_scheme import Positions, Spec, Where, shifted
from .rotary import Rotary

__all__ = [
    "Alibi", "DECODER_SCHEMES", "Learned", "Positions", "Rotary", "SCHEMES", "Sinusoidal", "Spec", "SymmetricAlibi",
    "Where", "build", "shifted", "sinusoids",
]  # fmt: skip

SCHEMES: dict[str, type[Positions]] = {
    "learned": Learned,
    "sinusoidal": Sinusoidal,
    "alibi": Alibi,
    "alibi_symmetric": SymmetricAlibi,
    "rotary": Rotary,
}
DECODER_SCHEMES = tuple(name for name in SCHEMES if name != "alibi_symmetric")  # equals alibi without a right side


def build(name: str, spec: Spec) -> Positions:
    """Return a new scheme.

    Raises:
        ValueError: no scheme has this name, or the scheme cannot have these sizes.
    """
    if name not in SCHEMES:
        raise ValueError(f"positions is one of {', '.join(SCHEMES)}, not {name!r}")
    return SCHEMES[name](spec)
