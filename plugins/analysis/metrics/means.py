"""Means with standard errors and deviations: the only place where these are computed."""

import math
from collections.abc import Sequence

import numpy as np


def standard_error(values: Sequence[float] | np.ndarray) -> np.ndarray | float:
    """Return the standard error of the mean over the first axis, with n - 1 in the deviation; NaN for one value.

    Args:
        values: (N, ...).

    Returns:
        (...), a float for (N,).
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        errors = np.full(values.shape[1:], math.nan)
    else:
        errors = values.std(0, ddof=1) / math.sqrt(len(values))
    return errors if errors.ndim else float(errors)


def mean_and_error(values: Sequence[float]) -> dict:
    """Return ``mean``, ``standard_error`` (NaN for one value) and ``n`` of numbers (N,); NaN values are left out."""
    values = np.asarray([value for value in values if not math.isnan(value)], dtype=float)
    if not len(values):
        return {"mean": math.nan, "standard_error": math.nan, "n": 0}
    return {"mean": float(values.mean()), "standard_error": standard_error(values), "n": len(values)}


def mean_and_deviation(values: Sequence[float] | np.ndarray, form: str = "{:.3f}") -> str:
    """Return ``mean ± standard deviation`` of numbers (N,), N at least 1; the mean alone for one value.

    Args:
        values: (N,).
        form: format of the mean.
    """
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return form.format(np.mean(values)) + deviation
