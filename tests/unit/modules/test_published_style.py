"""The published adapter: it leaks, as documented. tests/integration compares its outputs with the original's."""

import torch

from plugins.modules.published_style import PublishedStyle


def run(adapter, x, **options):
    style = adapter.begin(**options)
    for layer in range(4):
        x = style(layer, x)
    return x, style.logits


def make(layers):
    torch.manual_seed(0)
    return PublishedStyle(8, layers, gates=4, styles=3, style_dim=5)


def test_the_last_position_changes_the_first():
    adapter, x = make([0, 1, 2, 3]), torch.randn(1, 6, 8)
    changed = x.clone()
    changed[:, -1] += 1
    assert not torch.equal(run(adapter, x)[0][:, 0], run(adapter, changed)[0][:, 0])


def test_padding_is_not_taken_for_the_end():
    adapter, x = make([0, 1, 2, 3]), torch.randn(2, 6, 8)
    padded, _ = run(adapter, x, lengths=torch.tensor([6, 4]))
    alone, logits = run(adapter, x[1:, :4])
    torch.testing.assert_close(padded[1:, :4], alone)
    assert logits.shape == (1, 1, 3)


def test_layers_that_are_not_modulated_pass_unchanged():
    x = torch.randn(1, 6, 8)
    assert torch.equal(run(make([]), x)[0], x)


def test_a_forced_style_replaces_the_classifier():
    adapter, x = make([1]), torch.randn(1, 6, 8)
    first, second = (run(adapter, x, styles=torch.eye(3)[i : i + 1])[0] for i in (0, 1))
    assert not torch.allclose(first, second)


def test_every_trained_parameter_gets_a_gradient_as_several_workers_need():
    adapter = PublishedStyle(8, [0, 2], gates=3, styles=4, style_dim=5)
    x = torch.randn(2, 6, 8)
    style = adapter.begin()
    for layer in range(4):
        x = style(layer, x)
    x.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in adapter.parameters())
