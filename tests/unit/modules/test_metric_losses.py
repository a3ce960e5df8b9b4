"""Losses on embeddings: values of sentence-transformers 6.2.0 and pytorch-metric-learning 2.9.0, and differences."""

import math

import pytest
import torch

from plugins.modules import metric_losses as losses

E = [(1, 0), (0.8, 0.6), (0.6, -0.8), (0, 1), (-0.6, 0.8), (-1, 0)]
CLASSES = torch.tensor([0, 0, 0, 1, 1, 1])
A = [(1, 0), (0.6, 0.8), (0, 1), (-0.6, 0.8)]
B = [(0.8, 0.6), (1, 0), (-1, 0), (0, 1)]
C = [(-0.6, 0.8), (0, 1), (1, 0), (0.8, 0.6)]
COSINE = {"distance": "cosine"}
PAIRS = torch.tensor([1, 0, 0, 1])


def rows(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def close(value):
    return pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("batch_all", {}, 4.30311029),
        ("batch_all", {"margin": 1}, 0.53824371),
        ("batch_all", {"margin": 0.2}, 0.45989319),
        ("batch_all", {"margin": 0.2} | COSINE, 0.5),
        ("batch_hard", {}, 4.87511973),
        ("batch_hard", {"margin": 1}, 0.87511973),
        ("batch_hard", {"margin": 0.2}, 0.23992879),
        ("batch_hard", {"margin": 0.2} | COSINE, 0.26666667),
        ("batch_semi_hard", {}, 4.44737715),
        ("batch_semi_hard", {"margin": 1}, 0.44737715),
        ("batch_semi_hard", {"margin": 0.2}, 0),
        ("batch_semi_hard", {"margin": 0.2} | COSINE, 0),
        ("batch_hard_soft_margin", {}, 0.65878715),
        ("batch_hard_soft_margin", COSINE, 0.63748795),
    ],
)
def test_triplets_of_a_batch(name, options, expected):
    loss, count = getattr(losses, name)(rows(E), CLASSES, **options)
    assert loss.item() == close(expected)
    assert loss.dtype == torch.float64 and loss.dim() == 0
    if name != "batch_all":  # whose count depends on the margin
        assert count == (12 if name == "batch_semi_hard" else 6)


@pytest.mark.parametrize(
    ("expected", "name", "arguments", "options"),
    [
        (0.01125, "contrastive", (A, B, PAIRS), {}),
        (0.055, "contrastive", (A, B, PAIRS), {"margin": 1}),
        (0, "online_contrastive", (A, B, PAIRS), {}),
        (0.0475, "cosine_similarity", (A, B, torch.tensor([0.9, 0.2, 0.1, 0.7]).double()), {}),
        (7.81932645, "multiple_negatives_ranking", (A, B), {}),
        (1.30443873, "multiple_negatives_ranking", (A, B), {"scale": 1}),
        (2.05586798, "multiple_negatives_ranking", (A, B), {"scale": 1, "negatives": C}),
        (1.28491999, "multiple_negatives_ranking", (A, B), {"scale": 1, "symmetric": True}),
        (0.84, "mega_batch_margin", (A, B), {}),
        (0.84, "mega_batch_margin", (A, B), {"slice": 3}),
        (4.58095369, "triplet", (A, B, C), {}),
        (0.62005341, "triplet", (A, B, C), {"margin": 1}),
        (0.3, "triplet", (A, B, C), {"margin": 0.5} | COSINE),
        (0.45, "mse", (A, B), {}),
        (0.615, "margin_mse", (A, B, C, torch.tensor([0.5, 0.2, -1, 0.1]).double()), {}),
        (1.62628147, "cosent", (A, B, torch.tensor([0.9, 0.2, 0.1, 0.7]).double()), {"scale": 1}),
        (0.71130024, "cosent", (A, B, torch.tensor([0.9, 0.2, 0.1, 0.7]).double()), {}),
        (2.09443400, "softmax_pairs", (A, B, torch.tensor([0, 2, 1, 0]),
                                       torch.arange(18).double().reshape(3, 6) / 10 - 0.9), {}),
    ],
)  # fmt: skip
def test_pairs_and_rankings(expected, name, arguments, options):
    arguments = [rows(x) if isinstance(x, list) else x for x in arguments]
    options = {k: rows(v) if isinstance(v, list) else v for k, v in options.items()}
    loss, count = getattr(losses, name)(*arguments, **options)
    assert loss.item() == close(expected)
    assert isinstance(count, int)


def test_supervised_contrastive_of_two_classes_by_hand():
    """Rows (1, 0), (1, 0), (0, 1), (0, 1): one positive at cosine 1 and two negatives at cosine 0."""
    loss, count = losses.supervised_contrastive(
        rows([(1, 0), (1, 0), (0, 1), (0, 1)]), torch.tensor([0, 0, 1, 1]), scale=1
    )
    assert (loss.item(), count) == (close(math.log((math.e + 2) / math.e)), 4)


# Where the reference libraries are wrong

BY_CLASS = [
    "batch_all", "batch_hard", "batch_semi_hard", "batch_hard_soft_margin", "supervised_contrastive"
]  # fmt: skip


@pytest.mark.parametrize("name", BY_CLASS)
@pytest.mark.parametrize("labels", [[0] * 6, [0, 1, 2, 3, 4, 5]], ids=["one class", "no positives"])
def test_a_batch_without_a_valid_anchor_is_zero_with_a_zero_gradient(name, labels):
    """sentence-transformers returns the margin, log 2, or (semi-hard) 6.398 with a gradient of 0.60."""
    x = rows(E)
    loss, count = getattr(losses, name)(x, torch.tensor(labels))
    loss.backward()
    assert (loss.item(), count) == (0, 0)
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize("name", BY_CLASS)
def test_a_row_alone_in_its_class_is_a_negative_but_not_an_anchor(name):
    """sentence-transformers counts it as an anchor with d(a, p) = 0."""
    loss, count = getattr(losses, name)(rows(E[:4]), torch.tensor([0, 0, 0, 1]))
    if name != "batch_all":
        assert count == (6 if name == "batch_semi_hard" else 3)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", BY_CLASS)
def test_equal_texts_have_a_finite_gradient(name):
    x = rows([(1, 0), (1, 0), (0, 0), (0, 1), (0, 1), (0, 1)])
    loss, _ = getattr(losses, name)(x, CLASSES)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", BY_CLASS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_has_the_type_of_its_input(name, dtype):
    loss, _ = getattr(losses, name)(rows(E, dtype), CLASSES)
    assert loss.dtype == dtype


# Laws


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_batch_all_equals_the_mean_over_listed_triplets_and_so_does_its_gradient(distance):
    x, labels = torch.randn(12, 5, dtype=torch.float64, requires_grad=True), torch.arange(12) % 3
    d = losses.pairwise(x, x, distance)
    terms = [
        d[a, p] - d[a, n] + 0.3
        for a in range(12) for p in range(12) for n in range(12)
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]  # fmt: skip
    active = torch.stack([term for term in terms if term > 0])
    (expected,) = torch.autograd.grad(active.mean(), x)
    loss, count = losses.batch_all(x, labels, 0.3, distance)
    (gradient,) = torch.autograd.grad(loss, x)
    assert (loss.item(), count) == (close(active.mean().item()), len(active))
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_batch_semi_hard_takes_the_nearest_negative_beyond_the_positive():
    """On a line: a 0, p 2, negatives at 1, 3 and 9; for (a, p) the one at 3, for (p, a) the one at 9."""
    loss, count = losses.batch_semi_hard(
        rows([(0.0,), (2.0,), (1.0,), (3.0,), (9.0,)]), torch.tensor([0, 0, 1, 2, 3]), margin=10
    )
    assert (loss.item(), count) == (close((2 - 3 + 10 + 2 - 7 + 10) / 2), 2)


@pytest.mark.parametrize("name", BY_CLASS)
def test_the_order_of_rows_makes_no_difference(name):
    x, labels = torch.randn(10, 4, dtype=torch.float64), torch.arange(10) % 3
    order = torch.randperm(10)
    loss, count = getattr(losses, name)(x, labels)
    again, recount = getattr(losses, name)(x[order], labels[order])
    assert (again.item(), recount) == (close(loss.item()), count)


@pytest.mark.parametrize("name", ["contrastive", "online_contrastive"])
@pytest.mark.parametrize("label", [0, 1])
def test_pairs_of_one_kind_have_a_finite_loss(name, label):
    loss, _ = getattr(losses, name)(rows(A), rows(B), torch.full((4,), label))
    assert torch.isfinite(loss)


def test_an_equal_text_is_not_a_negative():
    """With the second positive equal to the first and masked, only the other two remain as negatives."""
    a, b = rows(A), rows([B[0], B[0], B[2], B[3]])
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    loss, count = losses.multiple_negatives_ranking(a, b, scale=1, same=same)
    first = math.exp(0.8) + math.exp(-1) + math.exp(0)  # cosines of A[0] with B[0], B[2], B[3]
    second = math.exp(0.96) + math.exp(-0.6) + math.exp(0.8)
    third = 2 * math.exp(0.6) + math.exp(0) + math.exp(1)
    fourth = 2 * math.exp(0) + math.exp(0.6) + math.exp(0.8)
    cross = [math.log(first) - 0.8, math.log(second) - 0.96, math.log(third) - 0, math.log(fourth) - 0.8]
    assert (loss.item(), count) == (close(sum(cross) / 4), 4)


@pytest.mark.parametrize("name", ["multiple_negatives_ranking", "mega_batch_margin"])
def test_a_single_pair_has_zero_ranking_loss(name):
    loss, count = getattr(losses, name)(rows(A[:1]), rows(B[:1]))
    assert (loss.item(), count) == (0, 0)


def test_pairs_with_equal_scores_order_nothing():
    loss, count = losses.cosent(rows(A), rows(B), torch.ones(4))
    loss.backward()
    assert (loss.item(), count) == (0, 0)


def test_supervised_contrastive_averages_over_the_positives_of_an_anchor():
    """Equation 2 of Khosla et al. (2020) summed in a loop, for unit vectors at 0, 30, 60, 90 and 120 degrees."""
    angles = torch.tensor([0.0, 30, 60, 90, 120], dtype=torch.float64).deg2rad()
    x = torch.stack([angles.cos(), angles.sin()], 1)
    loss, count = losses.supervised_contrastive(x, torch.tensor([0, 0, 0, 1, 1]), scale=1)
    assert (loss.item(), count) == (close(1.1165940050957723), 5)


@pytest.mark.parametrize("name", BY_CLASS)
def test_a_batch_without_rows_is_zero(name):
    loss, count = getattr(losses, name)(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert (loss.item(), count) == (0, 0)


@pytest.mark.parametrize("name", ["contrastive", "online_contrastive", "multiple_negatives_ranking"])
def test_vectors_that_are_not_numbers_are_seen_in_the_loss(name):
    labels = () if name == "multiple_negatives_ranking" else (PAIRS,)
    loss, count = getattr(losses, name)(torch.full((4, 2), math.nan), rows(B, torch.float32), *labels)
    assert math.isnan(loss.item()) and count == 4


def test_a_classifier_has_a_gradient_of_zeros_in_a_batch_without_pairs():
    """Distributed workers wait for the gradient of every parameter."""
    vectors, weight = torch.randn(4, 2, requires_grad=True), torch.randn(3, 6, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    loss, count = losses.softmax_pairs(vectors[none], vectors[none], none, weight)
    loss.backward()
    assert (loss.item(), count) == (0, 0)
    assert weight.grad is not None and not weight.grad.any() and not vectors.grad.any()
