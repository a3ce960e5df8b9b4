"""ALiBi's bias."""

import copy

import pytest
import torch

from plugins.modules.alibi import AlibiBias, alibi_slopes, linear_bias

CPU = torch.device("cpu")
SLOPES = {
    1: [2**-8],
    4: [1 / 4, 1 / 16, 1 / 64, 1 / 256],
    8: [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256],
    12: [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256, 0.7071068, 0.3535534, 0.1767767, 0.0883883],
}
FORK_README = [  # "nonsymmetric with offset", for a slope of 1
    [0.0, -0.5, -1.5, -2.5, -3.5],
    [-1.0, 0.0, -0.5, -1.5, -2.5],
    [-2.0, -1.0, 0.0, -0.5, -1.5],
    [-3.0, -2.0, -1.0, 0.0, -0.5],
    [-4.0, -3.0, -2.0, -1.0, 0.0],
]


@pytest.mark.parametrize("heads", SLOPES)
def test_slopes_are_those_of_the_paper(heads):
    torch.testing.assert_close(alibi_slopes(heads), torch.tensor(SLOPES[heads]), atol=1e-7, rtol=1e-6)


def test_asymmetric_bias_is_the_matrix_of_the_forks_readme():
    torch.testing.assert_close(linear_bias(1, 5, symmetric=False)[0] * 256, torch.tensor(FORK_README))


def test_each_head_has_its_own_slope():
    bias = linear_bias(4, 3, symmetric=False)
    assert bias[:, 2, 0].tolist() == [-1 / 2, -1 / 8, -1 / 32, -1 / 128]
    assert bias[:, 0, 2].tolist() == [-1.5 / 4, -1.5 / 16, -1.5 / 64, -1.5 / 256]


def test_symmetric_bias_is_minus_the_distance():
    assert (linear_bias(1, 3, symmetric=True)[0] * 256).tolist() == [[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]


def test_zero_bos_clears_the_first_row_and_column_alone():
    bias = AlibiBias(1, bos="zero")(4, CPU)[0, 0] * 256
    assert bias.tolist() == [[0, 0, 0, 0], [0, 0, -0.5, -1.5], [0, -1, 0, -0.5], [0, -2, -1, 0]]


def test_learned_bos_puts_one_value_a_head_in_the_first_row_and_column():
    alibi = AlibiBias(2, bos="learned")
    with torch.no_grad():
        alibi.bos_bias.copy_(torch.tensor([3.0, -5.0]))
    bias = alibi(3, CPU)[0]
    for head, value in enumerate([3.0, -5.0]):
        assert bias[head, 0].tolist() == [value] * 3
        assert bias[head, :, 0].tolist() == [value] * 3
    assert bias[0, 1:, 1:].tolist() == [[0, -1 / 32], [-1 / 16, 0]]


def test_learned_bos_gets_the_sum_of_the_gradients_of_its_places():
    alibi = AlibiBias(2, bos="learned")
    alibi(4, CPU).sum().backward()
    assert alibi.bos_bias.grad.tolist() == [7.0, 7.0]  # four in the row, three more in the column


def test_learned_bos_follows_its_parameter_after_a_step():
    alibi = AlibiBias(1, bos="learned")
    alibi(3, CPU)
    with torch.no_grad():
        alibi.bos_bias.fill_(2)
    assert alibi(3, CPU)[0, 0, 0, 2].item() == 2


@pytest.mark.parametrize("first, then", [(3, 9), (9, 3), (9, 9), (2048, 5)])
def test_any_length_after_any_other(first, then):
    alibi = AlibiBias(4)
    alibi(first, CPU)
    assert torch.equal(alibi(then, CPU), AlibiBias(4)(then, CPU))


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
def test_casting_the_model_does_not_reach_the_bias(cast):
    alibi = AlibiBias(4, bos="learned")
    before = alibi(300, CPU).clone()
    alibi = getattr(alibi, cast)()
    for length in (300, 299, 300):
        assert alibi(length, CPU).dtype == torch.float32
    assert torch.equal(alibi(300, CPU), before)


def test_the_half_slope_shift_survives_a_long_distance():
    bias = linear_bias(1, 2001, symmetric=False)[0] * 256
    assert (bias[1000, 0].item(), bias[1000, 2000].item()) == (-1000.0, -999.5)


def test_one_bias_for_the_whole_batch():
    assert AlibiBias(4)(6, CPU).shape == (1, 4, 6, 6)


def test_the_bias_is_kept_between_calls():
    alibi = AlibiBias(4)
    assert alibi(6, CPU).data_ptr() == alibi(6, CPU).data_ptr()


def test_nothing_is_saved_but_a_learned_bos():
    assert list(AlibiBias(4).state_dict()) == []
    assert list(AlibiBias(4, bos="learned").state_dict()) == ["bos_bias"]


def test_a_used_bias_can_be_copied():
    alibi = AlibiBias(4, bos="learned")
    alibi(5, CPU)
    assert torch.equal(copy.deepcopy(alibi)(5, CPU), alibi(5, CPU))


def test_a_bias_built_in_inference_mode_can_be_trained_with():
    alibi = AlibiBias(2)
    with torch.inference_mode():
        alibi(5, CPU)
    scores = torch.randn(1, 2, 5, 5, requires_grad=True)
    (scores * alibi(5, CPU)).sum().backward()
    assert torch.equal(scores.grad, AlibiBias(2)(5, CPU))


def test_an_unknown_bos_mode_is_refused():
    with pytest.raises(ValueError, match="linear, zero, learned.*'none'"):
        AlibiBias(4, bos="none")
