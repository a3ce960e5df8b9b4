"""The CLAP head."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plugins.modules.clap_head import ClapHead, RobertaHead

WORDS, WIDTH = 7, 16


def table(dtype=torch.float32, zero_row=None):
    weight = torch.randn(WORDS, WIDTH)
    if zero_row is not None:
        weight[zero_row] = 0
    return nn.Parameter(weight.to(dtype))


def test_equals_the_formulation_with_normalize_in_value_and_gradients():
    head, x = ClapHead(table(), 1.7), torch.randn(5, 3, WIDTH, requires_grad=True)
    grad = torch.randn(5, 3, WORDS)
    ours = torch.autograd.grad(head(x), (x, head.weight, head.beta), grad, retain_graph=True)
    x2, weight, beta = (t.detach().double().requires_grad_() for t in (x, head.weight, head.beta))
    logits = beta * F.linear(x2, F.normalize(weight, dim=-1))
    theirs = torch.autograd.grad(logits, (x2, weight, beta), grad.double(), retain_graph=True)
    torch.testing.assert_close(head(x).double(), logits, atol=1e-5, rtol=1e-5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-5)


def test_gradcheck():
    weight = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    head = ClapHead(weight, 0.8).double()

    def logits(x, weight, beta):
        return torch.func.functional_call(head, {"weight": weight, "beta": beta}, (x,))

    inputs = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True), weight, head.beta)
    assert torch.autograd.gradcheck(logits, inputs)


@pytest.mark.parametrize("beta", [1.0, 10.0, 25.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_zero_row_gives_a_logit_of_zero_and_finite_gradients(dtype, beta):
    head = ClapHead(table(zero_row=2), beta).to(dtype)
    x = torch.randn(3, WIDTH).to(dtype).requires_grad_()
    logits = head(x)
    assert logits.isfinite().all()
    assert logits[:, 2].tolist() == [0.0, 0.0, 0.0]
    F.cross_entropy(logits.float(), torch.tensor([0, 1, 2])).backward()
    for gradient in (x.grad, head.weight.grad, head.beta.grad):
        assert gradient.isfinite().all()


def test_a_row_shorter_than_the_floor_counts_as_zero():
    weight = torch.randn(3, WIDTH)
    weight[1] *= 5e-7 / weight[1].norm()
    head = ClapHead(nn.Parameter(weight))
    logits = head(torch.randn(4, WIDTH))
    logits.square().sum().backward()
    assert logits[:, 1].tolist() == [0.0] * 4
    assert head.weight.grad[1].tolist() == [0.0] * WIDTH


@pytest.mark.parametrize("max_scale", [0.0, 100.0])
def test_a_beta_of_zero_can_be_learned(max_scale):
    head, x = ClapHead(table(), 0.0, max_scale=max_scale), torch.randn(4, WIDTH)
    grad = torch.randn(4, WORDS)
    head(x).backward(grad)
    expected = (grad * F.linear(x, F.normalize(head.weight.detach(), dim=-1))).sum().item()
    assert head.beta.grad.item() == pytest.approx(expected, rel=1e-4)


def test_works_under_autocast():
    head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), ClapHead(table()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = head(torch.randn(4, WIDTH)).float().square().sum()
    loss.backward()
    assert head[2].weight.grad.isfinite().all()


def test_any_number_of_leading_dimensions():
    head, x = ClapHead(table()), torch.randn(2, 3, 4, WIDTH)
    assert head(x).shape == (2, 3, 4, WORDS)
    torch.testing.assert_close(head(x[0, 0]), head(x)[0, 0])


@pytest.mark.parametrize("normalize", [True, False])
def test_zero_predictions_are_not_an_error(normalize):
    head = ClapHead(table(), normalize=normalize)
    logits = head(torch.randn(0, WIDTH))
    assert logits.shape == (0, WORDS)
    logits.sum().backward()
    assert head.beta.grad.tolist() == [0.0]


def test_beta_is_saved_without_a_dimension_and_trained_with_one():
    head = ClapHead(table(), 2.5)
    assert head.beta.shape == (1,)
    saved = head.state_dict()["beta"]
    assert saved.shape == ()
    assert saved.item() == 2.5


@pytest.mark.parametrize("saved", [torch.tensor(3.5), torch.tensor([3.5])])
def test_a_scalar_and_a_one_element_beta_load(saved):
    head = ClapHead(table())
    head.load_state_dict({"weight": torch.ones(WORDS, WIDTH), "beta": saved})
    assert head.beta.tolist() == [3.5]


def test_loading_does_not_change_the_given_state_dict():
    state = {"weight": torch.ones(WORDS, WIDTH), "beta": torch.tensor(3.5)}
    ClapHead(table()).load_state_dict(state)
    assert state["beta"].shape == ()


def test_an_integer_beta_is_accepted():
    assert ClapHead(table(), 1).beta.dtype == torch.float32


def test_the_scale_of_a_cosine_is_capped():
    head = ClapHead(table(), 1000.0, max_scale=100.0)
    assert head.scale().item() == pytest.approx(25.0)  # 100 / sqrt(16)
    x = head.weight[:1] / head.weight[:1].norm() * 4  # as long as a layer norm's output
    assert head(x)[0, 0].item() == pytest.approx(100.0, rel=1e-5)


def test_the_cap_is_on_the_scale_whatever_the_reference_dim():
    """The factor of beta is 2 at a reference of 64, and the cap of a cosine is still 100 / sqrt(16)."""
    assert ClapHead(table(), 1000.0, max_scale=100.0, reference_dim=64).scale().item() == pytest.approx(25.0)
    assert ClapHead(table(), 10.0, max_scale=100.0, reference_dim=64).scale().item() == pytest.approx(20.0)


def test_the_cap_keeps_beta_from_being_negative():
    assert ClapHead(table(), -3.0, max_scale=100.0).scale().item() == 0.0
    assert ClapHead(table(), -3.0).scale().item() == -3.0


def test_reference_dim_makes_beta_mean_the_same_at_every_width():
    assert ClapHead(table(), 1.0, reference_dim=64).scale().item() == pytest.approx(2.0)  # sqrt(64 / 16)
    assert ClapHead(table(), 1.0).scale().item() == 1.0


def test_excluded_words_are_not_predicted():
    head = ClapHead(table(), excluded=torch.tensor([1, 4]))
    logits = head(torch.randn(3, WIDTH))
    assert torch.equal(logits.isinf(), torch.tensor([[False, True, False, False, True, False, False]] * 3))
    F.cross_entropy(logits, torch.tensor([0, 2, 3])).backward()
    assert head.weight.grad.isfinite().all()
    assert "excluded" not in head.state_dict()


def test_without_normalization_it_is_a_scaled_product():
    head, x = ClapHead(table(), 3.0, normalize=False), torch.randn(2, WIDTH)
    torch.testing.assert_close(head(x), 3 * F.linear(x, head.weight))


def test_beta_is_marked_as_exempt_from_weight_decay():
    assert ClapHead(table()).beta.no_weight_decay


def test_robertas_head_is_dense_activation_norm_and_the_table():
    head = RobertaHead(table(), F.gelu)
    with torch.no_grad():
        for p in head.parameters():
            p.normal_()
    x = torch.randn(3, WIDTH)
    hidden = F.layer_norm(
        F.gelu(x @ head.dense.weight.t() + head.dense.bias), (WIDTH,), head.layer_norm.weight, head.layer_norm.bias
    )
    torch.testing.assert_close(head(x), hidden @ head.weight.t() + head.bias)


def test_the_length_of_a_row_does_not_matter():
    head = ClapHead(nn.Parameter(torch.eye(WIDTH) * 5), 2.0)
    torch.testing.assert_close(head(torch.full((1, WIDTH), 3.0)), torch.full((1, WIDTH), 6.0))


HEADS = {
    "clap": lambda: ClapHead(table(), 1.7),
    "unnormalised": lambda: ClapHead(table(), 1.7, normalize=False),
    "capped": lambda: ClapHead(table(), 1.7, max_scale=4.0, reference_dim=64),
    "with excluded words": lambda: ClapHead(table(), excluded=torch.tensor([5, 6])),
    "roberta": lambda: RobertaHead(table(), F.gelu),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_and_its_gradients_equal_those_from_the_logits(name):
    head, x, target = HEADS[name](), torch.randn(9, WIDTH, requires_grad=True), torch.randint(5, (9,))
    losses = head.cross_entropy(x, target), F.cross_entropy(head(x), target, reduction="sum")
    torch.testing.assert_close(*losses)
    for a, b in zip(*(torch.autograd.grad(loss, (x, *head.parameters())) for loss in losses), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_in_half_precision_is_finite_with_a_zero_row(dtype):
    head = ClapHead(table(zero_row=2)).to(dtype)
    loss = head.cross_entropy(torch.randn(3, WIDTH).to(dtype), torch.tensor([0, 2, 5]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(value.isfinite().all() for value in (loss, head.weight.grad, head.beta.grad))


def test_the_loss_is_the_same_in_training_and_evaluation():
    head, x, target = ClapHead(table()), torch.randn(4, WIDTH), torch.randint(WORDS, (4,))
    with torch.no_grad():
        evaluated = head.cross_entropy(x, target)
    torch.testing.assert_close(head.cross_entropy(x, target).detach(), evaluated)


def test_the_loss_works_under_autocast():
    head = nn.Sequential(nn.Linear(WIDTH, WIDTH), ClapHead(table()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = head[1].cross_entropy(head[0](torch.randn(4, WIDTH)), torch.randint(WORDS, (4,)))
    loss.backward()
    assert head[1].weight.grad.isfinite().all()
