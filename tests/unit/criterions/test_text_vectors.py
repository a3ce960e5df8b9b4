"""Batches of texts with different lengths; the gradients of slices are tested with the criterion."""

import pytest
import torch
from torch import nn

from plugins.compat import sharding
from plugins.criterions import text_vectors


class Sums(nn.Module):
    """A model whose embeddings are the sums of the tokens; it counts its forward passes."""

    def __init__(self):
        super().__init__()
        self.scale, self.passes = nn.Parameter(torch.ones(1)), 0

    def forward(self, tokens, src_lengths, features_only):
        self.passes += 1
        return tokens * self.scale, {}

    def embedding_head(self, features, lengths):
        return features.sum(1, keepdim=True)


TOKENS, LENGTHS = torch.tensor([[1, 0, 0, 0], [2, 3, 4, 5], [6, 0, 0, 0], [7, 0, 0, 0]]), torch.tensor([1, 4, 1, 1])


@pytest.fixture
def in_slices(monkeypatch):
    monkeypatch.setattr(text_vectors, "SMALL_BATCH", (1, 1))


def test_vectors_of_slices_are_in_the_order_of_the_texts(in_slices):
    model = Sums()
    assert text_vectors.embed(model, TOKENS, LENGTHS).flatten().tolist() == [1, 14, 6, 7]
    assert model.passes == 2


def test_a_sharded_model_makes_one_pass_whatever_the_lengths(in_slices, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        model = sharding.shard(Sums(), torch.distributed.device_mesh.init_device_mesh("cpu", (1,)))
        assert text_vectors.embed(model, TOKENS, LENGTHS).flatten().tolist() == [1, 14, 6, 7]
        assert model.passes == 1
    finally:
        torch.distributed.destroy_process_group()
