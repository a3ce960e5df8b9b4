"""MinHash (Broder, 1997): signatures of texts, whose agreement estimates the Jaccard similarity of the texts.

The pieces of a text are its substrings of 5 characters. 128 hash values per text in 16 bands of 8: two texts of
similarity 0.8 share a band with probability 0.95.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np

WIDTH = 5  # characters per piece
HASHES, BANDS = 128, 16
FINAL = " .!?…。"


def normalized(text: str) -> str:
    """Return a text in Unicode's NFKC, lower case, with single spaces and without final punctuation."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.lower().split()).rstrip(FINAL)


def pieces(text: str) -> set[str]:
    """Return the set of 5-character pieces of a text; a shorter text is one piece."""
    return {text[i : i + WIDTH] for i in range(max(1, len(text) - WIDTH + 1))}


def jaccard(first: str, second: str) -> float:
    """Return the Jaccard similarity of the pieces of two texts."""
    first, second = pieces(first), pieces(second)
    return len(first & second) / len(first | second)


def signatures(texts: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return the MinHash values of texts, (n, 128) uint32; the fraction of equal values estimates similarity."""
    random = np.random.default_rng(seed)
    factors = random.integers(2**32, size=HASHES, dtype=np.uint32) | np.uint32(1)
    offsets = random.integers(2**32, size=HASHES, dtype=np.uint32)
    found = np.empty((len(texts), HASHES), np.uint32)
    hashed, begins = piece_hashes(texts)
    work = np.empty_like(hashed)
    for i in range(HASHES):
        np.multiply(hashed, factors[i], out=work)
        np.add(work, offsets[i], out=work)
        found[:, i] = np.minimum.reduceat(work, begins)
    return found


def band_keys(values: np.ndarray) -> np.ndarray:
    """Return a hash for each band of signatures, (n, 16) uint64: candidates have one in common."""
    width = values.shape[1] // BANDS
    factors = np.random.default_rng(0).integers(2**63, size=width, dtype=np.uint64) | np.uint64(1)
    keys = np.zeros((len(values), BANDS), np.uint64)
    for i in range(width):
        keys = (keys ^ values[:, i::width]) * factors[i]
    return keys


def piece_hashes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash for each piece of each text (uint32), and where each text's begin (n,)."""
    padding = "\0" * WIDTH  # also after an empty text, whose piece it is
    codes = np.frombuffer(padding.join([*texts, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    counts = np.maximum(1, sizes - WIDTH + 1)
    starts = np.concatenate([[0], (sizes + WIDTH).cumsum()])[:-1]
    begins = np.concatenate([[0], counts.cumsum()])[:-1]
    places = np.arange(counts.sum()) + np.repeat(starts - begins, counts)
    hashed = np.zeros(len(places), np.uint64)
    for offset in range(WIDTH):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + codes[places + offset]
    hashed ^= hashed >> np.uint64(33)
    hashed *= np.uint64(0xFF51AFD7ED558CCD)
    return (hashed >> np.uint64(32)).astype(np.uint32), begins
