"""Tables as text, and the numbers in them."""

import pytest

from plugins import tables


def test_a_markdown_table():
    assert tables.markdown(["task", "F1"], [["CoLA", 0.5], ["RTE", ""]]) == (
        "| task | F1 |\n| --- | --- |\n| CoLA | 0.5 |\n| RTE |  |"
    )


def test_a_cell_cannot_end_its_row_or_its_column():
    assert tables.markdown(["a|b"], [["x\ny | z"]]).splitlines()[::2] == [r"| a\|b |", r"| x y \| z |"]


def test_columns_for_a_terminal_are_as_wide_as_their_widest_cell():
    assert tables.aligned([["", "PPL"], ["median", "9"]]) == "        PPL\nmedian  9"


def test_control_characters_in_a_cell_are_escaped():
    assert tables.markdown(["a"], [["x\x1b[2J\ty"]]).splitlines()[2] == r"| x\x1b[2J y |"


def test_columns_have_one_cell_in_each_row():
    with pytest.raises(ValueError):
        tables.aligned([["a", "b"], ["c"]])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12345, "0.123"), (12.345, "12.3"), (99.96, "100"), (999.96, "1,000"), (2e15, "2e+15"), (123.4, "123"),
     (-123_456.7, "-123,457"), (0.0, "0"), (float("nan"), "nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_a_number_has_all_digits_before_its_point(value, shown):
    assert tables.significant(value, 3) == shown
