"""Scaling the positions of a loaded model."""

import pytest
import torch
import toy

from plugins import hub


def test_a_loaded_model_equals_one_that_was_built_with_the_scaling(make_char_lm):
    lm, expected = (
        make_char_lm(positions="rotary"),
        make_char_lm(positions="rotary", position_scaling="yarn", position_scaling_factor=4.0),
    )
    tokens = torch.randint(8, (1, 60))
    plain = lm.model(tokens)[0]
    hub.scale_positions(lm, "yarn", 4.0)
    assert torch.equal(lm.model(tokens)[0], expected.model(tokens)[0])
    assert not torch.allclose(lm.model(tokens)[0], plain)
    for name in ("position_scaling", "position_scaling_factor", "trained_length"):
        assert str(lm.options[name]) == str(expected.options[name])
    hub.scale_positions(lm, "none")
    assert torch.equal(lm.model(tokens)[0], plain)


@pytest.mark.parametrize(
    "positions, arguments, named",
    [
        ("alibi", ("yarn", 2.0), ["Alibi", "yarn"]),
        ("learned", ("linear", 2.0), ["Learned", "linear"]),
        ("rotary", ("linear", 0.5), ["0.5"]),
        ("rotary", ("cubic", 2.0), ["cubic"]),
        ("rotary", ("yarn", 2.0, 0), ["0"]),
    ],
)
def test_unscalable_positions_are_a_one_line_error(make_char_lm, positions, arguments, named):
    with toy.refused(*named):
        hub.scale_positions(make_char_lm(positions=positions), *arguments)
