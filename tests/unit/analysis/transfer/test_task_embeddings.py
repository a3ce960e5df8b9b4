"""Vectors of tasks: Fisher information of single rows, joined rankings; how rankings are judged."""

import numpy as np
import pytest
import torch
import toy

from plugins.analysis.transfer import judging, task_embeddings


def rows_of(model, inputs, labels, batch):
    """Return the losses of rows that are padded and computed together, ``batch`` at a time."""

    def loss(i):
        start = i - i % batch
        logits = model(inputs[start : start + batch])
        return torch.nn.functional.cross_entropy(logits, labels[start : start + batch], reduction="none")[i % batch]

    return [lambda i=i: loss(i) for i in range(len(inputs))]


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_the_batch_size_makes_no_difference(batch):
    """The public code gives 1.00, .14 and .04 of the value at batch sizes 1, 8 and 32."""
    torch.manual_seed(0)
    model, inputs, labels = torch.nn.Linear(4, 3), torch.randn(32, 4), torch.arange(32) % 3
    parameters = dict(model.named_parameters())
    alone = task_embeddings.fisher_diagonal(parameters, rows_of(model, inputs, labels, 1))
    found = task_embeddings.fisher_diagonal(parameters, rows_of(model, inputs, labels, batch))
    for name in parameters:
        assert found[name] == pytest.approx(alone[name], rel=1e-5)


def test_the_information_of_a_logistic_regression():
    """Its gradient is (p - y) x; with weight 0, x = 2 and x = 4, p is a half: the mean of 1 and 4."""
    weight = torch.nn.Parameter(torch.zeros(()))
    losses = [lambda x=x: torch.nn.functional.softplus(-weight * x) for x in (2.0, 4.0)]
    assert task_embeddings.fisher_diagonal({"w": weight}, losses)["w"] == pytest.approx((1 + 4) / 2)


def test_rankings_of_components_are_joined_by_reciprocal_rank():
    embeddings = {
        "target": {"a": np.array([1.0, 0]), "b": np.array([1.0, 0])},
        "near": {"a": np.array([1.0, 0.1]), "b": np.array([1.0, 0.1])},
        "far": {"a": np.array([0, 1.0]), "b": np.array([0, 1.0])},
    }
    found = task_embeddings.similarities(embeddings, "target")
    assert found == pytest.approx({"near": 2 / 61, "far": 2 / 62})
    assert task_embeddings.mean_cosine(embeddings, "target")["far"] == 0


SCORES = {"a": 0.5, "b": 0.8, "c": 0.6}


def test_judging_a_ranking():
    wrong, right = {"a": 3, "c": 2, "b": 1}, {"b": 3, "c": 2, "a": 1}
    assert judging.regret(wrong, SCORES, 1) == pytest.approx(0.3 / 0.8)
    assert judging.regret(wrong, SCORES, 3) == 0
    assert (judging.rank_of_best(wrong, SCORES), judging.rank_of_best(right, SCORES)) == (3, 1)
    assert judging.ndcg(right, SCORES) == 1 > judging.ndcg(wrong, SCORES)


def test_chance_is_the_mean_over_all_choices():
    """Of a: 1, b: .5, c: 0: alone (0 + .5 + 1) / 3, in pairs (0 + 0 + .5) / 3; a best score of 0 has no regret."""
    scores = {"a": 1.0, "b": 0.5, "c": 0.0}
    assert judging.chance_regret(scores, 1) == pytest.approx(0.5)
    assert judging.chance_regret(scores, 2) == pytest.approx(1 / 6)
    assert np.isnan(judging.chance_regret({"a": 0.0, "b": -0.1}))


def test_rankings_of_other_sources_are_refused():
    with toy.refused("c", "d"):
        judging.regret({"a": 1, "b": 2, "d": 3}, SCORES)


def test_no_rows_have_no_information_and_unused_parameters_none_either():
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    found = task_embeddings.fisher_diagonal({"a": used, "b": unused}, [lambda: (used * 2).sum()])
    assert found["a"].tolist() == [4, 4] and found["b"].tolist() == [0, 0, 0] and found["a"].dtype == np.float64
    assert task_embeddings.fisher_diagonal({"a": used}, [])["a"].tolist() == [0, 0]


def test_zeros_are_similar_to_nothing_and_equal_arrays_to_each_other():
    assert task_embeddings.cosine(np.zeros(2), np.ones(2)) == 0
    assert task_embeddings.cosine(np.array([[3.0], [4]]), np.array([[6.0], [8]])) == pytest.approx(1)
