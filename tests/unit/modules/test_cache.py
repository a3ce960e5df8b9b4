"""The content of a cache whose rows differ in length, are reordered, or outgrow it."""

import pytest
import torch

from plugins.modules.cache import SPARE, Cache
from plugins.modules.decoder import Decoder
from plugins.modules.positions import DECODER_SCHEMES as POSITIONS

WORDS, BLOCK = 11, 100
LENGTHS = torch.tensor([3, 70, 9])


def make(positions="learned"):
    torch.manual_seed(1)
    decoder = Decoder(WORDS, BLOCK, 16, 32, 2, 4, positions=positions)
    for parameter in decoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return decoder.eval()


def alone(decoder, rows):
    """Return the features of each text alone, in one pass."""
    return [decoder(row[None])[0] for row in rows]


@pytest.mark.parametrize("positions", POSITIONS)
@torch.no_grad()
def test_texts_of_different_lengths_continue_in_a_batch_as_individually(positions):
    decoder, prompts, more = make(positions), torch.randint(WORDS, (3, 70)), torch.randint(WORDS, (3, 5))
    cache = decoder.new_cache(3)
    decoder(prompts, cache)  # prompts are padded on the right
    cache.set_lengths(LENGTHS)
    found = torch.cat([decoder(more[:, :1], cache), decoder(more[:, 1:4], cache), decoder(more[:, 4:], cache)], 1)
    rows = [torch.cat([prompt[:n], rest]) for prompt, n, rest in zip(prompts, LENGTHS, more, strict=True)]
    expected = torch.stack([features[-5:] for features in alone(decoder, rows)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert cache.lengths.tolist() == [8, 75, 14] and cache.length == 75


@torch.no_grad()
def test_selected_rows_continue_their_own_text():
    decoder, prompts, more = make(), torch.randint(WORDS, (3, 70)), torch.randint(WORDS, (4, 2))
    cache = decoder.new_cache(3)
    decoder(prompts, cache)
    cache.set_lengths(LENGTHS)
    cache.take(torch.tensor([2, 0, 2, 0]))
    found = decoder(more, cache)
    chosen = [prompts[2, :9], prompts[0, :3], prompts[2, :9], prompts[0, :3]]
    rows = [torch.cat([prompt, rest]) for prompt, rest in zip(chosen, more, strict=True)]
    torch.testing.assert_close(found, torch.stack([f[-2:] for f in alone(decoder, rows)]), atol=1e-5, rtol=0)
    assert cache.length == 11, "the longest row is gone"


def test_rows_of_one_length_need_no_mask():
    cache = make().new_cache(3)
    cache.set_lengths(torch.tensor([5, 5, 5]))
    assert cache.lengths is None and cache.length == 5


def test_memory_grows_with_the_content_and_not_the_capacity():
    cache = Cache(1, (2, 3, 100_000, 4), torch.zeros(1))
    new = torch.randn(2, 3, 10, 4)
    cache.append(0, new, new)
    cache.advance(10)
    assert cache.keys[0].size(2) == 74
    for _ in range(100):
        cache.append(0, new[:, :, :1], new[:, :, :1])
        cache.advance(1)
    keys, _ = cache.append(0, new, new)
    assert torch.equal(keys[:, :, :10], new) and torch.equal(keys[:, :, -10:], new) and keys.size(2) == 120
    assert cache.keys[0].size(2) < 300


def appended(cache, count, start):
    """Append tokens numbered from ``start`` to all layers; return the numbers of the keys."""
    batch = cache.keys[0].size(0)
    new = torch.arange(start, start + count, dtype=torch.float)[None, None, :, None].expand(batch, 1, count, 2)
    for layer in range(len(cache.keys)):
        keys, values = cache.append(layer, new, -new)
        assert torch.equal(keys, -values)
    cache.advance(count)
    return keys[0, 0, :, 0].tolist()


def test_a_window_keeps_what_the_next_token_can_attend_to_in_bounded_memory():
    cache = Cache(2, (1, 1, 10_000, 2), torch.zeros(1), window=4)
    assert appended(cache, 2, 0) == [0, 1] and cache.first == 0
    assert appended(cache, 3, 2) == [0, 1, 2, 3, 4] and (cache.first, cache.length) == (2, 5)
    for n in range(5, 600):
        assert appended(cache, 1, n) == [n - 3, n - 2, n - 1, n]
        assert cache.first == n - 2
    assert cache.keys[0].size(2) < 4 * SPARE


def test_rows_of_a_window_have_one_length():
    cache = Cache(1, (2, 1, 100, 2), torch.zeros(1), window=4)
    appended(cache, 3, 0)
    cache.set_lengths(torch.tensor([3, 3]))
    for lengths in ([2, 3], [2, 2]):
        with pytest.raises(ValueError):
            cache.set_lengths(torch.tensor(lengths))
    appended(cache, 3, 3)
    cache.take(torch.tensor([1]))
    assert appended(cache, 1, 6) == [3, 4, 5, 6] and len(cache.keys[0]) == 1


def test_rows_are_repeated_up_to_a_fixed_number():
    cache = Cache(1, (3, 1, 100, 1), torch.zeros(1))
    new = torch.tensor([5.0, 6.0, 7.0])[:, None, None, None]
    cache.append(0, new, new)
    cache.advance(1)
    cache.rows = 3
    cache.take(torch.tensor([2, 0]))
    assert cache.keys[0].flatten().tolist() == [7, 5, 7] == cache.values[0].flatten().tolist()
    cache.rows = 0
    cache.take(torch.tensor([1]))
    assert cache.keys[0].flatten().tolist() == [5]


@pytest.mark.parametrize("capacity, size", [(70, 70), (75, 74), (9, 74), (10, 10)])
def test_a_cache_grows_to_its_capacity_or_beyond(capacity, size):
    cache = Cache(1, (1, 1, capacity, 2), torch.zeros(1))
    appended(cache, 10, 0)
    assert cache.keys[0].size(2) == size and not cache.keys[0][:, :, 10:].any()


def test_room_is_made_in_all_layers_and_the_content_kept():
    cache = Cache(2, (1, 1, 1000, 2), torch.zeros(1))
    appended(cache, 10, 0)
    before = [tensor.data_ptr() for tensor in cache.keys]
    cache.reserve(64)
    assert [tensor.data_ptr() for tensor in cache.keys] == before  # 74 fit
    cache.reserve(65)
    for tensors in (cache.keys, cache.values):
        assert all(tensor.size(2) >= 75 for tensor in tensors)
        assert all(tensor[0, 0, :10, 0].abs().tolist() == list(range(10)) for tensor in tensors)


def test_a_cache_is_emptied_and_used_again():
    cache = Cache(1, (1, 1, 100, 2), torch.zeros(1), window=4)
    appended(cache, 9, 0)
    cache.prompted, cache.style["sum"] = 2, 1
    cache.reset()
    assert (cache.length, cache.first, cache.start, cache.prompted, cache.lengths, cache.style) == (
        0,
        0,
        0,
        0,
        None,
        {},
    )
    assert appended(cache, 2, 5) == [5, 6]


def test_a_longer_history_leaves_more_room():
    cache = Cache(1, (1, 1, 10_000, 2), torch.zeros(1))
    appended(cache, 1000, 0)
    assert cache.keys[0].size(2) == 1250
