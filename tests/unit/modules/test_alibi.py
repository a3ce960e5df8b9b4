"""ALiBi's slopes and biases."""

import copy
import pickle

import pytest
import torch
import toy

from plugins.modules.alibi import alibi_slopes
from plugins.modules.positions import Spec, build

CPU = torch.device("cpu")


def make(heads, symmetric=False, **options):
    return build("alibi_symmetric" if symmetric else "alibi", Spec(8 * heads, heads, 16, **options))


def bias_of(heads, length, symmetric=False, **options):
    """Return the (H, T, T) bias of an encoder."""
    return make(heads, symmetric, **options).bias(slice(0, length), length, CPU)[0]


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
def test_slopes_equal_those_of_the_paper(heads):
    torch.testing.assert_close(alibi_slopes(heads), torch.tensor(SLOPES[heads]), atol=1e-7, rtol=1e-6)


def test_asymmetric_bias_is_the_matrix_of_the_forks_readme():
    torch.testing.assert_close(bias_of(1, 5)[0] * 256, torch.tensor(FORK_README))


def test_each_head_has_its_own_slope():
    bias = bias_of(4, 3)
    assert bias[:, 2, 0].tolist() == [-1 / 2, -1 / 8, -1 / 32, -1 / 128]
    assert bias[:, 0, 2].tolist() == [-1.5 / 4, -1.5 / 16, -1.5 / 64, -1.5 / 256]


def test_symmetric_bias_is_minus_the_distance():
    assert (bias_of(1, 3, symmetric=True)[0] * 256).tolist() == [[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]


def test_zero_bos_clears_only_the_first_row_and_column():
    bias = bias_of(1, 4, alibi_bos="zero")[0] * 256
    assert bias.tolist() == [[0, 0, 0, 0], [0, 0, -0.5, -1.5], [0, -1, 0, -0.5], [0, -2, -1, 0]]


def test_learned_bos_puts_one_value_a_head_in_the_first_row_and_column():
    alibi = make(2, alibi_bos="learned")
    with torch.no_grad():
        alibi.bos_bias.copy_(torch.tensor([3.0, -5.0]))
    bias = alibi.bias(slice(0, 3), 3, CPU)[0]
    for head, value in enumerate([3.0, -5.0]):
        assert bias[head, 0].tolist() == [value] * 3
        assert bias[head, :, 0].tolist() == [value] * 3
    assert bias[0, 1:, 1:].tolist() == [[0, -1 / 32], [-1 / 16, 0]]


def test_learned_bos_gets_the_sum_of_the_gradients_of_its_places():
    alibi = make(2, alibi_bos="learned")
    alibi.bias(slice(0, 4), 4, CPU).sum().backward()
    assert alibi.bos_bias.grad.tolist() == [7.0, 7.0]  # four in the row, three more in the column


def test_learned_bos_follows_its_parameter_after_a_step():
    alibi = make(1, alibi_bos="learned")
    alibi.bias(slice(0, 3), 3, CPU)
    with torch.no_grad():
        alibi.bos_bias.fill_(2)
    assert alibi.bias(slice(0, 3), 3, CPU)[0, 0, 0, 2].item() == 2


@pytest.mark.parametrize("first, then", [(3, 9), (9, 3), (9, 9), (2048, 5)])
def test_a_bias_does_not_depend_on_earlier_lengths(first, then):
    alibi = make(4)
    alibi.bias(slice(0, first), first, CPU)
    assert torch.equal(alibi.bias(slice(0, then), then, CPU), make(4).bias(slice(0, then), then, CPU))


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
def test_casting_the_model_does_not_reach_the_bias(cast):
    alibi = make(4, alibi_bos="learned")
    before = alibi.bias(slice(0, 300), 300, CPU).clone()
    alibi = getattr(alibi, cast)()
    for length in (300, 299, 300):
        assert alibi.bias(slice(0, length), length, CPU).dtype == torch.float32
    assert torch.equal(alibi.bias(slice(0, 300), 300, CPU), before)


def difference_of_sides(heads, length, dtype):
    """Return by how much a key to the right is nearer than one to the left, in slopes, by distance: (H, L - 1)."""
    alibi = make(heads)
    bias = alibi.bias(slice(0, 2 * length), 2 * length, CPU, dtype=dtype)[0, :, length].double()  # of one query
    distance = torch.arange(1, length)
    return (bias[:, length + distance] - bias[:, length - distance]) / alibi_slopes(heads).double()[:, None]


def test_a_bfloat16_bias_has_the_half_position_up_to_a_distance_of_128():
    assert torch.equal(difference_of_sides(8, 129, torch.bfloat16), torch.full((8, 128), 0.5, dtype=torch.double))


@pytest.mark.parametrize("heads", [8, 12])
def test_beyond_it_has_the_half_position_on_average(heads):
    shift = difference_of_sides(heads, 2048, torch.bfloat16)[:, 127:1919].unflatten(1, (-1, 256)).mean(-1)
    torch.testing.assert_close(shift, torch.full_like(shift, 0.5), atol=0.13, rtol=0)


def test_a_float32_bias_is_one_whatever_the_queries_are():
    alibi, length = make(4, alibi_float32=True), slice(0, 300)
    bias = alibi.bias(length, 300, CPU, dtype=torch.bfloat16)
    assert torch.equal(bias, make(4).bias(length, 300, CPU)) and bias.dtype == torch.float32


@pytest.mark.parametrize("bos", ["linear", "zero", "learned"])
@pytest.mark.parametrize("length", [300, 1100])  # kept whole, and as a vector
def test_a_bias_in_half_precision_is_the_float32_bias_rounded_once(bos, length):
    alibi = make(12, alibi_bos=bos)
    for dtype in (torch.bfloat16, torch.float16):
        bias = alibi.bias(slice(0, length), length, CPU, dtype=dtype)
        assert torch.equal(bias, alibi.bias(slice(0, length), length, CPU).to(dtype))


def test_the_half_slope_shift_survives_a_long_distance():
    bias = bias_of(1, 2001)[0] * 256
    assert (bias[1000, 0].item(), bias[1000, 2000].item()) == (-1000.0, -999.5)


def test_one_bias_for_the_whole_batch():
    assert make(4).bias(slice(0, 6), 6, CPU).shape == (1, 4, 6, 6)


def test_the_bias_is_kept_between_calls():
    alibi = make(4)
    assert alibi.bias(slice(0, 6), 6, CPU).data_ptr() == alibi.bias(slice(0, 6), 6, CPU).data_ptr()


def test_only_a_learned_bos_bias_is_saved():
    assert list(make(4).state_dict()) == []
    assert list(make(4, alibi_bos="learned").state_dict()) == ["bos_bias"]


def test_a_used_bias_can_be_copied():
    alibi = make(4, alibi_bos="learned")
    alibi.bias(slice(0, 5), 5, CPU)
    assert torch.equal(copy.deepcopy(alibi).bias(slice(0, 5), 5, CPU), alibi.bias(slice(0, 5), 5, CPU))


def test_a_bias_built_in_inference_mode_can_be_trained_with():
    alibi = make(2)
    with torch.inference_mode():
        alibi.bias(slice(0, 5), 5, CPU)
    scores = torch.randn(1, 2, 5, 5, requires_grad=True)
    (scores * alibi.bias(slice(0, 5), 5, CPU)).sum().backward()
    assert torch.equal(scores.grad, make(2).bias(slice(0, 5), 5, CPU))


def test_an_unknown_bos_mode_is_refused():
    with toy.refused("'none'", error=ValueError):
        make(4, alibi_bos="none")


def test_a_used_scheme_can_be_pickled():
    """Its cached tensors are built by functions that are pickled with it."""
    causal, encoder = make(4, causal=True), make(4)
    given, kernel = causal.channels(9, CPU, torch.bfloat16), encoder.kernel_bias(9, CPU)
    copied = pickle.loads(pickle.dumps([causal, encoder]))
    for found, expected in zip(copied[0].channels(40, CPU, torch.bfloat16), given, strict=True):
        assert torch.equal(found[: len(expected)], expected)
    assert torch.equal(copied[1].kernel_bias(40, CPU).slopes, kernel.slopes)
