"""The command lines of the demo."""

from pathlib import Path

import pytest

from plugins.mlm import demo


def option(name, mixed_precision=None, seed=1):
    """Return the value of an option in the command line of a model."""
    words = demo.Demo(Path("out"), [], "text", 2000, ["alibi"], 500, 2, mixed_precision, seed, False).command("alibi")
    return words[words.index(name) + 1]


@pytest.fixture
def precision(monkeypatch):
    """Return the value of ``--mixed-precision`` on a CPU with or without bfloat16."""

    def find(hardware, given=None):
        monkeypatch.setattr(demo, "cpu_has_bfloat16", lambda: hardware)
        return option("--mixed-precision", given)

    return find


def test_the_seed_is_passed_on():
    assert option("--seed", seed=7) == "7"


@pytest.mark.parametrize("hardware, expected", [(True, "bf16"), (False, "none")])
def test_models_are_trained_in_bfloat16_where_the_cpu_has_it(precision, hardware, expected):
    assert precision(hardware) == expected


@pytest.mark.parametrize("given", ["none", "bf16"])
@pytest.mark.parametrize("hardware", [True, False])
def test_the_precision_can_be_chosen(precision, hardware, given):
    assert precision(hardware, given) == given
