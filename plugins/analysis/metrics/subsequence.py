"""Longest common subsequences with one bit per cell (Hyyrö, 2004: "Bit-parallel LCS-length computation revisited")."""

from collections.abc import Hashable, Sequence


class Table:
    """Lengths of the longest common subsequences of all prefixes of two sequences, of N and M items.

    A row is one integer of M bits, so N large rows take about N * M / 64 operations.
    """

    def __init__(self, first: Sequence[Hashable], second: Sequence[Hashable]):
        bits = {item: bytearray(len(second) // 8 + 1) for item in set(first).intersection(second)}
        for j, item in enumerate(second):  # of bytes, because changing a bit of an integer copies it
            if item in bits:
                bits[item][j // 8] |= 1 << j % 8
        matches = {item: int.from_bytes(own, "little") for item, own in bits.items()}  # bit j: second[j] is that item
        every = (1 << len(second)) - 1
        row = every
        self._rows = [row]  # bit j of row i is 0 where the length grows from (i, j) to (i, j + 1)
        for item in first:
            mask = matches.get(item, 0)
            row = ((row + (row & mask)) | (row & ~mask)) & every
            self._rows.append(row)

    def length(self, i: int, j: int) -> int:
        """Return the length for the first ``i`` items and the first ``j`` items."""
        return j - (self._rows[i] & ((1 << j) - 1)).bit_count()


def length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequences of two sequences."""
    return Table(first, second).length(len(first), len(second))


def indices(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[int]:
    """Return the indices in ``first`` of a longest common subsequence: the one that rouge-score chooses."""
    table, found = Table(first, second), []
    i, j = len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif table.length(i, j - 1) > table.length(i - 1, j):
            j -= 1
        else:
            i -= 1
    return found[::-1]
