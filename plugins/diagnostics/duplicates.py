"""Texts that occur twice: exactly, but for case and spaces, or nearly.

Near duplicates are pairs whose sets of 5-character pieces have a Jaccard similarity of at least a threshold. MinHash
(Broder, 1997) finds candidates: 128 hash values per text, in 16 bands of 8, so that a pair of similarity 0.8 is found
with probability 0.95; each candidate is then compared exactly.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

WIDTH = 5  # characters per piece
HASHES, BANDS = 128, 16
BLOCK = 4096  # texts at a time: their pieces fit into a core's cache
FINAL = " .!?…。"


def normalized(text: str) -> str:
    """Return a text in Unicode's NFKC, lower case, with single spaces and without final punctuation."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.lower().split()).rstrip(FINAL)


def joined(texts: Sequence[Sequence[str]]) -> list[str]:
    """Return the columns of a data set as one normalized text per row, joined by tabs."""
    if len(texts) == 1:
        return [normalized(text) for text in texts[0]]
    return ["\t".join(map(normalized, row)) for row in zip(*texts, strict=True)]


@dataclass(frozen=True)
class Duplicates:
    """Which of n rows are the same text, or nearly.

    Attributes:
        exact: (n,) number of each row's normalized text.
        groups: (n,) number of each row's group of exact and near duplicates; any other row is its own group.
        pairs: (P, 2) rows that are near duplicates but not exact ones, a row each for their texts.
        similarity: (P,) Jaccard similarity of each pair.
    """

    exact: np.ndarray
    groups: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray


def find(texts: Sequence[str], threshold: float = 0.8, seed: int = 0, near: bool = True) -> Duplicates:
    """Return which texts are duplicates.

    Args:
        texts: n normalized texts, as :func:`joined` returns them.
        threshold: Jaccard similarity from which texts are near duplicates.
        seed: of the hash functions.
        near: look for near duplicates too.
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
    """Return the first row of each row's group, (n,); a first or only row has its own number."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


def pieces(text: str) -> set[str]:
    """Return the set of 5-character pieces of a text; a shorter text is one piece."""
    return {text[i : i + WIDTH] for i in range(max(1, len(text) - WIDTH + 1))}


def jaccard(first: str, second: str) -> float:
    """Return the Jaccard similarity of the pieces of two texts."""
    first, second = pieces(first), pieces(second)
    return len(first & second) / len(first | second)


# MinHash


def signatures(texts: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return the MinHash values of texts, (n, 128) uint32; the share that two share estimates their similarity."""
    random = np.random.default_rng(seed)
    factors = random.integers(2**32, size=HASHES, dtype=np.uint32) | np.uint32(1)
    offsets = random.integers(2**32, size=HASHES, dtype=np.uint32)
    found = np.empty((len(texts), HASHES), np.uint32)
    for start in tqdm(range(0, len(texts), BLOCK), "near duplicates", leave=False, disable=None):
        hashed, begins = piece_hashes(texts[start : start + BLOCK])
        work = np.empty_like(hashed)
        for i in range(HASHES):
            np.multiply(hashed, factors[i], out=work)
            np.add(work, offsets[i], out=work)
            found[start : start + BLOCK, i] = np.minimum.reduceat(work, begins)
    return found


def piece_hashes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash for each piece of each text (uint32), and where each text's begin (n,)."""
    padding = "\0" * (WIDTH - 1)
    codes = np.frombuffer(padding.join([*texts, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    counts = np.maximum(1, sizes - WIDTH + 1)
    starts = np.concatenate([[0], (sizes + WIDTH - 1).cumsum()])[:-1]
    codes = np.append(codes, np.zeros(WIDTH, np.uint32))
    begins = np.concatenate([[0], counts.cumsum()])[:-1]
    places = np.arange(counts.sum()) + np.repeat(starts - begins, counts)
    hashed = np.zeros(len(places), np.uint64)
    for offset in range(WIDTH):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + codes[places + offset]
    hashed ^= hashed >> np.uint64(33)
    hashed *= np.uint64(0xFF51AFD7ED558CCD)
    return (hashed >> np.uint64(32)).astype(np.uint32), begins


def candidates(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return pairs (P, 2) that share a band and whose estimated similarity is not far below a threshold.

    Of the texts that share a band each is paired with the next and with the first, not with all: copies of one text
    still form one group.
    """
    width = values.shape[1] // BANDS
    factors = np.random.default_rng(0).integers(2**63, size=width, dtype=np.uint64) | np.uint64(1)
    found = []
    for band in range(BANDS):
        key = np.zeros(len(values), np.uint64)
        for i in range(width):
            key = (key ^ values[:, band * width + i]) * factors[i]
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
