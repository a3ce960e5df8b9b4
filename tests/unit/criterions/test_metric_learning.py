"""The criterion's log: dead batches, collapse, and the metrics of a split."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.logging import metrics

from plugins.criterions import metric_learning
from plugins.criterions.metric_learning import MetricLearningConfig, MetricLearningCriterion
from plugins.data.embedding import specs
from plugins.modules.embedding_head import EmbeddingHead

SPEC = specs.RowSpec("toy", {}, ("text",), "class")


class Model(torch.nn.Module):
    """Returns features that it was given, one token a text."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors = torch.nn.Parameter(torch.tensor(vectors, dtype=torch.float))
        self.embedding_head = EmbeddingHead(2)

    def forward(self, tokens, src_lengths, features_only):
        return self.vectors[tokens], {}


def criterion(loss="batch_hard_soft_margin", **options):
    task = SimpleNamespace(spec=SPEC, cfg=SimpleNamespace(normalize=False), target_dictionary=None)
    return MetricLearningCriterion(MetricLearningConfig(metric_loss=loss, **options), task)


def sample(labels):
    rows = torch.arange(len(labels))
    inputs = {"src_tokens": rows[:, None], "src_lengths": torch.ones(len(labels), dtype=torch.long)}
    return {
        "id": rows, "net_input": inputs, "target": torch.tensor(labels), "text_ids": rows[None], "ntokens": len(labels),
        "nsentences": len(labels),
    }  # fmt: skip


POINTS = [[0.0, 0], [0, 1], [5, 0], [5, 1]]


def test_a_batch_of_one_class_is_dead():
    model = Model(POINTS)
    loss, weight, log = criterion().train()(model, sample([0, 0, 0, 0]))
    loss.backward()
    assert (float(loss), weight, log["dead_batches"]) == (0, 0, 1)
    assert not model.vectors.grad.any()


def test_statistics_of_a_batch():
    _, weight, log = criterion("batch_hard", margin=1.0).train()(Model(POINTS), sample([0, 0, 1, 1]))
    assert weight == 4 and log["sample_size"] == 4
    assert log["positive_distance"] == pytest.approx(1)
    assert log["negative_distance"] == pytest.approx((5 + 26**0.5) / 2)
    assert log["violations"] == 0
    assert log["effective_rank"] == pytest.approx(1.17706, abs=1e-4)  # exp of the entropy of (25/26, 1/26)


def test_vectors_that_are_not_finite_are_logged_and_end_in_a_loss_that_is_not_finite():
    for value in (np.nan, np.inf):
        loss, _, log = criterion().train()(Model([*POINTS[:3], [value, 1]]), sample([0, 0, 1, 1]))
        assert not torch.isfinite(loss) and np.isnan(log["effective_rank"])


def test_dead_batches_are_counted():
    logs = [{"loss": 0.0, "sample_size": 0, "dead_batches": 1}, {"loss": 3.0, "sample_size": 6, "dead_batches": 0}]
    with metrics.aggregate() as aggregator:
        MetricLearningCriterion.reduce_metrics(logs)
    assert aggregator.get_smoothed_values() == {"loss": 0.5, "dead_batches": 1}


@pytest.mark.parametrize(("loss", "value"), [("batch_hard", 5.0), ("batch_hard_soft_margin", np.log(2))])
def test_a_collapsed_model_is_warned_of_once(caplog, loss, value):
    found = criterion(loss)
    for _ in range(metric_learning.PATIENCE + 20):
        found.watch(value)
    assert caplog.text.count("collapsed") == 1
    found.watch(value / 2)
    assert found.stuck == 0


def test_the_metrics_of_a_split_come_from_all_its_batches():
    found = criterion().eval()
    logs = [found(Model(POINTS), sample(labels))[2] for labels in ([0, 0, 1, 1], [0, 0, 1, 1])]
    with metrics.aggregate() as aggregator:
        for log in logs:
            found.log_scores([log])
    scores = aggregator.get_smoothed_values()
    assert scores["knn_accuracy"] == 1 and scores["ami"] == 1
    assert len(aggregator["_embeddings"].tensor) == 8
