"""The encoder computes what fairseq's does, and its options do what they say."""

import pytest
import torch
import toy
from torch import nn

from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding
from plugins.modules.positions import Spec
from plugins.modules.positions import build as build_positions

PAD = 1


@pytest.fixture(scope="module")
def task(toy_data):
    return toy.make_task(toy_data)


@pytest.fixture(scope="module")
def tokens(task):
    words = len(task.dictionary)
    batch = torch.randint(4, words, (3, 20), generator=torch.Generator().manual_seed(3))
    batch[:, 0] = 0
    batch[1, 12:] = PAD
    batch[2, 19:] = PAD
    return batch


STYLES = {
    "post-norm": {},
    "pre-norm": {"encoder_normalize_before": True},
    "pre-norm without embedding norm": {"encoder_normalize_before": True, "layernorm_embedding": False},
    "relu": {"activation_fn": "relu"},
    "untied": {"untie_weights_roberta": True},
    "scaled": {"scale_embeddings": True},
}


@pytest.mark.parametrize("style", STYLES)
def test_equals_fairseqs_roberta_with_the_same_weights(task, tokens, style):
    options = STYLES[style]
    ours = toy.make_model(task, head="roberta", **options)
    scaled = options.get("scale_embeddings", False)
    stock = toy.make_stock_model(
        task, no_scale_embedding=not scaled, **{k: v for k, v in options.items() if k != "scale_embeddings"}
    )
    toy.randomize(stock)
    ours.load_state_dict(stock.state_dict())
    real = tokens != PAD
    for batch, where in ((tokens, real), (tokens[:1], real[:1])):  # padded, and without any padding
        with torch.no_grad():
            (a, extra_a), (b, extra_b) = (m(batch, return_all_hiddens=True) for m in (ours, stock))
            features_a, features_b = (m(batch, features_only=True)[0] for m in (ours, stock))
        torch.testing.assert_close(a[where], b[where], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(features_a[where], features_b[where], atol=1e-5, rtol=1e-4)
        for x, y in zip(extra_a["inner_states"], extra_b["inner_states"], strict=True):
            assert x.shape == y.shape
            torch.testing.assert_close(x[where.t()], y[where.t()], atol=1e-5, rtol=1e-4)


def test_gradients_equal_fairseqs_without_dropout(task, tokens):
    quiet = {"dropout": 0.0, "attention_dropout": 0.0}
    ours = toy.make_model(task, head="roberta", **quiet).train()
    stock = toy.make_stock_model(task, **quiet).train()
    toy.randomize(stock, scale=0.05)
    ours.load_state_dict(stock.state_dict())
    masked = (tokens != PAD) & (torch.arange(20) % 3 == 1)
    for model in (ours, stock):
        model(tokens, masked_tokens=masked)[0].float().logsumexp(-1).sum().backward()
    theirs = dict(stock.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, theirs[name].grad, atol=2e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


def build(layers=2, positions="alibi", **options):
    table = nn.Embedding(10, 16)
    bodies = [EncoderLayer(16, 32, 2, torch.relu, dropout=0.0, attention_dropout=0.0) for _ in range(layers)]
    token_embedding = TokenEmbedding(10)
    return SentenceEncoder(
        table,
        build_positions(positions, Spec(16, 2, 32, padding_row=PAD)),
        token_embedding,
        bodies,
        padding_index=PAD,
        dropout=0.0,
        **options,
    )


def test_layers_are_dropped_at_their_rate_and_only_in_training():
    encoder, tokens = build(layers=4, layer_drop=0.3), torch.tensor([[0, 5, 6]])
    ran = sum(len(encoder.train()(tokens)[1]) - 1 for _ in range(400)) / 1600
    assert ran == pytest.approx(0.7, abs=0.06)
    assert len(encoder.eval()(tokens)[1]) == 5


def test_rows_alone_equal_those_rows_of_everything():
    encoder, tokens = build().eval(), torch.tensor([[0, 5, 6, 7], [0, 8, 1, 1]])
    rows = torch.tensor([1, 3, 5])
    everything = encoder(tokens)[0].flatten(0, 1)
    torch.testing.assert_close(encoder(tokens, rows=rows)[0], everything[rows])


def test_rows_alone_when_the_last_layer_is_dropped():
    encoder, tokens = build(layers=1, layer_drop=1.0).train(), torch.tensor([[0, 5, 6, 7]])
    assert encoder(tokens, rows=torch.tensor([1, 3]))[0].shape == (2, 16)


def test_the_input_of_a_mask_without_a_row_is_exactly_zero():
    table = nn.Embedding(10, 16)
    for normalize in (False, True):
        x = TokenEmbedding(10, normalize=normalize, scale=4.0)(torch.tensor([[3, 10, 4]]), table)
        assert x[0, 1].tolist() == [0.0] * 16
        assert x[0, 0].norm() > 0


def test_a_mask_without_a_row_moves_no_row():
    table = nn.Embedding(10, 16)
    TokenEmbedding(10, normalize=True)(torch.tensor([[10, 4]]), table).square().sum().backward()
    x = TokenEmbedding(10)(torch.tensor([[10, 4]]), table)
    table.weight.grad = None
    x.sum().backward()
    assert table.weight.grad.sum(1).tolist() == [0, 0, 0, 0, 16, 0, 0, 0, 0, 0]


def test_embeddings_are_normalised_and_then_scaled():
    table = nn.Embedding(3, 2)
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 5.0]]))
    x = TokenEmbedding(2, normalize=True, scale=10.0)(torch.tensor([[0, 1, 2]]), table)
    torch.testing.assert_close(x[0], torch.tensor([[6.0, 8.0], [0.0, 0.0], [0.0, 10.0]]))


@pytest.mark.parametrize("mask_index, bad", [(10, 11), (10, -1), (5, 10), (5, 12)])
def test_an_index_out_of_range_is_refused_rather_than_taken_for_a_mask(mask_index, bad):
    with pytest.raises(IndexError):
        TokenEmbedding(mask_index)(torch.tensor([[1, bad]]), nn.Embedding(10, 4))


def test_what_stands_at_padding_does_not_matter():
    encoder, tokens = build().eval(), torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    before = encoder(tokens)[0]
    with torch.no_grad():
        encoder.embed_tokens.weight[PAD] = 100
    real = tokens != PAD
    assert torch.equal(encoder(tokens)[0][real], before[real])


def test_alibi_takes_any_length():
    encoder = build().eval()
    assert encoder(torch.randint(4, 10, (1, 700)))[0].shape == (1, 700, 16)
