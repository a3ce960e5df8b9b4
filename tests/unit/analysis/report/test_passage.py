"""Which line of a text is prose."""

import pytest

from plugins.analysis.report import passage


@pytest.mark.parametrize(
    ("line", "prose"),
    [
        ("it was the best of times it was the wors", True),  # 40 letters and spaces
        ("it was the best of times it was the wor", False),
        ("a" * 40 + "1" * 10, True),  # four fifths
        ("a" * 40 + "1" * 9 + ".!", False),
        ("It was the best of times, it was the worst of times . . . . x", False),
        ("It was the best of times,\tit was the worst of times", False),
        ("It was the best of times, it was the worst of times 12", False),
        ("It was the best of times, it was the worst of times.12", False),
        ("IT WAS THE BEST OF TIMES, IT WAS THE WORST OF TIMES", False),
        ("It Was The Best Of Times, It Was The Worst Of Times", False),
        ("ויאמר אליו המלך הנה הבית אשר בנית לי על ההר הגבוה הזה", True),
    ],
)
def test_a_line_of_prose_has_forty_letters_of_which_some_are_small(line, prose):
    assert passage.is_prose(line) == prose


def test_prose_is_looked_for_at_the_start_of_a_text_only(monkeypatch):
    line = "  It was the best of times, it was the worst of times.\n"
    assert passage.passage_start(" 1\n" + line) == 5
    monkeypatch.setattr(passage, "SEARCHED", 3)
    assert passage.passage_start(" 1\n" + line) == 1, "the first letter"
