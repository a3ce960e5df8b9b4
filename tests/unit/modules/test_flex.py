"""ALiBi in the kernel of flex_attention. On a CPU it runs uncompiled, and its refusal of gradients is lifted."""

import pytest
import torch
import toy
from torch._dynamo.utils import counters
from torch.nn.attention import flex_attention

from plugins.modules import attention, encoder, flex
from plugins.modules.attention import Attention
from plugins.modules.placement import Placement
from plugins.modules.positions import Spec, build
from plugins.modules.scaling import Scaling

PAD = 1
B, H, T, D = 2, 6, 13, 8
new_compiled = flex.compiled.__wrapped__


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)
    monkeypatch.setattr(flex, "compiled", lambda: flex.attend_in_kernel)
    monkeypatch.setattr(encoder, "runs_on", lambda device: True)


@pytest.fixture
def calls(monkeypatch):
    """The number of calls of flex_attention, in a list."""
    found, original = [], attention.attend_by_flex
    monkeypatch.setattr(attention, "attend_by_flex", lambda *given: found.append(1) or original(*given))
    return found


@pytest.fixture(scope="module")
def task(toy_data):
    return toy.make_task(toy_data)


@pytest.fixture
def batch():
    tokens = torch.randint(4, 20, (3, 20), generator=torch.Generator().manual_seed(1))
    tokens[0, -3:] = PAD
    chosen = (tokens != PAD) & (torch.arange(20) % 3 == 1)
    return {"src_tokens": tokens, "masked_tokens": chosen, "target": torch.where(chosen, tokens, PAD)}


def loss_and_gradients(model, batch):
    model.train().zero_grad()
    loss = model(**batch)[1]["loss"]
    loss.backward()
    return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name, options", [
    ("alibi", {}),
    ("alibi", {"alibi_bos": "zero"}),
    ("alibi_symmetric", {}),
    ("alibi", {"scaling": Scaling("linear", 4.0)}),
    ("alibi", {"scaling": Scaling("dynamic", 1.0, 5)}),
])  # fmt: skip
def test_outputs_and_gradients_equal_the_ones_with_a_bias_tensor(name, options, padded):
    scheme, layer = build(name, Spec(H * D, H, T, **options)), Attention(H * D, H)
    q, k, v = (torch.randn(B, H, T, D, requires_grad=True) for _ in range(3))
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[0, -4:] = padding[1, -1:] = True
    found = []
    for use in (True, False):
        placement = Placement(scheme, slice(0, T), T, q.device, flex=use)
        assert (placement.kernel_bias is not None) == use
        out = layer.attend(q, k, v, placement, padding if padded else None)
        found.append([out, *torch.autograd.grad(out.square().sum(), (q, k, v))])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"checkpoint_activations": True}])
def test_a_model_computes_the_same_in_training(task, batch, calls, options):
    options = {"positions": "alibi", "dropout": 0.0, "attention_dropout": 0.0, "encoder_layers": 2} | options
    plain = toy.make_model(task, **options)
    model = toy.make_model(task, attn_implementation="flex_attention", **options)
    for a, b in zip(loss_and_gradients(plain, batch), loss_and_gradients(model, batch), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert calls  # all layers but the last, which has few queries
    calls.clear()
    torch.testing.assert_close(model.eval()(**batch)[1]["loss"], plain.eval()(**batch)[1]["loss"])
    assert not calls
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_compiled_layers_contain_the_kernel_for_two_shapes(task, batch):
    options = {"positions": "alibi", "dropout": 0.0, "attention_dropout": 0.0, "encoder_layers": 2}
    plain = toy.make_model(task, **options)
    model = toy.make_model(task, attn_implementation="flex_attention", **options)
    torch._dynamo.reset()
    counters.clear()
    model.encoder.sentence_encoder.compile_layers("eager")
    for length in (20, 17, 11, 20):
        part = {name: value[:, :length] for name, value in batch.items()} | {"has_padding": length > 17}
        for a, b in zip(loss_and_gradients(plain, part), loss_and_gradients(model, part), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == 3 and not counters["graph_break"]
    assert {length for _, length in model.encoder.sentence_encoder.flex_shapes} == {20, 17}  # 11 has a bias tensor
    torch._dynamo.reset()


def test_more_kernels_than_dynamos_default_limit_are_compiled(monkeypatch):
    graphs, compile = [], torch.compile
    backend = lambda graph, inputs: graphs.append(graph) or graph.forward  # noqa: E731
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile(function, backend=backend, **options))
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=2):  # unlike monkeypatch, it restores the option
        run = new_compiled()
        bias = flex.KernelBias(torch.ones(1), False, False)
        for length in range(2, 6):
            run(*torch.ones(3, 1, 1, length, 8), bias, None)
    assert len(graphs) == 4
    torch._dynamo.reset()


@pytest.mark.parametrize("given, named", [
    ({"positions": "rotary"}, "--positions alibi"),
    ({"alibi_bos": "learned"}, "--alibi-bos learned"),
    ({"attention_dropout": 0.1}, "--attention-dropout 0"),
])  # fmt: skip
def test_options_that_exclude_it_are_named(task, given, named):
    options = {"positions": "alibi", "attention_dropout": 0.0} | given
    with toy.refused("--attn-implementation flex_attention", named):
        toy.make_model(task, attn_implementation="flex_attention", **options)
