"""Parse the ``style`` argument of the character LM interface."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from plugins.errors import check

Style = str | Mapping[str, float] | bool | None
"""None: inferred; a name or a mixture {name: weight}: forced; False or ``"none"``: no style."""


def weights_of(style: Style, names: Sequence[str]) -> list[float]:
    """Return the weight of each named style.

    Args:
        style: a name; a mixture {name: weight}, normalized to sum to 1; False, or ``"none"`` unless a style has that
            name for no style, which is all zeros.
        names: names of the styles of the model.

    Raises:
        UserError: an unknown name, or weights that are not a mixture.
    """
    if style is False or (style == "none" and "none" not in names):
        return [0.0] * len(names)
    check(isinstance(style, str | Mapping), f"style={style!r}: a name or a mixture {{name: weight}} is needed")
    weights = style if isinstance(style, Mapping) else {style: 1.0}
    unknown = next((name for name in weights if name not in names), None)
    check(unknown is None, f"no style {unknown!r}; this model has {', '.join(names)}, and none")
    numbers = all(is_number(weight, Real) for weight in weights.values())
    check(numbers, f"style {style!r}: weights must be numbers, 0 or more")
    total = sum(weights.values())
    check(0 < total < float("inf"), f"style {style!r}: the weights sum to {total}; style='none' means no style")
    return [weights.get(name, 0.0) / total for name in names]


def is_number(value: Any, kind: type[Any] = Integral, least: float = 0) -> bool:
    """Return whether a value is a number of a kind (an integer by default) and at least ``least``."""
    return isinstance(value, kind) and not isinstance(value, bool) and value >= least
