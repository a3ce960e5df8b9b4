"""Losses and metrics of classification heads."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from fairseq.logging import metrics

from plugins.criterions.glue import GlueCriterion
from plugins.data.glue import specs


def criterion(task, training=False, record_logits=None):
    names = SimpleNamespace(spec=specs.SPECS[task], head_name=task.lower(), target_dictionary=None, epoch=3)
    return GlueCriterion(names, record_logits).train(training)


class Model(torch.nn.Module):
    """A model that returns its input."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, src_tokens, classification_head_name):
        self.head = classification_head_name
        return self.logits, None


def step(task, logits, target, training=False):
    sample = {"net_input": {"src_tokens": None}, "target": torch.tensor(target), "ntokens": 9}
    return criterion(task, training)(Model(logits), sample)


def reduced(task, *logs):
    with metrics.aggregate(new_root=True) as aggregator:
        GlueCriterion.reduce_metrics(logs)
        criterion(task).log_scores(logs)
    return aggregator.get_smoothed_values()


def test_a_classification_is_logged_in_bits_and_in_nats():
    loss, size, log = step("RTE", [[0.0, 0.0], [0.0, 0.0]], [0, 1])
    assert (loss.item(), size) == (pytest.approx(2 * math.log(2)), 2)
    values = reduced("RTE", log)
    assert (values["loss"], values["nll"]) == (pytest.approx(1.0, abs=1e-5), pytest.approx(0.69315, abs=1e-5))


def test_the_loss_of_a_regression_is_the_squared_error_and_not_in_bits():
    """Errors of 1 and 3: a mean of 5. Published: 5 / 5 ** 2 / ln 2."""
    loss, size, log = step("STS-B", [[2.0], [1.0]], [1.0, 4.0])
    assert (loss.item(), size) == (10.0, 2)
    values = reduced("STS-B", log)
    assert (values["loss"], values["mse"]) == (5.0, 5.0)
    assert values["published_loss"] == pytest.approx(0.28854, abs=1e-5)


def test_batches_count_by_their_sentences():
    logs = [{"loss": 3 * math.log(2), "sample_size": 3, "correct": 3}, {"loss": 0.0, "sample_size": 1, "correct": 0}]
    values = reduced("RTE", *logs)
    assert (values["loss"], values["accuracy"]) == (0.75, 0.75)


def test_metrics_of_validation_come_from_all_predictions_of_a_split():
    """A correlation over both batches; within each it is undefined."""
    logs = [step("STS-B", [[float(x)]], [float(x)])[2] for x in (1, 2, 4)]
    assert reduced("STS-B", *logs)["pearson"] == pytest.approx(1.0)


def test_the_share_of_the_most_frequent_prediction_is_logged():
    log = step("RTE", [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 1, 0, 1])[2]
    assert reduced("RTE", log)["top_class_share"] == 0.75


def test_training_gathers_no_predictions():
    assert "answers" not in step("RTE", [[0.0, 0.0]], [0], training=True)[2]
    assert "answers" in step("RTE", [[0.0, 0.0]], [0])[2]


@pytest.mark.parametrize("task", ["RTE", "CoLA", "STS-B", "MRPC"])
def test_the_metrics_that_may_choose_a_checkpoint_are_those_that_are_logged(task):
    regression = specs.SPECS[task].is_regression
    log = step(task, [[0.5], [1.5]] if regression else [[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0] if regression else [0, 1])
    names = reduced(task, log[2]).keys()
    assert criterion(task).validation_metrics() == {name for name in names if not name.startswith("_")}


def test_a_step_asks_the_task_head_and_logs_its_numbers():
    model = Model([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).requires_grad_()
    model.logits.requires_grad_()
    sample = {"net_input": {"src_tokens": None}, "target": torch.tensor([0, 1, 1]), "ntokens": 9}
    loss, _, log = criterion("RTE", training=True)(model, sample)
    assert model.head == "rte" and loss.requires_grad and not log["loss"].requires_grad
    assert (log["ntokens"], log["nsentences"], log["sample_size"], log["correct"]) == (9, 3, 3, 2)
    values = reduced("RTE", log)
    assert values["accuracy"] == pytest.approx(0.6667) and "top_class_share" not in values


def test_accuracy_of_batches_is_logged_in_training_only():
    validated = step("RTE", [[1.0, 0.0], [1.0, 0.0]], [0, 1])[2]
    regression = step("STS-B", [[1.0]], [1.0], training=True)[2]
    with metrics.aggregate(new_root=True) as aggregator:
        GlueCriterion.reduce_metrics([validated])
        GlueCriterion.reduce_metrics([regression])
    assert "accuracy" not in aggregator.get_smoothed_values()


def test_updates_count_by_their_sentences():
    with metrics.aggregate(new_root=True) as aggregator:
        for loss, size, correct in ((1.0, 1, 0), (9.0, 3, 3)):
            GlueCriterion.reduce_metrics([{"loss": loss, "sample_size": size, "correct": correct}])
    values = aggregator.get_smoothed_values()
    assert (values["nll"], values["accuracy"]) == (2.5, 0.75)
    assert values["loss"] == pytest.approx(3.60674, abs=1e-5)  # 2.5 nats


def test_a_batch_without_rows_is_not_an_error():
    assert reduced("RTE", {"loss": 0.0, "sample_size": 0})["loss"] == 0


def test_logits_are_recorded_by_split_epoch_and_row(tmp_path):
    made, sample = criterion("RTE", record_logits=str(tmp_path)), {"split": "held_out", "rows": [2, 0], "of": 3}
    more = {"net_input": {"src_tokens": None}, "target": torch.tensor([0, 1]), "ntokens": 9}
    made(Model([[1.0, 2.0], [3.0, 4.0]]), {**sample, **more})
    empty = {"rows": [], "target": torch.empty(0, dtype=torch.long)}
    made(
        Model(np.empty((0, 2))), {**sample, **more, **empty} | {"split": "train"}
    )  # of fairseq, for a worker without rows
    (file,) = tmp_path.iterdir()
    assert file.name == "held_out_epoch_3.npy"
    found = np.load(file)
    assert found[[2, 0]].tolist() == [[1, 2], [3, 4]] and np.isnan(found[1]).all()


def test_logits_are_recorded_by_one_process_only(tmp_path, monkeypatch):
    monkeypatch.setattr("plugins.criterions.glue.get_data_parallel_world_size", lambda: 2)
    with toy.refused("--record-logits"):
        criterion("RTE", record_logits=str(tmp_path / "logits"))
    assert not (tmp_path / "logits").exists()
    assert criterion("RTE").recorder is None


def test_workers_log_is_not_summed_by_fairseq():
    assert not GlueCriterion.logging_outputs_can_be_summed()
