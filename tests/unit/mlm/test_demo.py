"""The command lines of the demo."""

from pathlib import Path

import pytest

from plugins.mlm import demo


@pytest.fixture
def precision(monkeypatch):
    """Return the value of ``--mixed-precision`` in the command line of a model."""

    def find(hardware, given=None):
        monkeypatch.setattr(demo, "cpu_has_bfloat16", lambda: hardware)
        words = demo.Demo(Path("out"), [], "text", 2000, ["alibi"], 500, 2, given, False).command("alibi")
        return words[words.index("--mixed-precision") + 1]

    return find


@pytest.mark.parametrize("hardware, expected", [(True, "bf16"), (False, "none")])
def test_models_are_trained_in_bfloat16_where_the_cpu_has_it(precision, hardware, expected):
    assert precision(hardware) == expected


@pytest.mark.parametrize("given", ["none", "bf16"])
@pytest.mark.parametrize("hardware", [True, False])
def test_the_precision_can_be_chosen(precision, hardware, given):
    assert precision(hardware, given) == given
