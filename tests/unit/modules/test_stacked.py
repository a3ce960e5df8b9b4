"""Copies of a model with stacked weights compute what separate models compute."""

import copy

import pytest
import torch
import toy
from torch import nn

from plugins.modules.pooler import ClassificationHead
from plugins.modules.stacked import stack

PAD, COPIES = 1, 3


@pytest.fixture(scope="module")
def tokens(toy_data):
    words = len(toy.make_task(toy_data).dictionary)
    batch = torch.randint(4, words, (COPIES * 2, 9), generator=torch.Generator().manual_seed(3))
    batch[:, 0] = 0
    batch[1::2, 6:] = PAD
    return batch


def separate(parts, number):
    """Give a copy of a model the weights with this number of a stacked model."""
    model, stacked = parts
    one = copy.deepcopy(model)
    for (_, own), (_, of_all) in zip(one.named_parameters(), stacked.named_parameters(), strict=True):
        own.data = of_all.data[number].clone()
    return one


@pytest.mark.parametrize("options", [
    {"positions": "learned", "head": "roberta"}, {"positions": "alibi", "head": "clap", "omit_mask": True},
    {"positions": "rotary", "encoder_normalize_before": True},
])  # fmt: skip
def test_features_and_gradients_are_those_of_separate_encoders(toy_data, tokens, options):
    omit = {"omit_mask": options.pop("omit_mask")} if "omit_mask" in options else {}
    model = toy.make_model(toy.make_task(toy_data, **omit), **options).encoder.sentence_encoder.eval()
    both = stack(copy.deepcopy(model), COPIES)
    for seed, parameter in enumerate(both.parameters()):
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
        parameter.data += 0.1 * noise
    features, _ = both(tokens, has_padding=True)  # (M * B, T, C)
    features.square().sum().backward()
    for number in range(COPIES):
        one, rows = separate((model, both), number), slice(2 * number, 2 * number + 2)
        expected, _ = one(tokens[rows])
        real = tokens[rows] != PAD
        torch.testing.assert_close(features[rows][real], expected[real], atol=2e-5, rtol=1e-4)
        expected.square().sum().backward()
        for (name, own), of_all in zip(one.named_parameters(), both.parameters(), strict=True):
            got, wanted = of_all.grad[number], own.grad
            if name.startswith("embed_"):  # row of padding: nn.Embedding drops its gradient, which is not used
                got, wanted = (torch.cat([g[:PAD], g[PAD + 1 :]]) for g in (got, wanted))
            torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3, msg=name)


def test_heads_are_stacked_too():
    head = ClassificationHead(6, 6, 2, torch.tanh, pooler="mean")
    both = stack(copy.deepcopy(head), 2)
    both.out_proj.bias.data[1] += 1
    x = torch.randn(4, 3, 6)
    difference = both(x) - head(x)
    torch.testing.assert_close(difference, torch.tensor([0.0, 0, 1, 1])[:, None].expand(4, 2), atol=1e-5, rtol=0)


def test_other_parts_with_parameters_are_refused():
    with pytest.raises(ValueError, match="Conv1d"):
        stack(nn.Sequential(nn.Conv1d(2, 2, 1)), 2)
