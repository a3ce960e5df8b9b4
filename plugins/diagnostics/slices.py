"""Slices of a data set: rows by length, by a column of the file, by ranges of numbers."""

from collections.abc import Sequence

import numpy as np

from plugins.errors import check

MOST_VALUES = 30


def by_length(texts: Sequence[Sequence[str]], parts: int = 4) -> dict[str, np.ndarray]:
    """Return rows by the number of words of all their texts, in parts of about equal size: {range: (n,) bool}."""
    words = np.array([sum(text.count(" ") + 1 for text in row) for row in zip(*texts, strict=True)])
    return by_number(words, parts)


def by_number(values: np.ndarray, parts: int = 4) -> dict[str, np.ndarray]:
    """Return rows by quantiles of numbers (n,): {range: (n,) bool}; equal numbers stay together."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, parts + 1)))
    if len(edges) < 3:
        return {f"{edges[0]:g} to {edges[-1]:g}": np.ones(len(values), bool)}
    places = np.searchsorted(edges[1:-1], values, side="left")  # a value on an edge goes to the lower part
    found = {}
    for i in np.unique(places):
        own = values[places == i]
        found[f"{own.min():g} to {own.max():g}"] = places == i
    return found


def by_value(values: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """Return rows by the values of a column, numbers by quantiles where there are many: {value: (n,) bool}.

    Raises:
        UserError: more than 30 different values that are not numbers.
    """
    kinds = sorted(set(values))
    if len(kinds) > MOST_VALUES:
        try:
            return by_number(np.array([float(value) for value in values]))
        except ValueError:
            check(False, f"--slices {name}: {len(kinds):,} different values; at most {MOST_VALUES} make slices")
    array = np.array(values, object)
    return {kind or "(empty)": array == kind for kind in kinds}
