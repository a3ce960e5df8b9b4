"""The criterion: the model's summed loss, normalized by the targets, in bits, nats and perplexity."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.logging import metrics

from plugins.criterions.causal_lm import CausalLMCriterion

PAD = 9


class Model:
    def __call__(self, src_tokens, **given):
        self.given = given
        return None, {"loss": torch.tensor(8.0, requires_grad=True)}


def criterion():
    return CausalLMCriterion(SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: PAD)))


def sample(**more):
    target = torch.tensor([[1, 2, PAD], [3, PAD, PAD]])
    return {"net_input": {"src_tokens": target}, "target": target, "ntokens": 6, "nsentences": 2, **more}


def reduced(*steps):
    with metrics.aggregate(new_root=True) as logged:
        for outputs in steps:
            CausalLMCriterion.reduce_metrics(outputs)
    return logged.get_smoothed_values()


def test_targets_that_are_padding_do_not_count():
    loss, size, log = criterion()(Model(), sample())
    assert (loss.item(), size) == (8.0, 3)
    assert loss.requires_grad and not log["loss"].requires_grad
    assert (log["loss"].item(), log["ntokens"], log["nsentences"], log["sample_size"]) == (8.0, 6, 2, 3)


def test_the_model_gets_the_places_of_the_targets_where_the_batch_has_them():
    model, places = Model(), {"count": 2}
    assert criterion()(model, sample(predicted=places))[1] == 2  # not counted again, which would wait for a GPU
    assert model.given["predicted"] is places and set(model.given) == {"target", "predicted"}
    criterion()(model, sample())
    assert set(model.given) == {"target"}


def test_updates_count_by_their_targets():
    values = reduced([{"loss": 1.0, "sample_size": 1}], [{"loss": 9.0, "sample_size": 3}])
    assert values["nats"] == pytest.approx(2.5, abs=1e-5)


def test_workers_without_targets_log_a_loss_of_zero():
    assert reduced([{"loss": 0.0, "sample_size": 0}])["loss"] == 0


def test_the_metrics_that_may_choose_a_checkpoint_are_those_that_are_logged():
    assert criterion().validation_metrics() == set(reduced([{"loss": 1.0, "sample_size": 1}]))
    assert criterion().logging_outputs_can_be_summed()


def test_what_is_logged():
    outputs = [{"loss": 2.0, "sample_size": 1, "ntokens": 1}, {"loss": 4.0, "sample_size": 2, "ntokens": 5}]
    values = reduced(outputs)
    assert values["loss"] == pytest.approx(2.88539, abs=1e-5)  # 2 nats in bits
    assert values["nats"] == pytest.approx(2.0, abs=1e-5)
    assert values["ppl"] == pytest.approx(7.389056, abs=1e-4)
