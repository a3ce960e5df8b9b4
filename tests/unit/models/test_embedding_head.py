"""Heads that tasks add to any model: what they freeze, and what a checkpoint without them means."""

import pytest
import torch
from peft_models import build, tokens_for

from plugins.models.embedding_head import adopt_head


@pytest.mark.parametrize("name", ["causal_lm", "char_lm", "clap_roberta", "clap_roberta with alibi"])
@pytest.mark.parametrize("head", ["embedding", "score"])
def test_the_output_layer_is_frozen_except_for_the_table_that_the_input_shares(name, head):
    model, _ = build(name)
    getattr(model, f"register_{head}_head")("mean")
    parts = model.peft_parts()
    output = {n for n, p in model.named_parameters() if any(p is q for q in parts.head.parameters())}
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    shared = {n for n, p in model.named_parameters() if p is parts.table.weight}
    assert frozen == output - shared and parts.table.weight.requires_grad


def test_the_embedding_head_has_the_given_parts():
    model, _ = build("causal_lm")
    model.register_embedding_head("max", normalize=True, classes=3, decoder_tokens=8)
    head, table = model.embedding_head, model.decoder.transformer.wte.weight
    assert (head.pooling, head.normalize, head.classifier.weight.shape) == ("max", True, (3, 48))
    assert head.decoder.body.wte.weight is table and head.decoder.body.block_size == 8
    assert head.decoder.body.heads == 1  # one of 64 channels, or fewer
    model.register_embedding_head("mean")
    assert (model.embedding_head.normalize, model.embedding_head.classifier, model.embedding_head.decoder) == (
        False, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("width, heads", [(64, 1), (128, 2), (192, 3), (272, 4), (330, 5)])
def test_the_decoder_has_heads_of_about_64_channels_that_divide_the_width(width, heads):
    model, _ = build("causal_lm", decoder_embed_dim=width, decoder_layers=1)
    model.register_embedding_head("mean", decoder_tokens=8)
    assert model.embedding_head.decoder.body.heads == heads


def test_the_score_head_has_the_given_parts():
    model, _ = build("causal_lm")
    model.register_score_head("max", 0.3, 0.2)
    head = model.score_head
    assert (head.pooling, head.dropout.p) == ("max", 0.3)
    assert head.flip_rate().item() == pytest.approx(0.2)


def test_a_checkpoint_without_the_head_or_with_another_keeps_the_initial_values():
    model = torch.nn.Module()
    model.head = torch.nn.Linear(2, 3)
    state = {"m.head.weight": torch.zeros(4, 2), "m.head.other": torch.zeros(1), "m.rest": torch.zeros(1)}
    adopt_head(model, "head", state, "m.")
    assert state.keys() == {"m.head.weight", "m.head.bias", "m.rest"}
    assert torch.equal(state["m.head.weight"], model.head.weight) and torch.equal(state["m.head.bias"], model.head.bias)
    state = {"m.head.weight": torch.zeros(3, 2), "m.headless": torch.ones(1)}
    adopt_head(model, "head", state, "m.")
    assert not state["m.head.weight"].any() and "m.headless" in state
    adopt_head(torch.nn.Module(), "head", state, "m.")
    assert state.keys() == {"m.headless"}


@pytest.mark.parametrize("name", ["causal_lm", "clap_roberta"])
def test_checkpoints_load_with_and_without_heads(name):
    plain, headed = build(name)[0], build(name, seed=1)[0]
    headed.register_embedding_head("attention")
    headed.register_score_head("attention")
    own = {n: p.clone() for n, p in headed.state_dict().items() if "_head." in n and "lm_head" not in n}
    headed.load_state_dict(plain.state_dict())
    assert own and all(torch.equal(headed.state_dict()[n], p) for n, p in own.items())
    tokens = tokens_for(name)
    with torch.no_grad():
        assert torch.equal(headed(tokens)[0], plain(tokens)[0])
    build(name, seed=2)[0].load_state_dict(headed.state_dict())
