"""The criterion: the model's summed loss, normalized by the targets, in bits, nats and perplexity."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.logging import metrics

from plugins.criterions.causal_lm import CausalLMCriterion

PAD = 9


class Model:
    def __call__(self, src_tokens, target):
        self.target = target
        return None, {"loss": torch.tensor(8.0, requires_grad=True)}


def test_targets_that_are_padding_do_not_count():
    criterion = CausalLMCriterion(SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: PAD)))
    target = torch.tensor([[1, 2, PAD], [3, PAD, PAD]])
    sample = {"net_input": {"src_tokens": target}, "target": target, "ntokens": 6, "nsentences": 2}
    loss, size, log = criterion(Model(), sample)
    assert (loss.item(), size) == (8.0, 3)
    assert loss.requires_grad and not log["loss"].requires_grad


def test_what_is_logged():
    outputs = [{"loss": 2.0, "sample_size": 1, "ntokens": 1}, {"loss": 4.0, "sample_size": 2, "ntokens": 5}]
    with metrics.aggregate() as logged:
        CausalLMCriterion.reduce_metrics(outputs)
    values = logged.get_smoothed_values()
    assert values["loss"] == pytest.approx(2.88539, abs=1e-5)  # 2 nats in bits
    assert values["nats"] == pytest.approx(2.0, abs=1e-5)
    assert values["ppl"] == pytest.approx(7.389056, abs=1e-4)
