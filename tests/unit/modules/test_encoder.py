"""The encoder computes the same as fairseq's, and its options work as documented."""

import pytest
import torch
import toy
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding, embedding_scale
from plugins.modules.placement import Placement
from plugins.modules.positions import Positions, Spec
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


def test_selected_rows_equal_those_rows_of_the_full_output():
    encoder, tokens = build().eval(), torch.tensor([[0, 5, 6, 7], [0, 8, 1, 1]])
    rows = torch.tensor([1, 3, 5])
    everything = encoder(tokens)[0].flatten(0, 1)
    torch.testing.assert_close(encoder(tokens, rows=rows)[0], everything[rows])


def test_selected_rows_if_the_last_layer_is_dropped():
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


def test_embeddings_are_normalized_and_then_scaled():
    table = nn.Embedding(3, 2)
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 5.0]]))
    x = TokenEmbedding(2, normalize=True, scale=10.0)(torch.tensor([[0, 1, 2]]), table)
    torch.testing.assert_close(x[0], torch.tensor([[6.0, 8.0], [0.0, 0.0], [0.0, 10.0]]))


@pytest.mark.parametrize("mask_index, bad", [(10, 11), (10, -1), (5, 10), (5, 12)])
def test_an_index_out_of_range_is_refused_rather_than_taken_for_a_mask(mask_index, bad):
    with pytest.raises(IndexError):
        TokenEmbedding(mask_index)(torch.tensor([[1, bad]]), nn.Embedding(10, 4))


def test_values_at_padding_have_no_effect():
    encoder, tokens = build().eval(), torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    before = encoder(tokens)[0]
    with torch.no_grad():
        encoder.embed_tokens.weight[PAD] = 100
    real = tokens != PAD
    assert torch.equal(encoder(tokens)[0][real], before[real])


def test_alibi_accepts_any_length():
    encoder = build().eval()
    assert encoder(torch.randint(4, 10, (1, 700)))[0].shape == (1, 700, 16)


def test_unit_rows_are_scaled_by_the_root_of_the_width():
    assert (embedding_scale(16, True), embedding_scale(16, False)) == (4.0, 1.0)


DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")


def dropping(which, pre_norm=True):
    """Return a layer in training that drops everything at one place, and nothing elsewhere."""
    options = {name: float(name == which) for name in DROPOUTS}
    return EncoderLayer(16, 32, 2, torch.relu, pre_norm=pre_norm, **options).train()


def through(layer, x):
    return layer(x, Placement(Positions(Spec(16, 2, 8)), slice(0, x.size(1)), x.size(1), x.device))


def test_dropout_acts_after_attention_and_after_the_feed_forward_net():
    x = torch.randn(2, 5, 16)
    assert torch.equal(through(dropping("dropout"), x), x)


def test_dropout_of_post_norm_layers_acts_at_the_same_places():
    layer, x = dropping("dropout", pre_norm=False), torch.randn(2, 5, 16)
    torch.testing.assert_close(through(layer, x), layer.final_layer_norm(layer.self_attn_layer_norm(x)))


def test_attention_dropout_acts_only_on_attention():
    layer, x = dropping("attention_dropout"), torch.randn(2, 5, 16)
    changed = x.clone()
    changed[:, 0, 0] += 1  # of all channels, the layer norm would not see it
    before, after = through(layer, x), through(layer, changed)
    assert torch.equal(before[:, 1:], after[:, 1:]) and not torch.allclose(before[:, 0], after[:, 0])
    layer.eval()
    assert not torch.allclose(through(layer, x)[:, 1:], through(layer, changed)[:, 1:])


def test_activation_dropout_acts_between_the_linear_layers():
    layer = dropping("activation_dropout")
    assert torch.equal(layer.feed_forward(torch.randn(2, 5, 16)), layer.fc2.bias.expand(2, 5, -1))


def test_dropout_after_the_embedding():
    layers = [EncoderLayer(16, 32, 2, torch.relu, dropout=0.0, attention_dropout=0.0)]
    scheme = build_positions("learned", Spec(16, 2, 32, padding_row=PAD))
    encoder = SentenceEncoder(nn.Embedding(10, 16), scheme, TokenEmbedding(10), layers, padding_index=PAD, dropout=1.0)
    tokens = torch.tensor([[0, 5, 6]])
    assert torch.equal(encoder.train().embed(tokens), torch.zeros(1, 3, 16))
    assert encoder.eval().embed(tokens).abs().min() > 0


def test_positions_are_added_before_the_layer_norm_of_the_embedding():
    encoder, tokens = build(positions="learned").eval(), torch.tensor([[0, 5, 5]])
    rows = encoder.embed_tokens.weight[tokens] + encoder.embed_positions.weight[[2, 3, 4]]
    torch.testing.assert_close(encoder.embed(tokens), encoder.layernorm_embedding(rows))


# Mixed precision


class Scores(TorchDispatchMode):
    """Collects the types of all tensors (..., T, T) that are made."""

    def __init__(self, length):
        super().__init__()
        self.length, self.found = length, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        if torch.is_tensor(out) and out.is_floating_point() and out.shape[-2:] == (self.length, self.length):
            self.found.add(out.dtype)
        return out


@pytest.mark.parametrize("dtype, found", [("queries", {torch.bfloat16}), ("float32", {torch.bfloat16, torch.float32})])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_under_autocast_attention_is_in_half_precision(task, dtype, found, dropout):
    model = toy.make_model(task, positions="alibi", attention_dropout=dropout, alibi_dtype=dtype).train()
    tokens = torch.randint(4, 20, (3, 31))
    with torch.autocast("cpu", torch.bfloat16):
        model(tokens, features_only=True)  # builds the bias
        with Scores(31) as scores:
            model(tokens, features_only=True)[0].float().sum().backward()
    assert scores.found == found


@pytest.mark.parametrize("autocast", [False, True])
def test_the_bias_is_made_once_for_all_layers(task, autocast, monkeypatch):
    made, build = [], Positions.bias
    monkeypatch.setattr(Positions, "bias", lambda *a, **k: made.append(build(*a, **k)) or made[-1])
    model = toy.make_model(task, positions="alibi", encoder_layers=3).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model(torch.randint(4, 20, (3, 31)), features_only=True)
    assert [bias.dtype for bias in made] == [torch.bfloat16 if autocast else torch.float32]


def test_inner_states_are_the_input_of_each_layer_and_the_last_output():
    encoder, tokens = build(layers=3).eval(), torch.tensor([[0, 5, 6, 2]])
    features, states = encoder(tokens)
    assert len(states) == 4 and torch.equal(states[-1], features)
    assert torch.equal(states[0], encoder.embed(tokens))
    without, none = encoder(tokens, inner_states=False)
    assert torch.equal(without, features) and none == []


def test_padding_is_looked_for_unless_it_is_known():
    encoder = build().eval()
    padded, full = torch.tensor([[0, 5, PAD, PAD]]), torch.tensor([[0, 5, 6, 2]])
    assert torch.equal(encoder(padded)[0], encoder(padded, has_padding=True)[0])
    torch.testing.assert_close(encoder(padded)[0][:, :2], encoder(padded[:, :2])[0])
    assert not torch.allclose(encoder(padded, has_padding=False)[0][:, :2], encoder(padded[:, :2])[0])
    torch.testing.assert_close(encoder(full, has_padding=True)[0], encoder(full)[0])


@pytest.mark.parametrize("pre_norm, dtype", [(False, torch.bfloat16), (True, torch.float32)])
def test_the_residual_stream_has_the_type_of_autocast_after_a_layer_norm_alone(pre_norm, dtype):
    encoder = build(pre_norm=pre_norm, layer_norm_embedding=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.embed(torch.tensor([[0, 5]])).dtype == dtype


def test_noise_is_applied_to_the_embedding_last():
    encoder = build(embedding_noise=nn.Tanh()).eval()
    plain = build().eval()
    plain.load_state_dict(encoder.state_dict())
    tokens = torch.tensor([[0, 5, 6]])
    torch.testing.assert_close(encoder.embed(tokens), plain.embed(tokens).tanh())


def test_kernels_are_compiled_for_the_first_two_shapes_alone():
    encoder = build()
    shapes = [torch.Size(shape) for shape in ((2, 3), (2, 4), (2, 3), (2, 5), (2, 4))]
    assert [encoder.has_kernel(shape) for shape in shapes] == [True, True, True, False, True]


@pytest.mark.parametrize("flex, training, gpu, expected", [
    (True, True, True, True), (False, True, True, False), (True, False, True, False), (True, True, False, False),
])  # fmt: skip
def test_the_kernel_of_flex_attention_is_used_in_training_on_a_gpu(monkeypatch, flex, training, gpu, expected):
    from plugins.modules import encoder as module

    class Stop(Exception):
        pass

    asked = []

    def placement(*given, flex, **options):
        asked.append(flex)
        raise Stop

    monkeypatch.setattr(module, "runs_on", lambda device: gpu)
    monkeypatch.setattr(module, "Placement", placement)
    with pytest.raises(Stop):
        build(flex_attention=flex).train(training)(torch.tensor([[0, 5]]))
    assert asked == [expected]


def test_layer_norms_have_the_epsilon_of_the_options():
    encoder = build(pre_norm=True, norm_eps=0.25)
    assert encoder.layer_norm.eps == encoder.layernorm_embedding.eps == 0.25
    layer = EncoderLayer(16, 32, 2, torch.relu, norm_eps=0.25)
    assert layer.self_attn_layer_norm.eps == layer.final_layer_norm.eps == 0.25
    assert build().layer_norm is None and build(layer_norm_embedding=False).layernorm_embedding is None
