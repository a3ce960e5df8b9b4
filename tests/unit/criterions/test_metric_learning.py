"""The criterion's log: dead batches, collapse, and the metrics of a split."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from fairseq.logging import metrics
from torch._subclasses.fake_tensor import FakeTensorMode

from plugins.criterions import metric_learning
from plugins.criterions.metric_learning import MetricLearningConfig, MetricLearningCriterion
from plugins.data.embedding import specs
from plugins.modules import metric_losses
from plugins.modules.embedding_head import EmbeddingHead

SPEC = specs.RowSpec("toy", {}, ("text",), "class")
PAIRS = specs.RowSpec("toy", {}, ("a", "b"))
LABELED_PAIRS = specs.RowSpec("toy", {}, ("a", "b"), "same", ("0", "1"))
SCORED_PAIRS = specs.RowSpec("toy", {}, ("a", "b"), "score", scale=(0, 1))
TRIPLETS = specs.RowSpec("toy", {}, ("a", "p", "n"))
MARGINS = specs.RowSpec("toy", {}, ("a", "p", "n"), "margin")
TEXTS = specs.RowSpec("toy", {}, ("text",))


class Model(torch.nn.Module):
    """Returns features that it was given, one token a text."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors = torch.nn.Parameter(torch.tensor(vectors, dtype=torch.float))
        self.embedding_head = EmbeddingHead(2, classes=3)

    def forward(self, tokens, src_lengths, features_only):
        return self.vectors[tokens], {}


def criterion(loss="batch_hard_soft_margin", spec=SPEC, normalize=False, **options):
    task = SimpleNamespace(spec=spec, cfg=SimpleNamespace(normalize=normalize), target_dictionary=None)
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


def test_texts_alone_are_paired_with_themselves_encoded_again(caplog):
    """SimCSE: the positive of a text is its other embedding, its negatives are the other texts."""
    model, given = Model([[1.0, 0], [0, 1], [0.6, 0.8]]), sample([0, 1, 2])
    given["text_ids"] = torch.tensor([[0, 1, 1]])  # the last two texts are equal
    model.forward = (
        lambda tokens, src_lengths, features_only: (  # a right angle between the two embeddings
            torch.cat([model.vectors[tokens[:3]], model.vectors[tokens[3:]].flip(-1) * torch.tensor([1.0, -1])]),
            {},
        )
    )
    learner = criterion("multiple_negatives_ranking", TEXTS, scale=1.0).train()
    loss, weight, log = learner(model, given)
    # Cosines with the second embeddings (0 -1) (1 0) (.8 -.6): 0 1 .8; -1 0 -.6; -.8 .6 0, the equal texts left out.
    expected = (math.log(1 + math.e + math.exp(0.8)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-0.8))) / 3
    assert weight == 3 and float(loss) / 3 == pytest.approx(expected) and "embeddings" not in log
    assert learner.eval()(model, given)[2]["embeddings"].shape == (3, 4)  # one embedding a text
    assert not caplog.records
    learner.train().warned = False
    learner(Model(POINTS[1:]), sample([0, 1, 2]))
    assert "--dropout" in caplog.text


def test_the_second_embedding_of_a_validated_text_has_the_same_dropout_each_time():
    model, dropout = Model([[1.0, 2], [2, 1], [0.6, 0.8]]), torch.nn.Dropout(0.5)
    plain = model.forward
    model.forward = lambda *given, **options: (dropout.train(model.training)(plain(*given, **options)[0]), {})
    learner = criterion("multiple_negatives_ranking", TEXTS).eval()
    model.eval()
    losses = {float(learner(model, sample([0, 1, 2]))[0]) for _ in range(3)}
    assert len(losses) == 1 and not model.training
    dropout.p = 0.0
    assert losses != {float(learner(model, sample([0, 1, 2]))[0])}


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


# Losses: values of sentence-transformers 6.2.0, as in tests/unit/modules/test_metric_losses.py

E = [(1, 0), (0.8, 0.6), (0.6, -0.8), (0, 1), (-0.6, 0.8), (-1, 0)]
CLASSES = [0, 0, 0, 1, 1, 1]
POSITIVES, NEGATIVES = [1, 2, 0, 4, 5, 3], [3, 3, 3, 0, 0, 0]  # of each row of E: the next ones of the batch
A = [(1, 0), (0.6, 0.8), (0, 1), (-0.6, 0.8)]
B = [(0.8, 0.6), (1, 0), (-1, 0), (0, 1)]
C = [(-0.6, 0.8), (0, 1), (1, 0), (0.8, 0.6)]
SAME = torch.tensor([1, 0, 0, 1])
SCORES = torch.tensor([0.9, 0.2, 0.1, 0.7])


def batch_of(*columns, **more):
    """Return the model of the texts of columns, and their batch."""
    count, rows = len(columns[0]), torch.arange(len(columns) * len(columns[0]))
    inputs = {"src_tokens": rows[:, None], "src_lengths": torch.ones(len(rows), dtype=torch.long)}
    made = {"id": rows[:count], "net_input": inputs, "text_ids": rows.view(len(columns), count), "ntokens": len(rows),
            "nsentences": count}  # fmt: skip
    return Model([point for column in columns for point in column]), made | more


@pytest.mark.parametrize(
    ("expected", "loss", "options"),
    [
        (4.30311029, "batch_all", {}),
        (0.53824371, "batch_all", {"margin": 1.0}),
        (0.5, "batch_all", {"margin": 0.2, "distance": "cosine"}),
        (4.87511973, "batch_hard", {}),
        (4.44737715, "batch_semi_hard", {}),
        (0.65878715, "batch_hard_soft_margin", {}),
        (0.63748795, "batch_hard_soft_margin", {"distance": "cosine"}),
    ],
)
def test_the_loss_of_classes_is_a_mean_over_anchors(expected, loss, options):
    model, batch = batch_of(E, target=torch.tensor(CLASSES))
    total, weight, log = criterion(loss, **options).train()(model, batch)
    assert weight == log["sample_size"] == 6 and (log["ntokens"], log["nsentences"]) == (6, 6)
    assert total.item() == log["loss"].item() == pytest.approx(6 * expected, rel=1e-5)
    assert log["dead_batches"] == 0 and log["statistics"] == 1
    assert total.requires_grad and not log["loss"].requires_grad


@pytest.mark.parametrize(
    ("expected", "loss", "spec", "columns", "target", "options"),
    [
        (0.01125, "contrastive", LABELED_PAIRS, (A, B), SAME, {}),
        (0.055, "contrastive", LABELED_PAIRS, (A, B), SAME, {"margin": 1.0}),
        (0.0475, "cosine_similarity", SCORED_PAIRS, (A, B), SCORES, {}),
        (0.71130024, "cosent", SCORED_PAIRS, (A, B), SCORES, {}),
        (1.62628147, "cosent", SCORED_PAIRS, (A, B), SCORES, {"scale": 1.0}),
        (7.81932645, "multiple_negatives_ranking", PAIRS, (A, B), None, {}),
        (1.28491999, "multiple_negatives_ranking", PAIRS, (A, B), None, {"scale": 1.0, "symmetric": True}),
        (2.05586798, "multiple_negatives_ranking", TRIPLETS, (A, B, C), None, {"scale": 1.0}),
        (0.84, "mega_batch_margin", PAIRS, (A, B), None, {}),
        (0.64, "mega_batch_margin", PAIRS, (A, B), None, {"negative_margin": 0.5}),
        (4.58095369, "triplet", TRIPLETS, (A, B, C), None, {}),
        (0.62005341, "triplet", TRIPLETS, (A, B, C), None, {"margin": 1.0}),
        (0.3, "triplet", TRIPLETS, (A, B, C), None, {"margin": 0.5, "distance": "cosine"}),
        (0.615, "margin_mse", MARGINS, (A, B, C), torch.tensor([0.5, 0.2, -1, 0.1]), {}),
    ],
)  # fmt: skip
def test_the_loss_of_rows_of_texts_is_a_mean_over_rows(expected, loss, spec, columns, target, options):
    model, batch = batch_of(*columns, **({} if target is None else {"target": target}))
    total, weight, log = criterion(loss, spec, **options).train()(model, batch)
    assert weight == 4 and total.item() == log["loss"].item() == pytest.approx(4 * expected, rel=1e-4)
    assert "statistics" not in log and "embeddings" not in log


def test_the_classifier_of_the_head_compares_pairs():
    model, batch = batch_of(A, B, target=torch.tensor([0, 2, 1, 0]))
    with torch.no_grad():
        model.embedding_head.classifier.weight.copy_(torch.arange(18).reshape(3, 6) / 10 - 0.9)
        model.embedding_head.classifier.bias.zero_()
        total, weight, _ = criterion("softmax", LABELED_PAIRS).train()(model, batch)
    assert weight == 4 and total.item() == pytest.approx(4 * 2.09443400, rel=1e-5)


def test_weights_of_the_classifier_may_be_in_half_precision():
    model, batch = batch_of(A, B, target=torch.tensor([0, 2, 1, 0]))
    want = criterion("softmax", LABELED_PAIRS).train()(model, batch)[0]
    loss = criterion("softmax", LABELED_PAIRS).train()(model.bfloat16(), batch)[0]
    loss.backward()
    assert loss.item() == pytest.approx(want.item(), rel=2e-2)
    assert model.embedding_head.classifier.weight.grad.dtype == torch.bfloat16


def test_hard_pairs_are_summed_and_divided_by_all_pairs():
    """Cosines .8, .6, 0, .8: with similar pairs at distances .2 and 1, those beyond .2 and those below 1 are hard."""
    model, batch = batch_of(A, B, target=torch.tensor([1, 0, 1, 0]))
    total, weight, _ = criterion("online_contrastive", LABELED_PAIRS).train()(model, batch)
    assert weight == 4 and total.item() == pytest.approx(1 + (0.5 - 0.4) ** 2 + (0.5 - 0.2) ** 2, rel=1e-5)


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "mega_batch_margin", "cosent"])
def test_classes_give_each_anchor_the_next_positive_and_negative(loss):
    a, p, n = (torch.tensor(E)[rows] for rows in (range(6), POSITIVES, NEGATIVES))
    if loss in ("contrastive", "cosent"):
        labels = torch.tensor([1] * 6 + [0] * 6)
        expected, _ = getattr(metric_losses, loss)(torch.cat([a, a]), torch.cat([p, n]), labels)
    else:
        expected, _ = getattr(metric_losses, loss)(*(a, p, n)[: 3 if loss == "triplet" else 2])
    model, batch = batch_of(E, target=torch.tensor(CLASSES))
    total, weight, _ = criterion(loss).train()(model, batch)
    assert weight == 6 and total.item() == pytest.approx(6 * expected.item(), rel=1e-5)


def test_texts_of_the_same_class_are_no_negatives_of_each_other():
    a, p, classes = torch.tensor(E), torch.tensor(E)[POSITIVES], torch.tensor(CLASSES)
    expected, _ = metric_losses.multiple_negatives_ranking(a, p, same=classes[:, None] == classes)
    model, batch = batch_of(E, target=classes)
    total, weight, _ = criterion("multiple_negatives_ranking").train()(model, batch)
    assert weight == 6 and total.item() == pytest.approx(6 * expected.item(), rel=1e-5)


@pytest.mark.parametrize("ids, excluded", [
    ([[0, 1, 2, 3], [4, 4, 6, 7]], [(0, 1), (1, 0)]),  # equal positives
    ([[0, 1, 2, 3], [1, 5, 6, 7]], [(1, 0)]),  # the positive of the first row is the second anchor
    ([[0, 1, 2, 3], [4, 5, 6, 7], [8, 6, 8, 8]], [(2, 5)]),  # a negative of the second row is the third positive
])  # fmt: skip
def test_equal_texts_are_no_negatives_of_each_other(ids, excluded):
    columns = (A, B, C)[: len(ids)]
    same = torch.zeros(4, 4 * (len(ids) - 1), dtype=torch.bool)
    for place in excluded:
        same[place] = True
    further = torch.tensor(C) if len(ids) == 3 else None
    expected, _ = metric_losses.multiple_negatives_ranking(torch.tensor(A), torch.tensor(B), 1.0, further, same=same)
    model, batch = batch_of(*columns, text_ids=torch.tensor(ids))
    found = criterion("multiple_negatives_ranking", (PAIRS, TRIPLETS)[len(ids) - 2], scale=1.0)
    assert found.train()(model, batch)[0].item() == pytest.approx(4 * expected.item(), rel=1e-5)


@pytest.mark.parametrize("spec", [TEXTS, SPEC])
def test_the_vectors_of_a_teacher_are_matched(spec):
    model, batch = batch_of(A, teacher=torch.tensor(B), target=torch.tensor([0, 0, 1, 1]))
    total, weight, _ = criterion("mse", spec).train()(model, batch)
    assert weight == 4 and total.item() == pytest.approx(4 * 0.45, rel=1e-5)
    with toy.refused("--teacher", "3", "2"):
        criterion("mse", spec).train()(model, batch | {"teacher": torch.ones(4, 3)})


def test_a_teacher_gives_the_margins_of_classes():
    teacher = torch.tensor([(2.0, 0), (1, 1), (0, 1), (1, 0)])
    model, batch = batch_of(A, teacher=teacher, target=torch.tensor([0, 0, 1, 1]))
    a, p, n = (torch.tensor(A)[rows] for rows in (range(4), [1, 0, 3, 2], [2, 2, 0, 0]))
    wanted = torch.tensor([2 - 0, 2 - 1, 0 - 0, 0 - 2])  # products of the teacher's vectors
    expected = (((a * p).sum(1) - (a * n).sum(1) - wanted) ** 2).sum()
    total, weight, _ = criterion("margin_mse").train()(model, batch)
    assert weight == 4 and total.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("tokens", [3, 0])
def test_denoising_is_a_mean_over_the_tokens_of_whole_texts(tokens):
    whole = {"src_tokens": torch.ones(4, 5), "src_lengths": torch.ones(4)}
    model, batch = batch_of(A, whole=whole)
    model.embedding_head.decoder = Decoder(tokens)
    total, weight, log = criterion("denoising", TEXTS).train()(model, batch)
    assert (total.item(), weight, log["dead_batches"]) == (2.0 * tokens, tokens, int(tokens == 0))
    embeddings, *given = model.embedding_head.decoder.given
    assert torch.equal(embeddings, model.vectors) and given == list(whole.values())


class Decoder(torch.nn.Module):
    """Returns a loss of 2 nats per token."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def forward(self, *given):
        self.given = given
        return torch.tensor(2.0 * self.tokens), self.tokens


@pytest.mark.parametrize("loss, spec, columns, target", [
    ("cosent", SCORED_PAIRS, (A, B), torch.ones(4)), ("mega_batch_margin", PAIRS, (A[:1], B[:1]), None),
    ("multiple_negatives_ranking", PAIRS, (A[:1], B[:1]), None),
])  # fmt: skip
def test_rows_that_teach_nothing_have_no_weight(loss, spec, columns, target):
    model, batch = batch_of(*columns, **({} if target is None else {"target": target}))
    total, weight, log = criterion(loss, spec).train()(model, batch)
    assert (total.item(), weight, log["dead_batches"]) == (0, 0, 1)


# Logging


def test_statistics_are_means_over_batches_and_the_loss_over_anchors():
    batch = {name: 1.0 for name in metric_learning.STATISTICS}
    logs = [{"loss": 1.0, "sample_size": 1, "statistics": 1, **batch},
            {"loss": 9.0, "sample_size": 3, "statistics": 1, **dict.fromkeys(batch, 4.0)}]  # fmt: skip
    with metrics.aggregate(new_root=True) as aggregator:
        MetricLearningCriterion.reduce_metrics(logs)
        MetricLearningCriterion.reduce_metrics(logs[:1])
    values = aggregator.get_smoothed_values()
    assert values["loss"] == pytest.approx(11 / 5, abs=1e-5)
    assert all(values[name] == 2.0 for name in batch) and "dead_batches" not in values


def test_the_metrics_that_can_select_a_checkpoint_are_those_of_the_rows():
    assert criterion("triplet", TRIPLETS).validation_metrics() == {"loss", "triplet_accuracy"}
    assert criterion("cosent", SCORED_PAIRS).validation_metrics() == {"loss", "spearman", "pearson"}
    assert {"loss", "knn_accuracy", "hard_triplet_accuracy"} < criterion().validation_metrics()


def test_validation_logs_embeddings_and_no_statistics():
    log = criterion().eval()(Model(POINTS), sample([0, 0, 1, 1]))[2]
    assert not {"dead_batches", "statistics", *metric_learning.STATISTICS} & log.keys()
    assert log["embeddings"].tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [2, 1, 5, 0], [3, 1, 5, 1]]
    _, texts = batch_of(A, B)
    found = criterion("mega_batch_margin", PAIRS).eval()(Model([*A, *B]), texts)[2]["embeddings"]
    assert found[1].tolist() == pytest.approx([1, 0, 0.6, 0.8, 1, 0])  # without a label, and both texts


@pytest.mark.parametrize("spec, kind", [(LABELED_PAIRS, int), (SCORED_PAIRS, float)])
def test_metrics_of_a_split_get_its_rows_in_the_order_of_the_file(monkeypatch, spec, kind):
    calls = []
    monkeypatch.setattr(
        metric_learning.embedding_metrics, "scores", lambda *given: calls.append(given) or {"x": 0.123456}
    )
    found, rows = criterion("softmax" if kind is int else "cosent", spec), torch.tensor([[2, 1, 3, 4], [0, 0, 1, 2.0]])
    meters = {"_embeddings": SimpleNamespace(tensor=rows)}
    assert [found.score("x", meters), found.score("x", meters)] == [0.1235] * 2
    [(name, columns, labels)] = calls  # computed once
    assert name == spec.kind and columns.tolist() == [[[1], [3]], [[2], [4]]]
    assert labels.tolist() == [0, 1] and labels.dtype == np.dtype(kind)


@pytest.mark.parametrize("loss", ["batch_all", "batch_semi_hard", "triplet"])
def test_the_loss_of_a_collapsed_model_is_the_margin(loss):
    found = criterion(loss, margin=0.5)
    for value in (0.5004, 0.4996):
        found.watch(value)
    assert found.stuck == 2
    found.watch(0.501)
    assert found.stuck == 0


def test_a_warning_needs_as_many_batches_as_the_patience(caplog):
    found, other = criterion(), criterion("supervised_contrastive")
    for _ in range(metric_learning.PATIENCE - 1):
        found.watch(math.log(2))
        other.watch(math.log(2))
    assert not caplog.records and other.stuck == 0
    found.watch(math.log(2))
    assert len(caplog.records) == 1


@pytest.mark.parametrize("target", [False, True])
def test_rows_are_gathered_from_a_gpu(target):
    with FakeTensorMode():
        ids = torch.arange(4, device="cuda")
        found = metric_learning.gathered(
            torch.empty(2, 4, 3, device="cuda"), {"id": ids, **({"target": ids} if target else {})}, None
        )
    assert (found.shape, found.device.type) == ((4, 8), "cpu")
