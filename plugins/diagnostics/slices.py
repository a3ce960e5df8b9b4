"""Slices of a data set by text length, by numeric ranges, or by the values of a column."""

from collections.abc import Sequence

import numpy as np

from plugins.errors import check

MOST_VALUES = 30


def by_length(texts: Sequence[Sequence[str]], parts: int = 4) -> dict[str, np.ndarray]:
    """Slice rows by their total number of words, in parts of about equal size: {range: (n,) bool}."""
    words = np.array([sum(len(text.split()) for text in row) for row in zip(*texts, strict=True)])
    return by_number(words, parts)


def by_number(values: np.ndarray, parts: int = 4) -> dict[str, np.ndarray]:
    """Slice rows by quantiles of numbers (n,): {range: (n,) bool}; equal numbers are in the same slice."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, parts + 1)))
    if len(edges) < 3:
        return {f"{edges[0]:g} to {edges[-1]:g}": np.ones(len(values), bool)}
    places = np.searchsorted(edges[1:-1], values, side="left")  # a value on an edge belongs to the lower part
    found = {}
    for i in np.unique(places):
        own = values[places == i]
        found[f"{own.min():g} to {own.max():g}"] = places == i
    return found


def by_value(values: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """Slice rows by the values of a column, or by quantiles if it has many numbers: {value: (n,) bool}.

    Raises:
        UserError: there are more than 30 distinct values that are not numbers.
    """
    kinds = sorted(set(values))
    if len(kinds) > MOST_VALUES:
        try:
            return by_number(np.array([float(value) for value in values]))
        except ValueError:
            check(False, f"--slices {name}: {len(kinds):,} different values; at most {MOST_VALUES} make slices")
    array = np.array(values, object)
    return {kind or "(empty)": array == kind for kind in kinds}
