"""Learned vectors in the input: their positions, and their removal from the output."""

import pytest
import torch

from plugins.modules.soft_prompt import SoftPrompt


def numbered(*rows):
    """Return (B, T, 1) with these numbers."""
    return torch.tensor(rows, dtype=torch.float)[..., None]


@pytest.mark.parametrize(
    "at, expected",
    [(0, [[-1, -2, 1, 2, 3], [-1, -2, 4, 5, 6]]), (1, [[1, -1, -2, 2, 3], [4, -1, -2, 5, 6]])],
)
def test_vectors_follow_the_first_tokens_and_are_removed_from_the_output(at, expected):
    prompt, x = SoftPrompt(torch.tensor([[-1.0], [-2.0]]), at), numbered([1, 2, 3], [4, 5, 6])
    longer = prompt.insert(x)
    assert longer[..., 0].tolist() == expected
    assert torch.equal(prompt.remove(longer), x)


def test_prompt_positions_are_not_padding():
    prompt, tokens = SoftPrompt(torch.zeros(2, 1), at=1), torch.tensor([[0, 7, 8], [0, 9, 1]])
    assert prompt.make_room(tokens).tolist() == [[0, 0, 0, 7, 8], [0, 0, 0, 9, 1]]


def test_rows_move_with_their_tokens():
    prompt = SoftPrompt(torch.zeros(2, 1), at=1)
    x = numbered([0, 1, 2], [3, 4, 5])
    rows = torch.tensor([0, 2, 3, 4])
    moved = prompt.move_rows(rows, length=3)
    assert prompt.insert(x).flatten(0, 1)[moved][:, 0].tolist() == [0, 2, 3, 4]


def test_it_keeps_a_trainable_copy():
    start = torch.ones(3, 4)
    prompt = SoftPrompt(start)
    prompt.insert(torch.zeros(2, 1, 4)).sum().backward()
    assert prompt.weight.grad.tolist() == [[2.0] * 4] * 3
    assert prompt.weight is not start
    assert len(prompt) == 3
