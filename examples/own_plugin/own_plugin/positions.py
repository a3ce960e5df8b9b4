"""A positional scheme: ``--positions log_distance``, for the models of this package and of fairseq-workbench."""

import torch
from torch import Tensor

from plugins.modules.alibi import alibi_slopes
from plugins.modules.positions import SCHEMES, Positions


class LogDistance(Positions):
    """An attention bias that falls with the logarithm of the distance: minus a slope times log(1 + distance).

    This is the logarithmic variant of KERPLE (Chi et al., 2022, arXiv 2205.09921), with ALiBi's slopes
    instead of learned ones.
    """

    def score(self, offset: Tensor) -> Tensor:
        """Return the bias (H, N) of N offsets (N,), key position minus query position."""
        return -alibi_slopes(self.heads)[:, None] * torch.log1p(offset.abs().float())


SCHEMES["log_distance"] = LogDistance
