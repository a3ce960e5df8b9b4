"""The criterion: stock masked_lm's loss, perplexity with digits, and beta."""

import argparse
import math

import pytest
import torch
import toy
from fairseq.criterions.masked_lm import MaskedLmLoss
from fairseq.logging import metrics

from plugins.criterions.clap_masked_lm import ClapMaskedLMCriterion, ClapMaskedLMCriterionConfig
from plugins.data.predicted import predicted


@pytest.fixture(scope="module")
def task(toy_data):
    return toy.make_task(toy_data)


def criterion_of(task):
    return ClapMaskedLMCriterion.build_criterion(ClapMaskedLMCriterionConfig(), task)


def sample(task, rows=4):
    dataset = task.datasets.get("train")
    if dataset is None:
        task.load_dataset("train")
        dataset = task.dataset("train")
    return dataset.collater([dataset[i] for i in range(rows)])


def reduced(logs):
    with metrics.aggregate() as aggregator:
        ClapMaskedLMCriterion.reduce_metrics(logs)
    return aggregator.get_smoothed_values()


@pytest.mark.parametrize("head", ["clap", "roberta"])
def test_the_loss_and_its_gradients_are_those_of_fairseqs_masked_lm(task, head):
    model, batch = toy.make_model(task, head=head), sample(task)
    theirs = MaskedLmLoss(argparse.Namespace(tpu=False), task)
    theirs.tpu = False
    results = []
    for criterion in (criterion_of(task), theirs):
        model.zero_grad()
        loss, size, log = criterion(model, batch)
        loss.backward()
        results.append(
            (
                loss.item(),
                size,
                log["ntokens"],
                log["nsentences"],
                [p.grad.clone() for p in model.parameters() if p.grad is not None],
            )
        )
    ours, stock = results
    assert ours[0] == pytest.approx(stock[0], rel=1e-6)
    assert ours[1:4] == stock[1:4]
    for a, b in zip(ours[4], stock[4], strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_loss_is_in_bits_and_perplexity_has_digits():
    values = reduced([{"loss": 100 * math.log(3), "sample_size": 100}])
    assert values["loss"] == pytest.approx(1.58496, abs=1e-5)
    assert values["ppl"] == pytest.approx(3.0, abs=3e-5)
    values = reduced([{"loss": 100 * math.log(2.8612), "sample_size": 100}])
    assert values["ppl"] == pytest.approx(2.8612, abs=5e-5)


def test_workers_are_summed_by_their_sizes_and_beta_is_their_mean():
    values = reduced([
        {"loss": 1 * math.log(2), "sample_size": 1, "beta": 1.5, "workers": 1},
        {"loss": 9 * math.log(4), "sample_size": 3, "beta": 2.5, "workers": 1},
    ])  # fmt: skip
    assert values["loss"] == pytest.approx(19 / 4)
    assert values["beta"] == 2.0


@pytest.mark.parametrize("loss", [800.0, 1e30, math.inf])
def test_a_loss_beyond_the_range_of_perplexity_is_infinite_rather_than_an_error(loss):
    assert reduced([{"loss": loss, "sample_size": 1}])["ppl"] == math.inf


def test_a_batch_without_predictions_logs_a_loss_of_zero(task):
    batch = sample(task)
    batch["target"] = torch.full_like(batch["target"], task.dictionary.pad())
    batch["predicted"] = predicted(batch["target"].numpy(), task.dictionary.pad())
    loss, size, log = criterion_of(task)(toy.make_model(task), batch)
    loss.backward()
    assert (loss.item(), size) == (0.0, 0)
    reduced([log])


def test_beta_is_logged_only_for_a_clap_head(task):
    clap = criterion_of(task)(toy.make_model(task, initial_beta=1.5), sample(task))[2]
    assert float(clap["beta"]) == 1.5
    assert "beta" not in criterion_of(task)(toy.make_model(task, head="roberta"), sample(task))[2]
    assert "beta" not in reduced([{"loss": 1.0, "sample_size": 1}])


def test_excluded_words_never_make_the_loss_infinite(task):
    """Whatever position is masked: blocks start with <s>, which must not be masked without a target."""
    model, criterion = toy.make_model(task, exclude_unused=True), criterion_of(task)
    task.load_dataset("train")
    dataset = task.dataset("train")
    for start in range(0, 160, 16):
        batch = dataset.collater([dataset[i] for i in range(start, start + 16)])
        assert criterion(model, batch)[0].isfinite()


def test_the_self_masking_model_predicts_only_the_drawn_positions(toy_data):
    task = toy.make_task(toy_data, mask_prob=0.0)
    batch = sample(task)
    assert torch.equal(batch["net_input"]["src_tokens"], batch["target"])
    loss, size, log = criterion_of(task)(toy.make_model(task, self_mask_prob=0.3), batch)
    assert 0.1 < size / log["ntokens"] < 0.5
    assert loss.item() / size > 1


def test_a_task_and_a_model_that_both_leave_the_masking_are_refused(toy_data):
    task = toy.make_task(toy_data, mask_prob=0.0)
    with toy.refused("--mask-prob 0", "--self-mask-prob"):
        criterion_of(task)(toy.make_model(task), sample(task))


def test_logs_can_be_summed_over_workers():
    assert ClapMaskedLMCriterion.logging_outputs_can_be_summed()


def test_updates_count_by_their_predictions():
    with metrics.aggregate(new_root=True) as aggregator:
        for loss, size in ((1.0, 1), (9.0, 3)):
            ClapMaskedLMCriterion.reduce_metrics([{"loss": loss * math.log(2), "sample_size": size}])
    assert aggregator.get_smoothed_values()["loss"] == pytest.approx(2.5, abs=1e-5)


def test_the_metrics_that_may_choose_a_checkpoint_are_those_that_are_logged(task):
    log = criterion_of(task)(toy.make_model(task), sample(task))[2]
    assert criterion_of(task).validation_metrics() == set(reduced([log]))
    assert not log["loss"].requires_grad and not log["beta"].requires_grad


def test_a_model_that_computes_only_logits_has_the_same_loss(task):
    model, batch = toy.make_model(task).eval(), sample(task)

    class Logits(torch.nn.Module):
        encoder = model.encoder

        def forward(self, src_tokens, src_lengths=None, masked_tokens=None, **unused):
            return model(src_tokens, masked_tokens=masked_tokens)[0], {}

    expected, found = (criterion_of(task)(each, batch) for each in (model, Logits()))
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert found[1] == expected[1] > 0
