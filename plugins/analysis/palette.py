"""Colors and markers of all figures and of the report: a name has the same color everywhere."""

import colorsys
from collections.abc import Sequence

# Okabe and Ito's colors, which remain distinct for color-blind readers (purple and yellow are darker, because text is
# written in them too); markers distinguish them in grayscale.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#A3457F", "#B88600", "#56B4E9", "#707070")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRAY = "#555555"  # notes and reference lines
GRID = "#dddddd"  # grid lines
FAINT = "#bbbbbb"  # points that are not significant
HIDDEN = "#ececec"  # attention that the mask forbids
SEQUENTIAL = "cividis"  # colormap of numbers without a midpoint
VARIANTS = ("baseline", "learned-clap", "alibi", "zero-clap")
"""The masked LM variants, which keep their colors in figures that do not show all of them."""


def colors_of(names: Sequence[str], fixed: Sequence[str] = VARIANTS) -> dict[str, str]:
    """Return a color for each name.

    Args:
        names: may repeat.
        fixed: names whose colors do not depend on which of them are present, in the order of the palette.

    Returns:
        {name: "#rrggbb"}. Names in ``fixed`` have the color of their place there; the others take the remaining colors
        in order. Where the palette has too few colors, the hues of all names are evenly spaced.
    """
    names = list(dict.fromkeys(names))
    known = [name for name in fixed if name in names]
    order = [*fixed, *(name for name in names if name not in fixed)] if known else names
    if len(order) > len(COLORS):
        order = names
    if len(order) <= len(COLORS):
        table = dict(zip(order, COLORS, strict=False))
        return {name: table[name] for name in names}
    shades = [colorsys.hls_to_rgb(i / len(names), (0.35, 0.55)[i % 2], 0.6) for i in range(len(names))]
    return {name: "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
            for name, rgb in zip(names, shades, strict=True)}  # fmt: skip


def markers_of(names: Sequence[str], fixed: Sequence[str] = VARIANTS) -> dict[str, str]:
    """Return a marker for each name, by the same rule as :func:`colors_of`; markers repeat after seven names."""
    names = list(dict.fromkeys(names))
    order = [*fixed, *(name for name in names if name not in fixed)] if set(names) & set(fixed) else names
    return {name: MARKERS[order.index(name) % len(MARKERS)] for name in names}
