"""Lines of a data folder without the separators between documents."""

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, FairseqDataset


class WithoutSeparators(BaseWrapperDataset):
    """The lines of a dataset that have more than the ``</s>`` that every line ends with.

    Args:
        lines: dataset of 1-dimensional token tensors with ``sizes``.
    """

    def __init__(self, lines: FairseqDataset):
        super().__init__(lines)
        self.kept = np.flatnonzero(np.asarray(lines.sizes) > 1)  # (N,) indices of those lines

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.dataset[int(self.kept[index])]

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def sizes(self) -> np.ndarray:
        """(N,) tokens of each line."""
        return np.asarray(self.dataset.sizes)[self.kept]

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    size = num_tokens

    @property
    def supports_prefetch(self) -> bool:
        return False

    def ordered_indices(self) -> np.ndarray:
        return np.arange(len(self))
