"""Colors: a name has one color in all figures."""

import re

import pytest
import toy

from plugins.analysis import palette


def test_a_variant_keeps_its_color_in_any_selection():
    assert palette.colors_of(["alibi"])["alibi"] == palette.colors_of(["baseline", "learned-clap", "alibi"])["alibi"]
    assert palette.markers_of(["alibi"])["alibi"] == palette.markers_of(palette.VARIANTS)["alibi"]


def test_a_style_keeps_its_color_in_any_order_of_texts():
    styles = ["drama", "novel", "verse"]
    every, some = palette.colors_of(styles, ()), palette.colors_of(["verse", "other", "drama"], styles)
    assert (some["verse"], some["drama"]) == (every["verse"], every["drama"])
    assert some["other"] not in every.values()


@pytest.mark.parametrize("count", [1, 7, 8, 30])
def test_colors_are_distinct_six_digit_codes(count):
    colors = palette.colors_of([str(i) for i in range(count)])
    assert len(set(colors.values())) == count and all(len(code) == 7 for code in colors.values())


def test_figures_name_their_colors_in_one_place():
    code = [path for path in (toy.ROOT / "plugins").rglob("*.py") if path.name != "palette.py"]
    literals = re.compile(r"""["'](#[0-9a-fA-F]{3,8}|C\d|tab:\w+)["']""")
    assert not [f"{path}: {found[0]}" for path in code for found in literals.finditer(path.read_text("utf-8"))]
