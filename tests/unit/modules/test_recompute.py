"""Activation checkpointing changes memory, not results."""

import pytest
import torch

from plugins.modules.decoder import Decoder
from plugins.modules.recompute import call


def gradients(recompute, **options):
    torch.manual_seed(3)
    decoder = Decoder(11, 12, 16, 32, 3, 4, **options).train()
    decoder.checkpoint_activations = recompute
    torch.manual_seed(4)
    loss = decoder(torch.arange(11)[None]).square().sum()
    loss.backward()
    return loss, [p.grad for p in decoder.parameters()]


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "attention_dropout": 0.2}])
def test_a_decoder_has_the_same_loss_and_gradients(options):
    (loss, grads), (expected, theirs) = gradients(True, **options), gradients(False, **options)
    assert torch.equal(loss, expected)
    assert all(torch.equal(a, b) for a, b in zip(grads, theirs, strict=True))


def test_inputs_without_gradients_give_gradients_to_the_layer():
    """The embeddings may be frozen, as with LoRA."""
    layer = torch.nn.Linear(3, 3)
    call(layer, torch.ones(2, 3), recompute=True).sum().backward()
    assert layer.weight.grad is not None


def test_a_layer_keeps_its_input_only():
    kept = []
    layer = torch.nn.Sequential(*(torch.nn.Tanh() for _ in range(4)))
    x = torch.ones(5, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        call(layer, x, recompute=False)
        assert len(kept) == 4
        call(layer, x, recompute=True)
    assert len(kept) == 5 and torch.equal(kept[4], x)
