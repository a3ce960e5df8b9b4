"""A small data set whose inspection can be counted by hand."""

import numpy as np

from plugins.diagnostics.datasets import UNLABELED, Rows

CAT, DOG = "the cat sat", "a dog ran far"


def data():
    """42 training rows of three texts, the third a DOG with other words; two test rows, of which one is unlabeled."""
    texts = [CAT, DOG] * 20 + [CAT, f"{DOG} away now we see", CAT, "one two"]
    labels = np.array([0, 1] * 20 + [1, 1, 0, UNLABELED])
    splits = np.array([0] * 42 + [1] * 2)
    return Rows(("text",), [texts], labels, ["n", "p"], splits, ["train", "test"], [str(i) for i in range(44)])
