"""Drawings of runs: the upper limit of the axis."""

import numpy as np
import pytest

from plugins.analysis.runs import plots as run_plots


def curve(updates, values):
    return np.array(updates), np.array(values, dtype=float), np.zeros(len(updates))


def test_the_axis_excludes_the_first_twentieth_of_a_curve():
    top = run_plots.top_of({"training": {"a": curve([1, 500, 1000], [50, 4, 3])}})
    assert 4 < top < 5


def test_a_run_much_shorter_than_another_is_on_the_scale():
    long, short = curve([50, 500, 1000], [5, 4, 3]), curve([10, 20], [9, 8])
    top = run_plots.top_of({"training": {"long": long, "short": short}})
    assert top is None or top > 9


def band(values, error):
    x = np.arange(1, len(values) + 1) * 100
    return x, np.array(values, float), np.full(len(values), float(error))


def test_the_title_names_the_lowest_curve_where_it_is_clear():
    curves = {"a": band([4, 3.0, 3.1], 0.01), "b": band([5, 4, 3.5], 0.01)}
    assert (
        run_plots.conclusion(curves, "validation loss") == "a has the lowest validation loss, 3.00, after 200 updates"
    )


def test_the_title_names_no_lowest_curve_within_two_standard_errors():
    curves = {"a": band([4, 3.0], 0.2), "b": band([5, 3.1], 0.2)}
    assert run_plots.conclusion(curves, "loss") == "a and b are level: loss 3.00 and 3.10"


def test_the_title_of_one_curve_states_its_decrease():
    assert run_plots.conclusion({"a": band([4, 3.0], 0)}, "loss") == "a: the loss falls to 3.00 after 200 updates"


def test_curves_are_labeled_at_their_ends_with_their_last_values(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(run_plots, "save", lambda figure, path, **_: kept.append(figure))
    panels = {"training": {"a": band([4, 3], 0), "only here": band([2, 1], 0)}, "validation": {"a": band([5, 4], 0)}}
    run_plots.band_panels(tmp_path / "x.png", panels, "title", "loss")
    labels = [[text.get_text() for text in axes.texts] for axes in kept[0].axes]
    assert labels == [["only here 1.00"], ["a 4.00"]] and not kept[0].legends


def test_the_scale_begins_at_a_twentieth_of_each_curve_with_a_little_room():
    curves = {"a": curve([50, 500, 1000], [9, 4, 3]), "b": curve([49, 1000], [99, 4])}
    assert run_plots.top_of({"": curves}) == pytest.approx(9 + 0.05 * 6)
    assert run_plots.top_of({"": {"a": curve([50, 1000], [9, 3])}}) is None, "nothing is above it"


@pytest.mark.parametrize(("error", "level"), [(0.049, False), (0.051, True)])
def test_a_difference_of_two_standard_errors_is_one(error, level):
    """The errors of both curves count: sqrt(.03^2 + .04^2) is .05."""
    curves = {"a": band([3.0], error * 0.6), "b": band([3.1], error * 0.8)}
    assert ("level" in run_plots.conclusion(curves, "loss")) == level


def test_equal_rounded_values_are_level():
    curves = {"a": band([3.0], 0), "b": band([3.004], 0)}
    assert "level" in run_plots.conclusion(curves, "loss")
    assert "a has the lowest" in run_plots.conclusion(curves, "loss", decimals=3)
