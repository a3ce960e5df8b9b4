"""Find exact duplicates (ignoring case and whitespace) and near duplicates among texts.

Near duplicates are pairs whose sets of character 5-grams have a Jaccard similarity of at least a threshold. MinHash
(Broder, 1997) finds candidates with 128 hash values per text in 16 bands of 8, which detect a pair of similarity 0.8
with probability 0.95; the similarity of each candidate is then computed exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from plugins.data.text import minhash
from plugins.data.text.minhash import HASHES, band_keys, jaccard, normalized

BLOCK = 4096  # texts at a time: their n-grams fit into the cache of a core


def joined(texts: Sequence[Sequence[str]]) -> list[str]:
    """Return the columns of a data set as one normalized text per row, joined by tabs."""
    if len(texts) == 1:
        return [normalized(text) for text in texts[0]]
    return ["\t".join(map(normalized, row)) for row in zip(*texts, strict=True)]


@dataclass(frozen=True)
class Duplicates:
    """Exact and near duplicates among n rows.

    Attributes:
        exact: (n,) number of each row's normalized text.
        groups: (n,) number of each row's group of exact and near duplicates; a row without duplicates is its own group.
        pairs: (P, 2) rows of near duplicates that are not exact duplicates; each text is represented by its first row.
        similarity: (P,) Jaccard similarity of each pair.
    """

    exact: np.ndarray
    groups: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray


def find(texts: Sequence[str], threshold: float = 0.8, seed: int = 0, near: bool = True) -> Duplicates:
    """Find duplicates among texts.

    Args:
        texts: n normalized texts, as returned by :func:`joined`.
        threshold: minimum Jaccard similarity of near duplicates.
        seed: random seed of the hash functions.
        near: find near duplicates in addition to exact ones.
    """
    numbers: dict[str, int] = {}
    exact = np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), np.int64, len(texts))
    unique = list(numbers)
    if not near or len(unique) < 2:
        return Duplicates(exact, exact.copy(), np.zeros((0, 2), np.int64), np.zeros(0))
    pairs = candidates(signatures(unique, seed), threshold)
    similarity = np.array([jaccard(unique[a], unique[b]) for a, b in pairs.tolist()])
    kept = similarity >= threshold
    pairs, similarity = pairs[kept], similarity[kept]
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(unique), len(unique)))
    component = connected_components(links, directed=False)[1]
    first = np.unique(exact, return_index=True)[1]  # the first row of each text
    return Duplicates(exact, component[exact], first[pairs], similarity)


def first_of_group(groups: np.ndarray) -> np.ndarray:
    """Return the number of the first row of each row's group, (n,)."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


def signatures(texts: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return the MinHash signatures of texts, (n, 128) uint32, with a progress bar."""
    found = np.empty((len(texts), HASHES), np.uint32)
    for start in tqdm(range(0, len(texts), BLOCK), "near duplicates", leave=False, disable=None):
        found[start : start + BLOCK] = minhash.signatures(texts[start : start + BLOCK], seed)
    return found


def candidates(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return the pairs (P, 2) that share a band and have an estimated similarity near or above a threshold.

    Texts that share a band are paired with the next and the first of them, not with all; this is sufficient for the
    copies of a text to form one group.
    """
    found = []
    for key in band_keys(values).T:
        order = np.argsort(key, kind="stable")
        new = np.concatenate([[True], np.diff(key[order]) != 0])
        head = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
        later = np.flatnonzero(~new)
        found += [np.stack([order[later - 1], order[later]], 1), np.stack([order[head[later]], order[later]], 1)]
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    estimate = np.concatenate(
        [np.zeros(0)] + [(values[part[:, 0]] == values[part[:, 1]]).mean(1) for part in np.array_split(pairs, 64)]
    )
    return pairs[estimate >= threshold - 0.15]  # four standard errors of 128 hash values
