"""The product with a table and its cross-entropy in one: equal to torch's, in any number of chunks and blocks."""

import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plugins.modules import linear_cross_entropy as module
from plugins.modules import word_table
from plugins.modules.linear_cross_entropy import linear_cross_entropy

WORDS = 50


@pytest.fixture(params=[7, 50, 1024, None], ids=["8 blocks", "1 block", "1 unfilled block", "as on a GPU"])
def block(request, monkeypatch):
    if request.param is None:
        for part in (module, word_table):
            monkeypatch.setattr(part, "in_one_block", lambda device: True)
    else:
        monkeypatch.setattr(word_table, "words_of_block", lambda _: request.param)


@pytest.fixture(params=[4, 4096], ids=["chunks of 4", "1 chunk"])
def chunk(request, monkeypatch):
    monkeypatch.setattr(module, "ROWS", request.param)


def both(x, weight, target, bias=None, normalize=False, scale=None):
    """Return loss and gradients of 3 times the loss: ours in float32, and of torch's functions in float64."""
    ours, theirs = ([t if t is None else t.detach().to(d).requires_grad_() for t in (x, weight, bias, scale)]
                    for d in (torch.float32, torch.float64))  # fmt: skip
    loss = linear_cross_entropy(ours[0], ours[1], target, ours[2], normalize, ours[3])
    expected = torchs(*theirs[:2], target, theirs[2], normalize, theirs[3])
    for value in (loss, expected):
        (value * 3).backward()
    return [[value.detach().double(), *(t.grad.double() for t in tensors if t is not None)]
            for value, tensors in ((loss, ours), (expected, theirs))]  # fmt: skip


def torchs(x, weight, target, bias=None, normalize=False, scale=None):
    logits = F.linear(x, F.normalize(weight, dim=-1) if normalize else weight)
    logits = logits if scale is None else logits * scale
    return F.cross_entropy(logits if bias is None else logits + bias, target, reduction="sum")


@pytest.mark.parametrize("predictions", [6, 16, 17, 30])  # of 16 channels
@pytest.mark.parametrize("scale", [1, 10, 100], ids=["mild", "confident", "far apart"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_equals_torchs_in_float64(block, chunk, predictions, scale, with_bias, normalize):
    x, weight, target = torch.randn(predictions, 16), torch.randn(WORDS, 16), torch.randint(WORDS, (predictions,))
    bias = torch.randn(WORDS) if with_bias else None
    for ours, theirs in zip(*both(scale * x, weight, target, bias, normalize), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * scale**2)


@pytest.mark.parametrize("scale", [-2.0, 0.0, 25.0])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_scale_multiplies_the_products_and_not_the_bias(block, chunk, scale, normalize):
    x, weight, target = torch.randn(9, 16) / 4, torch.randn(WORDS, 16), torch.randint(WORDS, (9,))
    found = both(x, weight, target, torch.randn(WORDS), normalize, torch.tensor([scale]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_equal_finite_differences(block, chunk, normalize):
    """Not by ``gradcheck``, which goes backward twice."""
    target, step = torch.randint(WORDS, (9,)), 1e-5
    inputs = [torch.randn(*shape, dtype=torch.float64) for shape in ((9, 16), (WORDS, 16), (WORDS,), (1,))]

    def loss(x, weight, bias, scale):
        return linear_cross_entropy(x, weight, target, bias, normalize, scale)

    gradients = torch.autograd.grad(loss(*(t.requires_grad_() for t in inputs)), inputs)
    for i, gradient in enumerate(gradients):
        with torch.no_grad():
            direction = torch.randn_like(inputs[i])
            ends = [loss(*(t + sign * step * direction if i == j else t for j, t in enumerate(inputs)))
                    for sign in (1, -1)]  # fmt: skip
        slope = (ends[0] - ends[1]).item() / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("predictions", [6, 30], ids=["fewer than channels", "more than channels"])
@pytest.mark.parametrize("frozen", ["features", "table", "both"])
def test_frozen_parameters_have_no_gradient_and_other_gradients_do_not_change(block, predictions, frozen):
    x, weight, target = torch.randn(predictions, 16), torch.randn(WORDS, 16), torch.randint(WORDS, (predictions,))
    loss, grad_x, grad_weight = both(x, weight, target)[1]
    x.requires_grad_(frozen == "table")
    weight.requires_grad_(frozen == "features")
    ours = linear_cross_entropy(x, weight, target)
    assert ours.item() == pytest.approx(loss.item(), rel=1e-5)
    if frozen == "both":
        assert not ours.requires_grad
        return
    (ours * 3).backward()
    tensor, other, expected = (x, weight, grad_x) if frozen == "table" else (weight, x, grad_weight)
    assert other.grad is None
    torch.testing.assert_close(tensor.grad.double(), expected, rtol=1e-4, atol=1e-5)


class Peak(TorchDispatchMode):
    """Count the bytes of tensors that operations make while they exist: ``most`` at once."""

    def __init__(self, *inputs):
        super().__init__()
        self.now = self.most = 0
        self.known = {tensor.untyped_storage().data_ptr() for tensor in inputs}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage.data_ptr() not in self.known | {0}:
                self.known.add(storage.data_ptr())
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.forget, storage.data_ptr(), storage.nbytes())
        return out

    def forget(self, pointer, size):
        self.known.discard(pointer)
        self.now -= size


def peak(x, weight, **options):
    """Return the peak in bytes beside inputs and gradients, in one block of words, as on a GPU."""
    target = torch.arange(len(x)) % len(weight)
    with Peak(x, weight, target) as count:
        loss = linear_cross_entropy(x, weight, target, **options)
        if loss.requires_grad:
            loss.backward()
    return count.most - sum(t.grad.nbytes for t in (x, weight) if t.grad is not None)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("predictions", [512, 4096])
def test_peak_memory_does_not_grow_with_the_number_of_predictions(monkeypatch, predictions, normalize):
    """At most 6 n V bytes for the logits of a chunk, and 4 V C for what the table needs."""
    n, words, width = 64, 5000, 16
    monkeypatch.setattr(word_table, "words_of_block", lambda _: words)
    monkeypatch.setattr(module, "NUMBERS", n * words)
    x = torch.randn(predictions, width, requires_grad=True)
    weight = torch.randn(words, width, requires_grad=True)
    assert 4 * n * words < peak(x, weight, normalize=normalize) < 6 * n * words + 4 * words * width


def test_the_peak_is_below_a_gigabyte_at_gpt2s_vocabulary():
    words, width = 50257, 768
    n = min(module.ROWS, module.NUMBERS // words)
    assert n > 1900
    assert 6 * n * words + 6 * words * width < 0.9e9  # the formula of the module, for a table in half precision


def test_without_gradients_only_one_block_is_in_memory(monkeypatch):
    monkeypatch.setattr(word_table, "words_of_block", lambda _: 640)
    x, weight = torch.randn(60, 16, requires_grad=True), torch.randn(6400, 16, requires_grad=True)
    with torch.no_grad():
        assert peak(x, weight) < 3 * 4 * 60 * 640  # of ten blocks


@pytest.fixture
def likely():
    """Features, a table, and targets: one word is likely everywhere, so its rounding would not average out."""
    weight = 0.02 * torch.randn(3000, 256)
    x = F.layer_norm(0.05 * torch.randn(300, 256) + weight[7] / 0.02, (256,)).bfloat16()
    return x, weight, torch.randint(3000, (300,))


@pytest.mark.parametrize("autocast", [False, True], ids=["a table in bfloat16", "autocast"])
def test_bfloat16_shifts_the_loss_by_less_than_a_thousandth_of_a_nat(likely, autocast):
    x, weight, target = likely
    weight, scale = weight if autocast else weight.bfloat16(), torch.tensor([1.7])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = linear_cross_entropy(x, weight, target, normalize=True, scale=scale)
    expected = torchs(x.double(), weight.double(), target, normalize=True, scale=scale)
    assert loss.dtype == torch.float32
    assert abs(loss.item() - expected.item()) / len(x) < 1e-3


@pytest.mark.parametrize("autocast", [True, False])
def test_gradients_in_bfloat16_are_as_precise_as_its_numbers(chunk, likely, autocast):
    x, weight, target = likely
    weight = weight if autocast else weight.bfloat16()
    inputs = [t.requires_grad_() for t in (x, weight, torch.zeros(3000), torch.tensor([0.8]))]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = linear_cross_entropy(*inputs[:2], target, inputs[2], True, inputs[3])
    expected = torchs(*exact[:2], target, exact[2], True, exact[3])
    found = zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, exact), strict=True)
    for tensor, (ours, theirs) in zip(inputs, found, strict=True):
        assert ours.dtype == tensor.dtype
        assert (ours.double() - theirs).norm() / theirs.norm() < 1e-2


@pytest.mark.parametrize("target", [-1, WORDS])
def test_a_target_that_is_no_word_is_an_error(target):
    with pytest.raises(IndexError, match=str(target)):
        linear_cross_entropy(torch.ones(2, 4), torch.ones(WORDS, 4), torch.tensor([0, target]))


def test_the_precision_of_other_products_does_not_change(likely):
    before = torch.backends.mkldnn.matmul.fp32_precision
    linear_cross_entropy(*likely[:2], likely[2])
    with pytest.raises(RuntimeError):
        linear_cross_entropy(likely[0][:, 1:], likely[1].bfloat16(), likely[2])
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_the_loss_of_a_target_of_vanishing_probability_is_its_logit_distance():
    loss = linear_cross_entropy(torch.tensor([[1.0]]), torch.tensor([[0.0], [-500.0]]), torch.tensor([1]))
    assert loss.item() == 500.0


def test_excluded_words_do_not_contribute_to_the_loss_even_if_they_fill_a_block(monkeypatch):
    monkeypatch.setattr(word_table, "words_of_block", lambda _: 2)
    x, weight = torch.ones(1, 1, requires_grad=True), torch.zeros(5, 1, requires_grad=True)
    bias = torch.tensor([0.0, 0.0, -math.inf, -math.inf, -math.inf])
    loss = linear_cross_entropy(x, weight, torch.tensor([0]), bias)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert weight.grad.squeeze(1).tolist() == [-0.5, 0.5, 0.0, 0.0, 0.0]


def test_a_zero_row_gets_no_gradient_if_rows_are_normalized():
    x, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    weight[2] = 0
    weight.requires_grad_()
    linear_cross_entropy(x, weight, torch.tensor([0, 2, 4]), normalize=True).backward()
    assert weight.grad[2].tolist() == [0.0] * 4
    assert x.grad.isfinite().all()


def test_no_predictions_give_zero_loss_and_gradient():
    x, weight = torch.empty(0, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = linear_cross_entropy(x, weight, torch.empty(0, dtype=torch.long), normalize=True)
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.count_nonzero() == 0


def test_a_second_backward_is_refused():
    x, weight = torch.randn(2, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = linear_cross_entropy(x, weight, torch.tensor([1, 3]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="linear_cross_entropy"):
        loss.backward()


def test_features_and_table_are_not_changed():
    x, weight = torch.randn(2, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    before = x.detach().clone(), weight.detach().clone()
    linear_cross_entropy(x, weight, torch.tensor([1, 3]), normalize=True).backward()
    assert torch.equal(x, before[0]) and torch.equal(weight, before[1])
