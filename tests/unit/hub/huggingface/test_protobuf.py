"""The wire format of protocol buffers; the examples are those of its documentation."""

import struct

import pytest

from plugins.hub.huggingface.protobuf import fields, varint


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", {}),
        (b"\x08\x96\x01", {1: [150]}),
        (b"\x12\x07testing", {2: [b"testing"]}),
        (b"\x1a\x03\x08\x96\x01", {3: [b"\x08\x96\x01"]}),
        (b"\x15" + struct.pack("<f", 1.5) + b"\x11" + struct.pack("<d", -2.25), {2: [1.5, -2.25]}),
        (b"\x08\x01\x12\x00\x08\x02", {1: [1, 2], 2: [b""]}),
        (b"\x98\x02\x05", {35: [5]}),  # the number of a field above 15 takes two bytes
    ],
)
def test_fields_are_numbers_texts_and_messages(message, expected):
    assert fields(message) == expected


@pytest.mark.parametrize("message", [b"\x08", b"\x08\x96", b"\x12\x07test", b"\x0b", b"\x08" + b"\x80" * 10 + b"\x01"])
def test_a_damaged_message_is_an_error(message):
    with pytest.raises(ValueError):
        fields(message)


def test_a_number_has_seven_bits_in_each_byte():
    assert varint(b"\x00\x96\x01\x7f", 1) == (150, 3)
    assert varint(b"\x7f", 0) == (127, 1) and varint(b"\x80\x01", 0) == (128, 2)
    assert varint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
