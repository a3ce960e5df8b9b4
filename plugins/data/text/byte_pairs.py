"""Byte-pair merges in O(n log n), for texts with words of any length."""

import heapq
from collections.abc import Mapping, Sequence

from fairseq.data.encoders.gpt2_bpe_utils import Encoder

LONG_WORD = 64  # symbols from which on the queue is faster than fairseq's loop


class BytePairEncoder(Encoder):
    """fairseq's encoder of GPT-2's byte-level BPE, with the same ids, but not quadratic in the length of a word."""

    def bpe(self, token: str) -> str:
        """Return the symbols of a word, joined by blanks."""
        if len(token) < LONG_WORD:
            return super().bpe(token)
        return " ".join(merged(token, self.bpe_ranks))


def merged(word: Sequence[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Merge adjacent symbols: all pairs of the lowest rank from left to right, then again (Sennrich et al., 2016).

    Args:
        word: N symbols.
        ranks: rank of each pair that may be merged.

    Returns:
        At most N symbols.
    """
    symbols: list[str | None] = list(word)
    following = [*range(1, len(symbols)), -1]  # index of the next symbol that is left
    previous = [-1, *range(len(symbols) - 1)]
    queue = [(ranks[pair], i, *pair) for i, pair in enumerate(zip(word, word[1:], strict=False)) if pair in ranks]
    heapq.heapify(queue)
    while queue:
        rank, changed = queue[0][0], []
        while queue and queue[0][0] == rank:
            _, i, first, second = heapq.heappop(queue)
            j = following[i] if symbols[i] == first else -1
            if j < 0 or symbols[j] != second:  # one of the two was merged with another symbol since
                continue
            symbols[i], symbols[j] = first + second, None
            following[i] = following[j]
            if following[j] >= 0:
                previous[following[j]] = i
            changed += [previous[i], i] if previous[i] >= 0 else [i]
        for i in changed:
            j = following[i]
            left, right = symbols[i], symbols[j] if j >= 0 else None
            if left is not None and right is not None and (new := ranks.get((left, right))) is not None:
                heapq.heappush(queue, (new, i, left, right))
    return [symbol for symbol in symbols if symbol is not None]
