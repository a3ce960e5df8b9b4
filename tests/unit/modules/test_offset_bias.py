"""Biases by offset: rows for any queries, built once."""

import pytest
import torch

from plugins.modules.offset_bias import SHORT, Grown, OffsetBias, power_of_two

CPU = torch.device("cpu")


def doubled(offset):
    return torch.stack([offset, 2 * offset])


@pytest.mark.parametrize("keys", [7, SHORT, SHORT + 9])
def test_any_queries_get_their_rows(keys):
    bias = OffsetBias(doubled)
    i, j = torch.tensor([0, 3, keys - 1]), torch.arange(keys)
    expected = doubled((j - i[:, None]).float().flatten()).view(2, 3, keys)
    for n, place in enumerate(i.tolist()):
        row = bias.rows(slice(place, place + 1), keys, CPU)
        assert row.shape == (1, 2, 1, keys)
        assert torch.equal(row[0, :, 0], expected[:, n])
    each = bias.rows(torch.stack([i, i.flip(0)]), keys, CPU)
    assert torch.equal(each, torch.stack([expected, expected.flip(1)]))
    assert torch.equal(bias.rows(slice(2, 5), keys, CPU)[0, :, 1], expected[:, 1])


def test_biases_are_not_rebuilt_for_each_token():
    built = []
    bias = OffsetBias(lambda offset: built.append(len(offset)) or doubled(offset))
    for keys in range(1, 101):
        bias.rows(slice(keys - 1, keys), keys, CPU)
    assert len(built) <= 8


def test_long_biases_are_not_kept_as_matrices():
    bias = OffsetBias(doubled)
    bias.rows(slice(0, 2), 40_000, CPU)
    assert bias._vector.value.numel() == 2 * (2 * 65_536 - 1) and bias._matrix.value is None


def test_lengths_grow_to_powers_of_two():
    assert [power_of_two(n) for n in (1, 2, 3, 4, 5, 1024, 1025)] == [1, 2, 4, 4, 8, 1024, 2048]


def test_what_grows_is_built_for_more_than_was_asked_and_again_only_for_more():
    built = []
    grown = Grown(lambda length: built.append(length) or torch.ones(length), torch.float16)
    for length in (3, 4, 1, 5, 2, 8):
        value = grown(length, CPU)
        assert len(value) >= length and value.dtype == torch.float16
    assert built == [4, 8] and len(grown(0, CPU)) == 8
    assert grown(1, torch.device("meta")).device.type == "meta" and built == [4, 8, 8]
