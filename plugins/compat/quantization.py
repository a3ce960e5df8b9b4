"""Scalar quantization in training: ``--quant-noise-scalar``.

Defect: fairseq looks up the quantized form of a layer by its class, and fails with a KeyError for a class derived from
:class:`torch.nn.Linear`.
"""

from typing import Any

from .patching import repaired


class ByBaseClass(dict):
    """A dictionary of classes in which a derived class has the value of its nearest base."""

    def __missing__(self, kind: type) -> Any:
        for base in kind.__mro__[1:]:
            if base in self:
                return self[base]
        raise KeyError(kind)


def install() -> None:
    """Apply the repair of this file, and record it."""
    from fairseq.modules.quantization.scalar import utils

    utils.MAPPING = ByBaseClass(utils.MAPPING)
    repaired("--quant-noise-scalar", "quantizes layers of derived classes, too; fairseq fails at them")
