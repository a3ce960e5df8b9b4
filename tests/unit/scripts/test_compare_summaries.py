"""scripts/compare_summaries.py: its command line."""

import pytest


@pytest.fixture
def script(load_script):
    return load_script("compare_summaries")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["=x"],
        ["a=x", "a=y"],
        ["a=x", "--axis", "temperature"],
        ["nan=x", "--axis", "temperature"],
        ["0.1=x", "0.10=y", "--axis", "temperature"],
    ],
)
def test_names_that_make_no_sense(script, arguments, capsys):
    with pytest.raises(SystemExit):
        script.parse_args([*arguments, "-o", "out"])
    assert "error:" in capsys.readouterr().err
