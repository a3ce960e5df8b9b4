"""Blocks of a table of words, and the gradients of products with it, against autograd."""

import pytest
import torch

from plugins.modules import word_table
from plugins.modules.word_table import Gradients, WordTable

FLOAT32 = (torch.float32,) * 3
HALF = (torch.float16, torch.float16, torch.float32)


def make(words=6, types=FLOAT32, bias=False, scale=False, normalize=False, keep=False):
    torch.manual_seed(0)
    weight = torch.randn(words, 4)
    given = torch.randn(words) if bias else None, torch.tensor([1.5]) if scale else None
    return WordTable(weight, *given, normalize, types, keep, predictions=1)


def logits_of(table, x):
    return torch.cat([table.logits(x, block) for block in table.blocks], -1)


def by_torch(table, x, weight, scale, bias):
    logits = x @ weight.T
    if table.normalize:
        logits = logits / weight.norm(dim=1)
    logits = logits if scale is None else logits * scale
    return logits if bias is None else logits + bias


@pytest.mark.parametrize("words, blocks", [(4, [(0, 4)]), (5, [(0, 4), (4, 5)]), (8, [(0, 4), (4, 8)])])
def test_a_table_is_cut_into_blocks_on_a_cpu(monkeypatch, words, blocks):
    monkeypatch.setattr(word_table, "words_of_block", lambda _: 4)
    assert [(block.start, block.stop) for block in make(words).blocks] == blocks


@pytest.mark.parametrize("words, padded", [(1, 64), (64, 64), (65, 128)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_table_is_one_padded_block_where_no_cache_is_large_enough(monkeypatch, words, padded, bias):
    monkeypatch.setattr(word_table, "in_one_block", lambda device: True)
    table, x = make(words, bias=bias, scale=True, normalize=True), torch.randn(3, 4)
    assert [(block.start, block.stop) for block in table.blocks] == [(0, padded)]
    assert table.keep == (padded > words)
    logits = logits_of(table, x)
    expected = by_torch(table, x, table.weight, table.scale, None if table.bias is None else table.bias[:words])
    torch.testing.assert_close(logits[:, :words], expected)
    assert logits[:, words:].isneginf().all() and logits.shape == (3, padded)


def test_only_devices_without_large_caches_compute_all_words_at_once():
    assert word_table.in_one_block(torch.device("cuda")) and not word_table.in_one_block(torch.device("cpu"))


@pytest.mark.parametrize("block, one", [(4, False), (1024, False), (4, True)])
@pytest.mark.parametrize("options", [
    {}, {"bias": True}, {"scale": True}, {"normalize": True}, {"bias": True, "scale": True, "normalize": True},
    {"scale": True, "normalize": True, "keep": True},
])  # fmt: skip
def test_gradients_summed_over_chunks_are_those_of_autograd(monkeypatch, options, block, one):
    monkeypatch.setattr(word_table, "words_of_block", lambda _: block)
    monkeypatch.setattr(word_table, "in_one_block", lambda device: one)
    table = make(**options)
    x, by_logits = torch.randn(5, 4), torch.randn(5, 6)
    leaves = [None if t is None else t.clone().requires_grad_()
              for t in (x, table.weight, table.scale, None if table.bias is None else table.bias[:6])]  # fmt: skip
    (by_torch(table, leaves[0], *leaves[1:]) * by_logits).sum().backward()
    found = Gradients(table, x, [True] * 4)
    for rows, first, last in ((slice(0, 3), True, False), (slice(3, 5), False, True)):
        whole = torch.nn.functional.pad(by_logits[rows], (0, table.padding))
        found.add([whole[:, part].clone() for part in table.blocks], x[rows], rows, first, last)
    for got, leaf in zip((found.features, found.weight, found.scale, found.bias), leaves, strict=True):
        assert (got is None) == (leaf is None)
        if leaf is not None:
            torch.testing.assert_close(got, leaf.grad.view_as(got), rtol=1e-4, atol=1e-5)


def test_gradients_that_are_not_needed_are_not_kept():
    found = Gradients(make(bias=True, scale=True), torch.ones(2, 4), [False] * 4)
    assert found.features is found.weight is found.scale is found.bias is None


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_of_rare_words_do_not_vanish_in_float16(normalize):
    """A probability of 2e-8 is 0 in float16."""
    table, x = make(types=HALF, normalize=normalize), torch.ones(2, 4)
    found = Gradients(table, x, [True, True, False, False])
    found.add([torch.full((2, 6), 2e-8)], x.half(), slice(0, 2), True, True)
    weight = table.weight.clone().requires_grad_()
    features = x.clone().requires_grad_()
    (by_torch(table, features, weight, None, None) * 2e-8).sum().backward()
    torch.testing.assert_close(found.weight, weight.grad, rtol=0.02, atol=2e-9)
    torch.testing.assert_close(found.features, features.grad, rtol=0.02, atol=2e-9)


def test_factors_of_float16_do_not_overflow_with_short_rows():
    """Gradients are divided by the norm of their rows, here 1e-3, which the gain takes back."""
    table = make(types=HALF, normalize=True)
    table.weight *= 1e-3 / table.weight.norm(dim=1, keepdim=True)
    found = Gradients(table, torch.ones(2, 4), [True, True, False, False])
    found.add([torch.full((2, 6), 0.5)], torch.ones(2, 4).half(), slice(0, 2), True, True)
    assert found.weight.isfinite().all() and found.features.isfinite().all()


@pytest.mark.parametrize("predictions, words", [(0, 4096), (1, 4096), (614, 3415), (2048, 1024), (4096, 1024)])
def test_blocks_have_more_words_with_fewer_predictions_within_limits(predictions, words):
    assert word_table.words_of_block(predictions) == words
