"""The wire format of protocol buffers, as far as a sentencepiece model needs it, without the protobuf library.

https://protobuf.dev/programming-guides/encoding
"""

import struct
from collections import defaultdict
from typing import Any


def fields(message: bytes) -> dict[int, list[Any]]:
    """Return {field number: its values} of a message; a text or a nested message is bytes.

    Raises:
        ValueError: the message is damaged.
    """
    found, at = defaultdict(list), 0
    while at < len(message):
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(message, at)
        elif kind == 2:
            size, at = varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            (value,), at = struct.unpack_from("<d" if kind == 1 else "<f", message, at), at + size
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if at > len(message):
            raise ValueError("the message is truncated")
        found[number].append(value)
    return dict(found)


def varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and the place after it.

    Raises:
        ValueError: the message is truncated.
    """
    value = shift = 0
    while at < len(message) and shift < 64:
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return value, at
    raise ValueError("the message is truncated")
