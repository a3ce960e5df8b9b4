"""The ways in which a caller says which style is meant."""

from numbers import Integral, Real

from plugins.errors import check


def weights_of(style, names):
    """Return the weight of each named style, a list of floats.

    Args:
        style: a name; a mixture {name: weight}, whose weights are divided by their sum; False, or ``"none"`` where no
            style has that name, for no style at all, which is a list of zeros.
        names: of the styles of the model.

    Raises:
        UserError: a name that the model does not have, or weights that are no mixture.
    """
    if style is False or (style == "none" and "none" not in names):
        return [0.0] * len(names)
    check(isinstance(style, str | dict), f"style={style!r}: a name or a mixture {{name: weight}} is needed")
    weights = style if isinstance(style, dict) else {style: 1.0}
    unknown = next((name for name in weights if name not in names), None)
    check(unknown is None, f"no style {unknown!r}; this model has {', '.join(names)}, and none")
    numbers = all(is_number(weight, Real) for weight in weights.values())
    check(numbers, f"style {style!r}: weights must be numbers, and cannot be negative")
    total = sum(weights.values())
    check(0 < total < float("inf"), f"style {style!r}: the weights sum to {total}; style='none' means no style")
    return [weights.get(name, 0.0) / total for name in names]


def is_number(value, kind=Integral, least=0):
    """Tell whether a value is a number of a kind, and no less than another."""
    return isinstance(value, kind) and value >= least
