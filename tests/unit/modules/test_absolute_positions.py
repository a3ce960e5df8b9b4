"""Learned and sinusoidal positions, against fairseq."""

import pytest
import torch

from plugins.modules.positions import Spec, build

CPU = torch.device("cpu")
WIDTH, HEADS, PAD = 16, 2, 1


def make(name, causal=False, **options):
    torch.manual_seed(1)
    return build(name, Spec(WIDTH, HEADS, 64, causal=causal, padding_row=None if causal else PAD, **options))


def test_padding_has_its_own_row_and_is_not_counted():
    table = make("learned")
    with torch.no_grad():
        table.weight.copy_(torch.arange(66.0)[:, None].expand(-1, WIDTH))
    where = torch.tensor([[-1, -1, 0, 1], [0, 1, 2, -1]])
    rows = table.embed(torch.zeros(2, 4, WIDTH), where, 4)[..., 0]
    assert rows.tolist() == [[1, 1, 2, 3], [2, 3, 4, 1]]  # PAD + 1 is the first position's


def test_the_row_of_padding_gets_no_gradient():
    table = make("learned")
    table.embed(torch.zeros(1, 3, WIDTH), torch.tensor([[0, 1, -1]]), 3).sum().backward()
    assert table.weight.grad[:5, 0].tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("learned", [True, False])
def test_an_encoders_tables_are_fairseqs(learned):
    from fairseq.modules import PositionalEmbedding

    theirs = PositionalEmbedding(64, WIDTH, PAD, learned)
    ours = make("learned" if learned else "sinusoidal")
    if learned:
        ours.load_state_dict(theirs.state_dict())
    tokens = torch.tensor([[5, 6, 7, PAD], [PAD, 8, 9, 5]])
    real = tokens != PAD
    found = ours.embed(torch.zeros(2, 4, WIDTH), real.cumsum(1) * real - 1, 4)
    assert torch.equal(found, theirs(tokens))


def test_a_new_learned_table_is_drawn_as_fairseqs():
    from fairseq.modules import PositionalEmbedding

    torch.manual_seed(1)
    theirs = PositionalEmbedding(64, WIDTH, PAD, learned=True)
    assert torch.equal(make("learned").weight, theirs.weight)


def test_the_table_that_old_fairseq_checkpoints_contain_is_ignored():
    make("sinusoidal").load_state_dict({"_float_tensor": torch.zeros(1), "weights": torch.zeros(3, 4)})


def test_the_decoder_multiplies_embeddings_by_the_root_of_the_width():
    x = make("sinusoidal", causal=True).embed(torch.ones(1, 1, WIDTH), slice(0, 1), 1)
    assert x.tolist() == [[[4.0] * 8 + [5.0] * 8]]  # sin(0) and cos(0) added to sqrt(16)
