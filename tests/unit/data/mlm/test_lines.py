"""Lines without the separators between documents."""

import numpy as np
import torch
from fairseq.data import FairseqDataset

from plugins.data.mlm.lines import WithoutSeparators


class Lines(FairseqDataset):
    def __init__(self, *rows):
        self.rows, self.sizes = [torch.tensor(row) for row in rows], np.array([len(row) for row in rows])

    def __getitem__(self, index):
        return self.rows[index]

    def __len__(self):
        return len(self.rows)


def test_a_single_eos_is_not_a_line():
    found = WithoutSeparators(Lines([5, 2], [2], [6, 7, 2], [2]))
    assert [row.tolist() for row in found] == [[5, 2], [6, 7, 2]]
    assert (len(found), found.sizes.tolist(), found.num_tokens(1), found.size(0)) == (2, [2, 3], 3, 2)
    assert found.ordered_indices().tolist() == [0, 1] and not found.supports_prefetch
