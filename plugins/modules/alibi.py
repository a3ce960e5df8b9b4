"""Attention with Linear Biases (Press et al., 2022, arXiv 2108.12409), for encoders that look both ways.

Shapes: H heads, T tokens. Entry [h, i, j] is added to the score of query i for key j.
"""

import torch
from torch import Tensor, nn

BOS_MODES = ("linear", "zero", "learned")


def alibi_slopes(num_heads: int) -> Tensor:
    """Return the (H,) slopes of the paper, section 3.

    A power of two H gives the geometric sequence 2^(-8/H), 2^(-16/H), ...; any other H takes the slopes of the
    next lower power of two, followed by every second slope of the next higher one.
    """
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    slopes += [2 ** (-4 * (2 * h + 1) / power) for h in range(num_heads - power)]
    return torch.tensor(slopes)


def linear_bias(num_heads: int, length: int, symmetric: bool) -> Tensor:
    """Return the (H, T, T) float32 bias: minus the slope times the distance between query and key.

    Symmetric bias cannot tell left from right. The asymmetric one counts a key to the right as half a position
    nearer, so that no two offsets share a bias (EIFY/fairseq, README, "nonsymmetric with offset").
    """
    offset = torch.arange(1 - length, length, dtype=torch.float32)  # key minus query: (2T-1,)
    distance = offset.abs() if symmetric else offset.abs() - 0.5 * (offset > 0)
    by_offset = -alibi_slopes(num_heads)[:, None] * distance  # (H, 2T-1)
    return by_offset.unfold(1, length, 1).flip(1)  # window r holds the offsets of query T-1-r: (H, T, T)


def power_of_two(n: int) -> int:
    """Return the next power of two from ``n`` on."""
    return 1 << (n - 1).bit_length()


class AlibiBias(nn.Module):
    """The bias of a whole stack of layers, built for whatever length comes.

    Args:
        num_heads: H, any number.
        symmetric: equal bias to the left and to the right.
        bos: what stands in row and column 0, the bias from and to ``<s>``: ``linear`` as everywhere else; ``zero``,
            so that ``<s>`` is near to every token (data2vec 2.0, arXiv 2212.07525, does so for its extra tokens);
            ``learned``, one scalar a head (LittleBird, arXiv 2210.11870).

    The float32 bias is kept as a plain attribute, not as a buffer: ``.half()`` and ``.bfloat16()`` must not reach it,
    for bfloat16 has no room for half a position beyond a distance of about 130. It is built for the next power of two,
    and cut: batches differ in length, and a shorter bias is the corner of a longer one.
    """

    def __init__(self, num_heads: int, symmetric: bool = False, bos: str = "linear"):
        super().__init__()
        if bos not in BOS_MODES:
            raise ValueError(f"bos is one of {', '.join(BOS_MODES)}, not {bos!r}")
        self.num_heads, self.symmetric, self.bos = num_heads, symmetric, bos
        self.bos_bias = nn.Parameter(torch.zeros(num_heads)) if bos == "learned" else None
        self._bias = torch.empty(num_heads, 0, 0)

    def forward(self, length: int, device: torch.device) -> Tensor:
        """Return the (1, H, T, T) float32 bias of a sequence of ``length`` tokens, one for the whole batch."""
        if self._bias.size(-1) < length or self._bias.device != device:
            self._bias = self._build(power_of_two(length)).to(device)
        bias = self._bias[:, :length, :length]
        if self.bos_bias is not None:
            at_bos = torch.zeros(length, length, dtype=torch.bool, device=device)
            at_bos[0] = at_bos[:, 0] = True
            bias = torch.where(at_bos, self.bos_bias.float()[:, None, None], bias)
        return bias[None]

    @torch.inference_mode(False)  # or a bias first built in inference mode could not be used in training
    def _build(self, length: int) -> Tensor:
        bias = linear_bias(self.num_heads, length, self.symmetric)
        if self.bos == "zero":
            bias[:, 0, :] = bias[:, :, 0] = 0
        return bias

    def extra_repr(self) -> str:
        return f"{self.num_heads}, symmetric={self.symmetric}, bos={self.bos!r}"
