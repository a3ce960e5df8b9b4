"""The criterion of reward models: the loss of each kind of row, what validation gathers, and its options."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from fairseq.logging import metrics

from plugins.criterions.preference import PreferenceCriterion, PreferenceCriterionConfig


class Model(torch.nn.Module):
    """Its scores are the tokens."""

    def __init__(self, flip=None):
        super().__init__()
        self.flip = flip

    def forward(self, src_tokens, src_lengths, features_only):
        return src_tokens, {}

    def score_head(self, features, lengths):
        return features[:, 0]


Model.score_head.flip = None


def criterion(objective="pairwise", ties=False, rated=False, learn=False, **options):
    cfg = SimpleNamespace(objective=objective, learn_flip_rate=learn)
    task = SimpleNamespace(
        cfg=cfg, has_ties=ties, rated=rated, target_dictionary=None, learn_flip_rate=learn,
        standardized=lambda gains: (gains - 3) / 2,
    )  # fmt: skip
    return PreferenceCriterion(PreferenceCriterionConfig(**options), task).train()


def sample(scores, **more):
    tokens = torch.tensor(scores, dtype=torch.float)[:, None]
    lengths = torch.arange(1, len(scores) + 1)
    return {"net_input": {"src_tokens": tokens, "src_lengths": lengths}, "ntokens": 9, "nsentences": 2, **more}


def pairs(scores, outcomes, margins=None, weights=None):
    ones = torch.ones(len(outcomes))
    return sample(scores, outcomes=torch.tensor(outcomes), margins=0 * ones if margins is None else margins,
                  weights=ones if weights is None else torch.tensor(weights))  # fmt: skip


def test_the_scores_of_a_comparison_alternate_and_either_text_may_be_better():
    """softplus(-2), softplus(1) and softplus(0) for differences of 2, -1 and 0 (notes: .126928, 1.313262, .693147)."""
    loss, weight, log = criterion()(Model(), pairs([2.0, 0, 1, 0, 5, 5], [0, 1, 0]))
    assert float(loss) == pytest.approx(0.126928 + 1.313262 + 0.693147, abs=1e-5)
    assert (weight, log["sample_size"], log["ntokens"], log["nsentences"]) == (3, 3, 9, 2)
    assert float(log["loss"]) == float(loss) and "scores" not in log


def test_margins_and_weights_of_comparisons():
    margin, _, _ = criterion()(Model(), pairs([2.0, 0], [0], torch.tensor([2.0])))
    assert float(margin) == pytest.approx(np.log(2))
    weighed, _, _ = criterion()(Model(), pairs([2.0, 0, 5, 5], [0, 0], weights=[0.0, 3.0]))
    assert float(weighed) == pytest.approx(3 * np.log(2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flip_rate": 0.2}, -np.log(0.8 * 0.880797 + 0.2 * 0.119203)),
        ({"smoothing": 0.2}, 0.8 * 0.126928 + 0.2 * 2.126928),
        ({"centering": 0.5}, 0.126928 + 0.5 * 4),
    ],
)
def test_options_of_the_loss_of_comparisons(options, expected):
    assert float(criterion(**options)(Model(), pairs([2.0, 0], [0]))[0]) == pytest.approx(expected, abs=1e-5)


def test_ties_have_the_loss_of_davidsons_model():
    """Scores 1 and 0, nu .5: P = .59839220, .22013619, .18147161."""
    loss = criterion(ties=True)
    for outcome, p in enumerate((0.59839220, 0.22013619, 0.18147161)):
        assert float(loss(Model(), pairs([1.0, 0], [outcome]))[0]) == pytest.approx(-np.log(p), abs=1e-6)
    assert float(loss(Model(), pairs([1.0, 0], [2], weights=[2.0]))[0]) == pytest.approx(-2 * np.log(0.18147161))
    rare = criterion(ties=True, tie_strength=0.1)(Model(), pairs([1.0, 0], [2]))[0]
    assert float(rare) > -np.log(0.18147161)


@pytest.mark.parametrize("name", ["centering", "smoothing", "flip_rate", "learn"])
def test_the_loss_of_ties_has_no_other_options(name):
    value = True if name == "learn" else 0.1
    with toy.refused("--learn-flip-rate" if name == "learn" else f"--{name.replace('_', '-')}", "ties"):
        criterion(ties=True, **{name: value})(Model(), pairs([1.0, 0], [2]))


def test_ratings_have_a_squared_error_of_standardized_ratings():
    given = sample([1.0, 0], gains=torch.tensor([5.0, 7.0]))
    assert float(criterion("pointwise")(Model(), given)[0]) == pytest.approx(0 + 2**2)


def test_each_list_has_its_own_loss():
    """ListNet of scores 2, 1, 0 with gains 1, 3, 2 is 1.56230386, ListMLE 3.53453398."""
    rows, gains = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([1.0, 5, 3, 2, 5])
    given = sample([2.0, 9, 1, 0, 9], rows=rows, gains=gains)
    for name, expected in (("listnet", 1.56230386), ("listmle", 3.53453398)):
        loss, weight, _ = criterion("listwise", list_loss=name)(Model(), given)
        alone = criterion("listwise", list_loss=name)(
            Model(), sample([9.0, 9], rows=torch.zeros(2), gains=gains[[1, 4]])
        )
        assert weight == 2 and float(loss - alone[0]) == pytest.approx(expected, abs=1e-5)


def test_validation_gathers_the_better_text_first_and_ties_as_nan():
    found = criterion(ties=True).eval()(Model(), pairs([2.0, 0, 1, 3, 5, 5], [0, 1, 2]))[2]["scores"]
    assert found[:2].tolist() == [[2, 0, 1, 2], [3, 1, 4, 3]] and found[2].isnan().all()


def test_validation_metrics_come_from_all_batches():
    loss = criterion().eval()
    with metrics.aggregate() as aggregator:
        for scores in ([2.0, 0], [0.0, 3]):
            loss.log_scores([loss(Model(), pairs(scores, [0]))[2], {}])
        loss.log_scores([{}])
    found = aggregator.get_smoothed_values()
    assert (found["accuracy"], found["margin"], found["max_reward"]) == (0.5, -0.5, 3)
    assert loss.validation_metrics() == {"loss", *found}


def test_metrics_of_ratings():
    loss = criterion("pointwise", rated=True).eval()
    given = sample([1.0, 2, 0], gains=torch.tensor([5.0, 7, 2]), texts=torch.tensor([2, 0, 1]))
    with metrics.aggregate() as aggregator:
        loss.log_scores([loss(Model(), given)[2]])
    found = aggregator.get_smoothed_values()
    assert found["spearman"] == found["accuracy"] == 1 and "margin" not in found
    assert loss.validation_metrics() == {"loss", *found}


def test_the_logged_loss_is_a_mean_over_rows():
    logs = [{"loss": 3.0, "sample_size": 1}, {"loss": 1.0, "sample_size": 3}, {}]
    with metrics.aggregate() as aggregator:
        PreferenceCriterion.reduce_metrics(logs)
    assert aggregator.get_smoothed_values() == {"loss": 1.0}


@pytest.mark.parametrize(
    ("objective", "options", "named"),
    [
        ("pairwise", {"centering": -1.0}, "--centering -1.0"),
        ("pairwise", {"smoothing": -1.0}, "--smoothing -1.0"),
        ("pairwise", {"smoothing": 0.5}, "--smoothing 0.5"),
        ("pairwise", {"tie_strength": -1.0}, "--tie-strength -1.0"),
        ("pairwise", {"flip_rate": -0.1}, "--flip-rate -0.1"),
        ("pairwise", {"flip_rate": 0.5}, "--flip-rate 0.5"),
        ("pairwise", {"smoothing": 0.1, "learn": True}, "--smoothing"),
        ("pairwise", {"flip_rate": 0.1, "learn": True}, "--learn-flip-rate"),
        ("pointwise", {"centering": 0.1}, "pointwise"),
        ("pointwise", {"smoothing": 0.1}, "pointwise"),
        ("listwise", {"flip_rate": 0.1}, "listwise"),
        ("listwise", {"learn": True}, "listwise"),
        ("pointwise", {"list_loss": "listmle"}, "--list-loss listmle"),
    ],
)
def test_contradicting_options_are_named(objective, options, named):
    with toy.refused(named):
        criterion(objective, **options)


@pytest.mark.parametrize(
    ("objective", "options"),
    [("pairwise", {"flip_rate": 0.0}), ("listwise", {"list_loss": "ranknet"}), ("pairwise", {"learn": True})],
)
def test_options_that_go_together_are_accepted(objective, options):
    criterion(objective, **options)


def test_a_frequency_of_zero_is_refused_where_there_are_ties():
    without = criterion(tie_strength=0.0)(Model(), pairs([1.0, 0], [0]))[0]
    assert float(without) == pytest.approx(0.313262, abs=1e-5)  # softplus(-1)
    with toy.refused("--tie-strength 0", "ties"):
        criterion(ties=True, tie_strength=0.0)(Model(), pairs([1.0, 0], [2]))
