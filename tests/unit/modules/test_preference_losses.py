"""Losses of reward models against values computed with numpy."""

import math

import pytest
import torch
import toy

from plugins.modules import preference_losses as losses

CHOSEN = torch.tensor([2, 0, 0.5], dtype=torch.float64)
REJECTED = torch.tensor([0, 1, 0.5], dtype=torch.float64)
SCORES = torch.tensor([2, 1, 0], dtype=torch.float64)
GAINS = torch.tensor([1, 3, 2])


def close(value):
    return pytest.approx(value, abs=1e-8)


def test_bradley_terry():
    each = losses.bradley_terry(CHOSEN, REJECTED, reduce=False)
    assert each.tolist() == close([0.12692801, 1.31326169, 0.69314718])
    assert losses.bradley_terry(CHOSEN, REJECTED).item() == close(0.71111229)
    assert losses.bradley_terry(CHOSEN, REJECTED, margin=1).item() == close(1.25115046)


def test_davidson():
    p = losses.davidson_log_probabilities(torch.ones(1).double(), torch.zeros(1).double(), 0.5).exp()
    assert p[0].tolist() == close([0.59839220, 0.22013619, 0.18147161])
    loss = losses.davidson(torch.ones(3).double(), torch.zeros(3).double(), torch.tensor([0, 1, 2]))
    assert loss.item() == close(-sum(map(math.log, (0.59839220, 0.22013619, 0.18147161))) / 3)


def test_lists():
    assert losses.listnet(SCORES, GAINS).item() == close(1.56230386)
    assert losses.listmle(SCORES, GAINS).item() == close(3.53453398)
    assert losses.ranknet(SCORES, GAINS).item() == close(1.25115046)


def test_lambdarank_weighs_pairs_by_the_change_of_ndcg():
    """Two texts in the wrong order, gains 1 and 0: swapping changes nDCG by 1 - 1/log2(3)."""
    loss = losses.lambdarank(torch.tensor([0.0, 1.0]), torch.tensor([1, 0]))
    assert loss.item() == pytest.approx((1 - 1 / math.log2(3)) * math.log(1 + math.e), rel=1e-6)


def test_flip_correction_is_plain_at_zero_and_bounded_at_twenty_percent():
    d = torch.tensor([-30.0, 0.0, 30.0], dtype=torch.float64)
    corrected = losses.flip_corrected(d, 0.2)
    assert corrected.tolist() == close([-math.log(0.2), math.log(2), -math.log(0.8)])
    assert losses.flip_corrected(d, 0.0).tolist() == close([30, math.log(2), 0])


def test_the_share_of_flips_can_be_learned():
    share = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    losses.bradley_terry(REJECTED - 3, CHOSEN, flip=share).backward()
    assert share.grad < 0  # all comparisons look reversed: a larger share explains them better


def test_smoothing_mixes_both_orders():
    loss = losses.bradley_terry(CHOSEN, REJECTED, smoothing=0.5)
    assert loss.item() == close(losses.bradley_terry(REJECTED, CHOSEN, smoothing=0.5).item())


def test_centering_pulls_scores_to_zero():
    base = losses.bradley_terry(CHOSEN, REJECTED)
    assert losses.bradley_terry(CHOSEN, REJECTED, centering=0.1).item() == close(base.item() + 0.1 * (4 + 1 + 1) / 3)


def test_weights_apply_to_pairs():
    loss = losses.bradley_terry(CHOSEN, REJECTED, weights=torch.tensor([1.0, 0.0, 0.0]).double())
    assert loss.item() == close(0.12692801)


def test_pointwise_and_ordinal():
    assert losses.pointwise(SCORES, torch.tensor([2, 0, 0])).item() == close(1 / 3)
    loss = losses.ordinal(torch.zeros(2).double(), torch.tensor([0, 1]), torch.zeros(1).double())
    assert loss.item() == close(math.log(2))


@pytest.mark.parametrize("wrong", [{"margin": torch.ones(3)}, {"weights": torch.ones(3)}])
def test_shapes_that_would_broadcast_are_refused(wrong):
    """(B,) margins against (B, 1) scores silently became (B, B) in other libraries."""
    with toy.refused("chosen (3, 1)", error=ValueError):
        losses.bradley_terry(CHOSEN[:, None], REJECTED[:, None], **wrong)


def test_equal_gains_order_nothing():
    assert losses.ranknet(SCORES, torch.ones(3)).item() == 0
    assert losses.lambdarank(SCORES, torch.ones(3)).item() == 0


def test_lambdarank_of_three_texts():
    """The sum over the three ordered pairs, worked out by hand."""
    assert losses.lambdarank(SCORES, GAINS).item() == close(0.55352078)


@pytest.mark.parametrize("highest", [100.0, 1e9])
def test_lambdarank_of_large_gains_is_finite(highest):
    """Only the best text has a gain that counts: each pair with it weighs as much as if its gain was 1, others 0."""
    gains = torch.tensor([0.0, highest, highest / 2])
    only = losses.lambdarank(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 0.0]))
    assert losses.lambdarank(torch.tensor([1.0, 0.0, 2.0]), gains).item() == pytest.approx(only.item(), rel=1e-5)


def test_grades_have_their_share_between_two_cuts():
    scores, cuts = torch.tensor([0.5, 1.5, 3.0]).double(), torch.tensor([-1.0, 2.0]).double()
    each = [losses.ordinal(scores[i : i + 1], torch.tensor([i]), cuts).item() for i in range(3)]
    assert each == close([1.70141328, 0.60403590, 0.31326169])
    mean = losses.ordinal(scores, torch.arange(3), cuts, weights=torch.tensor([1.0, 1.0, 2.0]).double())
    assert mean.item() == close((each[0] + each[1] + 2 * each[2]) / 4)
    certain = losses.ordinal(torch.tensor([1e4]).double(), torch.tensor([0]), cuts)
    assert certain.isfinite() and certain > 100


def test_a_mean_may_be_weighted():
    weights = torch.tensor([1.0, 0, 3]).double()
    assert losses.pointwise(SCORES, torch.tensor([1, 9, 2]), weights).item() == close((1 + 3 * 4) / 4)
    p = losses.davidson(SCORES, SCORES, torch.tensor([0, 1, 2]), 0.5, weights)
    assert p.item() == close(-(math.log(0.4) + 3 * math.log(0.2)) / 4)  # strengths of 1, 1 and 0.5
    table = torch.zeros(3, 3)
    table[1, 0] = 2.0
    assert losses.ranknet(SCORES, GAINS, table).item() == close(1.31326169)  # the second above the first alone


def test_only_flips_and_smoothing_exclude_each_other():
    with toy.refused("smoothing", error=ValueError):
        losses.bradley_terry(CHOSEN, REJECTED, smoothing=0.1, flip=0.1)
    assert losses.bradley_terry(CHOSEN, REJECTED, smoothing=0.1, flip=0.0).isfinite()
    learned = losses.bradley_terry(CHOSEN, REJECTED, flip=torch.tensor(0.0))
    assert learned.item() == close(0.71111229)


@pytest.mark.parametrize("name", ["listnet", "listmle", "ranknet", "lambdarank", "pointwise"])
def test_scores_of_another_shape_are_refused(name):
    with toy.refused("(3, 1)", error=ValueError):
        getattr(losses, name)(SCORES[:, None], GAINS)
    with toy.refused("(2,)", error=ValueError):
        getattr(losses, name)(SCORES[:2], GAINS)
