"""The content of a cache whose rows differ in length, are reordered, or outgrow it."""

import pytest
import torch

from plugins.modules.cache import Cache
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
