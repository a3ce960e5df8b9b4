"""The head with a single output."""

import pytest
import torch

from plugins.modules.score_head import ScoreHead


@pytest.mark.parametrize("pooling", ["bos", "mean", "max", "attention", "last"])
def test_padding_does_not_change_a_score(pooling):
    head, features = ScoreHead(8, pooling), torch.randn(1, 4, 8)
    padded = torch.cat([features, 1e3 * torch.randn(1, 3, 8)], 1)
    alone, beside = head(features, torch.tensor([4])), head(padded, torch.tensor([4]))
    assert alone.shape == (1,)
    torch.testing.assert_close(alone, beside, rtol=1e-5, atol=1e-5)


def test_the_learned_flip_rate_starts_at_its_option_and_stays_below_a_half():
    head = ScoreHead(4, flip_rate=0.1)
    assert float(head.flip_rate().detach()) == pytest.approx(0.1)
    torch.nn.init.constant_(head.flip, 100.0)
    assert float(head.flip_rate().detach()) <= 0.5


def test_a_score_is_a_projection_of_a_dense_layer_of_the_mean():
    torch.manual_seed(0)
    head, features = ScoreHead(4).eval(), torch.randn(2, 3, 4)
    expected = head.out_proj(torch.tanh(head.dense(features.mean(1))))[:, 0]
    torch.testing.assert_close(head(features, torch.tensor([3, 3])), expected)
    assert head.attention is None and head.flip is None and ScoreHead(4, "attention").attention is not None


def test_dropout_acts_before_each_layer_in_training():
    head, features = ScoreHead(4, dropout=1.0), torch.randn(2, 3, 4)
    found = head.train()(features, torch.tensor([3, 2]))
    torch.testing.assert_close(found, head.out_proj.bias.expand(2))
    assert not torch.allclose(head.eval()(features, torch.tensor([3, 2])), head.out_proj.bias.expand(2))
