"""Training of stacked models: each as if it were alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import toy

from plugins import checkpoints
from plugins.glue import stacked, stacked_training
from plugins.glue.stacked_training import Stack

OPTIONS = {"epochs": 2, "batch_size": 4, "warmup": 0.5, "lr": 0.01, "dropout": 0.0, "weight_decay": 0.1,
          "clip_norm": 0.0, "pooler_type": "mean"}  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(make_cell):
    """The pretrained model, and two runs of 6 and 8 rows of 12, with 2 more to predict."""
    texts = [word if i % 3 else f"{word} {word}" for i, word in enumerate(toy.sentences(14))]
    cell, setting = make_cell(texts, np.arange(14) % 2, np.repeat([0, 1], [6, 6]), [1], {"epochs": 2}, {})
    model = checkpoints.load(str(setting.checkpoint)).model
    runs = stacked.runs_of(cell, stacked.encode(cell, setting, 32), setting)
    return model, [replace(runs[0], own=runs[0].own), replace(runs[1], own=np.arange(4))]


def test_the_rate_rises_to_its_maximum_and_falls_to_zero(made):
    model, runs = made
    stack, rates = Stack(model, runs, OPTIONS, CPU), []

    def update(rows, counted):
        rates.append([group["lr"] for group in stack.optimizer.param_groups])
        return torch.zeros(*rows.shape, 2)

    stack.update = update
    found = stack.train()
    assert rates == [pytest.approx([rate] * 2) for rate in (0.005, 0.01, 0.005, 0)]
    assert [len(logits) for logits in found] == [4, 4]
    for one, logits in zip(runs, found, strict=True):
        for part, wanted in zip(logits, (one.own, one.asked) * 2, strict=True):
            assert sorted(np.flatnonzero(np.isfinite(part[:, 0]))) == sorted(wanted)


def test_an_epoch_has_each_row_once_in_batches_of_similar_length(made):
    model, runs = made
    stack = Stack(model, runs, OPTIONS, CPU)
    batches = list(stack.batches([one.own for one in runs], 2, shuffled=False))
    for number, one in enumerate(runs):
        rows = [rows[number, counted[number]] for rows, counted in batches]
        assert sorted(np.concatenate(rows)) == sorted(one.own)
        sizes = [one.inputs.sizes[part] for part in rows]
        assert sizes[0].max() <= sizes[1].min()
    assert all(rows.shape == counted.shape == (2, 3) for rows, counted in batches)
    orders = [[rows.tolist() for rows, _ in Stack(model, runs, OPTIONS, CPU).batches([o.own for o in runs], 2, True)]]
    orders += [[rows.tolist() for rows, _ in Stack(model, runs, OPTIONS, CPU).batches([o.own for o in runs], 2, True)]]
    assert orders[0] == orders[1], "by seed and fold"


def test_a_run_without_rows_in_a_batch_repeats_one_that_does_not_count(made):
    model, runs = made
    stack = Stack(model, runs, OPTIONS, CPU)
    found = list(stack.batches([np.arange(3), np.arange(1)], 3, shuffled=False))
    counts = [counted.sum(1).tolist() for _, counted in found]
    assert counts == [[1, 1], [1, 0], [1, 0]] and found[1][0][1, 0] == runs[1].asked[0]


def test_a_model_does_not_depend_on_those_beside_it(made):
    model, runs = made
    hyperparameters = OPTIONS | {"clip_norm": 0.5, "warmup": 0.0}
    alone = Stack(model, runs[:1], hyperparameters, CPU)
    both = Stack(model, runs, hyperparameters, CPU)
    rows = np.array([[6, 7, 8, 9]])
    for _ in range(2):
        for stack, given in ((alone, rows), (both, np.concatenate([rows, [[0, 1, 2, 3]]]))):
            for group in stack.optimizer.param_groups:
                group["lr"] = 0.01
            stack.update(given, np.ones(given.shape, bool))
    with torch.no_grad():
        one, two = (stack.net.eval() and stack.forward(given) for stack, given in (
            (alone, rows), (both, np.concatenate([rows, rows]))))  # fmt: skip
    np.testing.assert_allclose(one[0], two[0], atol=1e-4)
    assert (two[0] - two[1]).abs().max() > 0.01, "trained on other rows"


def test_rows_that_do_not_count_have_no_gradient(made):
    model, runs = made
    gradients = []
    for counted in ([[True, True, False]], [[True, True]]):
        stack = Stack(model, runs[:1], OPTIONS, CPU)
        stack.update(np.array([[6, 7, 8][: len(counted[0])]]), np.array(counted))
        gradients.append([parameter.grad.clone() for parameter in stack.parameters if parameter.grad is not None])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_each_models_gradient_is_clipped_by_its_own_norm(made):
    model, runs = made
    stack = Stack(model, runs, OPTIONS, CPU)
    draw = torch.Generator().manual_seed(1)
    for parameter in stack.parameters:
        parameter.grad = torch.randn(parameter.shape, generator=draw)
        parameter.grad[1] *= 1e-4

    def norms():
        return torch.stack([p.grad.flatten(1).norm(dim=1) ** 2 for p in stack.parameters]).sum(0).sqrt()

    before, first = norms(), [p.grad.clone() for p in stack.parameters]
    stack.clip(2.0)
    assert norms().tolist() == pytest.approx([2, before[1].item()], rel=1e-4) and before[1] < 2
    torch.testing.assert_close(stack.parameters[0].grad[0], first[0][0] * 2 / before[0])


def test_only_matrices_decay_and_dropout_is_the_given_one(made):
    model, runs = made
    stack = Stack(model, runs, OPTIONS | {"dropout": 0.25}, CPU)
    decayed, rest = stack.optimizer.param_groups
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0) and decayed["betas"] == (0.9, 0.98)
    assert decayed["eps"] == 1e-6 and {p.ndim for p in rest["params"]} == {2}
    assert all(p.ndim == 3 and len(p) == 2 for p in decayed["params"])
    assert {part.p for part in stack.net.modules() if isinstance(part, torch.nn.Dropout)} == {0.25}
    assert {p for m in stack.net.encoder.modules() if isinstance(p := getattr(m, "dropout", None), float)} <= {0.25}


def test_a_head_starts_from_its_seed_and_leaves_the_others_draws_alone(made):
    model, runs = made
    net = stacked_training.Classifier(model, 3, OPTIONS, [5, 6])
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    heads = [stacked_training.made_head(model.args, 3, OPTIONS, seed) for seed in (5, 6)]
    assert torch.equal(torch.rand(1), expected)
    for name, parameter in net.head.named_parameters():
        for number, head in enumerate(heads):
            torch.testing.assert_close(parameter[number], head.get_parameter(name).reshape(parameter[number].shape))


def test_training_that_diverges_is_named(made):
    model, runs = made
    stack = Stack(model, runs, OPTIONS | {"epochs": 1}, CPU)
    stack.update = lambda rows, counted: torch.zeros(*rows.shape, 2)
    stack.forward = lambda rows: torch.full((*rows.shape, 2), float("inf"))
    with toy.refused("--lr"):
        stack.train()


@pytest.mark.parametrize("has_it", [True, False])
def test_products_are_in_bfloat16_on_gpus_that_have_it(monkeypatch, has_it):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_it or including_emulation)
    assert [stacked_training.mixes(torch.device(kind)) for kind in ("cuda", "cpu")] == [has_it, False]
