"""Scaling of relative positions, so that a model takes longer inputs than it was trained on.

Shapes: D channels per head.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SCALINGS = ("none", "linear", "ntk", "dynamic", "yarn")
BETA_FAST, BETA_SLOW = 32, 1  # rotations within the trained length (Peng et al., 2023, section 3.2)


@dataclass(frozen=True)
class Scaling:
    """Settings of position scaling.

    Attributes:
        kind: ``linear``: positions are divided by the factor (position interpolation, Chen et al., 2023, arXiv
            2306.15595; for ALiBi, Al-Khateeb et al., 2023, arXiv 2310.13017); ``ntk``: a rotary base larger by
            factor^(D/(D-2)), which leaves high frequencies as they are; ``dynamic``: the same with a factor that grows
            with the input, and for ALiBi slopes times trained length / length, in inputs longer than the trained
            length; ``yarn``: Peng et al., 2023, arXiv 2309.00071, with its attention temperature.
        factor: at least 1.
        trained: the length that the model was trained on, in tokens.

    Raises:
        ValueError: an unknown kind, a factor below 1, or no trained length.
    """

    kind: str = "none"
    factor: float = 1.0
    trained: int = 1

    def __post_init__(self):
        if self.kind not in SCALINGS:
            raise ValueError(f"scaling is one of {', '.join(SCALINGS)}, not {self.kind!r}")
        if not (self.factor >= 1 and math.isfinite(self.factor)):
            raise ValueError(f"a scaling factor of {self.factor} is not a finite number from 1 on")
        if self.trained < 1:
            raise ValueError(f"a trained length of {self.trained} is not positive")

    def dynamic(self, length: int) -> bool:
        """Return whether the scale depends on the length of this input."""
        return self.kind == "dynamic" and length > self.trained

    def slope(self, length: int) -> float:
        """Return the factor of ALiBi's slopes for an input of ``length`` tokens."""
        if self.kind == "linear":
            return 1 / self.factor
        return self.trained / length if self.dynamic(length) else 1.0


def rotary_frequencies(width: int, base: float = 1e4, scaling: Scaling | None = None, length: int = 1) -> Tensor:
    """Return the (D/2,) angles per position, in radians, in float64.

    Args:
        width: D.
        base: the longest wavelength over 2 pi.
        scaling: how positions are scaled.
        length: tokens in the input, for ``dynamic``.
    """
    scaling = scaling or Scaling()
    if scaling.kind == "ntk":
        base = base * scaling.factor ** (width / (width - 2))
    elif scaling.dynamic(length):
        growth = scaling.factor * length / scaling.trained - (scaling.factor - 1)
        base = base * growth ** (width / (width - 2))
    frequencies = base ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)  # (D/2,)
    if scaling.kind == "linear":
        return frequencies / scaling.factor
    if scaling.kind == "yarn":
        interpolated = yarn_ramp(width, base, scaling.trained)
        return frequencies * (1 - interpolated) + frequencies / scaling.factor * interpolated
    return frequencies


def yarn_ramp(width: int, base: float, trained: int) -> Tensor:
    """Return the share (D/2,) of interpolation in each frequency, 0 for those that turn often in the trained length.

    The bounds are rounded outwards to whole channels, as in the authors' code.
    """

    def channel(rotations: float) -> float:
        """Return the index of the frequency with this many rotations within the trained length."""
        return width * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(channel(BETA_FAST)), 0)
    high = min(math.ceil(channel(BETA_SLOW)), width - 1)
    ramp = (torch.arange(width // 2, dtype=torch.float64) - low) / (high - low if high != low else 0.001)
    return ramp.clamp(0, 1)


def attention_factor(scaling: Scaling) -> float:
    """Return the factor of rotated queries and keys: YaRN's temperature, else 1 (Peng et al., 2023, equation 22)."""
    return 0.1 * math.log(scaling.factor) + 1 if scaling.kind == "yarn" else 1.0
