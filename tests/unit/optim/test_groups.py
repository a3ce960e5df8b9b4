"""Groups of parameters by weight decay and scale of the learning rate."""

import torch

from plugins.optim import groups


def parameter(*shape, **marks):
    made = torch.nn.Parameter(torch.zeros(*shape))
    for name, value in marks.items():
        setattr(made, name, value)
    return made


def test_matrices_decay_and_vectors_do_not():
    assert groups.is_decayed(parameter(2, 3)) and groups.is_decayed(parameter(2, 3, 1))
    assert not groups.is_decayed(parameter(3)) and not groups.is_decayed(parameter(1, 1, no_weight_decay=True))


def test_decayed_groups_come_first_then_larger_scales():
    matrix, vector = parameter(2, 2), parameter(2)
    slow, fast = parameter(2, 2, lr_scale=0.25), parameter(2, lr_scale=4.0)
    found = groups.groups_of([vector, slow, fast, matrix])
    assert [[id(p) for p in group["params"]] for group in found] == [[id(p)] for p in (matrix, slow, fast, vector)]
    assert [group.get("weight_decay") for group in found] == [None, None, 0.0, 0.0]
    assert all("weight_decay" not in group for group in groups.groups_of([matrix, vector], decay_all=True))
