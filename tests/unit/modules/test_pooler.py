"""Classification heads: fairseq's own, and three that pool all tokens."""

import pytest
import torch
import toy
from fairseq.models.roberta.model import RobertaClassificationHead

from plugins.modules.pooler import POOLERS, ClassificationHead

B, T, C, K = 3, 7, 8, 4


def head(pooler="bos"):
    made = ClassificationHead(C, C, K, torch.tanh, 0.0, pooler).eval()
    if made.attention is not None:
        torch.nn.init.normal_(made.attention.weight)
    return made


def test_bos_is_fairseqs_head_under_the_same_keys():
    theirs = RobertaClassificationHead(C, C, K, "tanh", 0.0).eval()
    ours = head()
    ours.load_state_dict(theirs.state_dict())
    features = torch.randn(B, T, C)
    torch.testing.assert_close(ours(features), theirs(features), rtol=0, atol=0)


@pytest.mark.parametrize("pooler", POOLERS)
def test_padding_makes_no_difference(pooler):
    made, features = head(pooler), torch.randn(1, 4, C)
    padded = torch.cat([features, 1e3 * torch.randn(1, 3, C)], 1)
    padding = torch.tensor([[False] * 4 + [True] * 3])
    torch.testing.assert_close(made(padded, padding), made(features), rtol=1e-5, atol=1e-5)


def test_mean_and_max_pooling_have_their_definitions():
    features = torch.tensor([[[1.0, 5.0], [3.0, -5.0], [100.0, 100.0]]])
    padding = torch.tensor([[False, False, True]])
    made = {name: ClassificationHead(2, 2, 2, torch.tanh, 0.0, name) for name in ("mean", "max")}
    pool = {name: part.pool(features, padding) for name, part in made.items()}
    assert pool["mean"].tolist() == [[2.0, 0.0]]
    assert pool["max"].tolist() == [[3.0, 5.0]]


def test_attention_starts_as_the_mean_and_can_learn():
    made = ClassificationHead(C, C, K, torch.tanh, 0.0, "attention")
    features = torch.randn(B, T, C)
    torch.testing.assert_close(made.pool(features), features.mean(1))
    made(features).square().sum().backward()
    assert made.attention.weight.grad.abs().sum() > 0


def test_an_unknown_pooler_is_an_error():
    with toy.refused("'first'", "bos", "mean", "max", "attention", error=ValueError):
        ClassificationHead(C, C, K, torch.tanh, 0.0, "first")


def test_dropout_acts_before_the_dense_layer_and_before_the_projection():
    seen = []
    made = ClassificationHead(C, C, K, lambda x: seen.append(x) or x + 1, dropout=1.0).train()
    out = made(torch.randn(B, T, C))
    assert torch.equal(seen[0], made.dense.bias.expand(B, -1))
    assert torch.equal(out, made.out_proj.bias.expand(B, -1))
