"""Drawings: label positions, and that a file is written."""

import numpy as np
import pytest

from plugins.analysis import plots
from plugins.analysis.runs import plots as run_plots
from plugins.analysis.styles import plots as style_plots


def test_curves_become_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    curves = {"a": (np.array([1, 2]), np.array([90.0, 60.0])), "b": (np.array([2]), np.array([61.0]))}
    plots.validation_curves(tmp_path / "p.png", curves, "title", unigram=99.0)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_bands_and_heat_maps_become_pngs(tmp_path):
    pytest.importorskip("matplotlib")
    curve = np.array([1, 2]), np.array([3.0, 2.0]), np.array([0.1, 0.1])
    plots.bands(tmp_path / "b.png", {f"run {i}": curve for i in range(9)}, "title", "loss")
    plots.heat_map(tmp_path / "h.png", np.array([[1.0, np.nan]]), ["5"], ["1", "2"], "title", ("rows", "columns"))
    for name in ("b.png", "h.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_curve_of_one_point_can_be_seen(tmp_path):
    one = np.array([1.0])
    for error in (0.1, 0.4):  # the scale has room for both, so only the mark itself can differ
        room = {"room": (np.array([0.0, 2.0]), np.array([0.0, 2.0]), np.zeros(2))}
        plots.bands(tmp_path / f"{error}.png", room | {"point": (one, one, error * one)}, "title", "loss")
    assert (tmp_path / "0.1.png").read_bytes() != (tmp_path / "0.4.png").read_bytes()


def test_points_at_a_single_update_have_its_tick_alone(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, *rest, **more: figures.append(figure))
    one = np.array([200]), np.array([3.0]), np.zeros(1)
    plots.bands(tmp_path / "b.png", {"a": one, "b": one}, "title", "loss")
    assert [label.get_text() for label in figures[0].axes[0].get_xticklabels()] == ["200"]


@pytest.mark.parametrize("name", ["$\\frac{$"])
def test_drawings_of_runs_and_styles_accept_any_name(tmp_path, name):
    pytest.importorskip("matplotlib")
    curve = np.array([1, 2]), np.array([90.0, 60.0]), np.zeros(2)
    run_plots.band_panels(tmp_path / "r.png", {"training": {name: curve}}, name, "y")
    run_plots.bars(tmp_path / "b.png", [name], {"": (np.ones(1), np.ones((2, 1)))}, name, "x")
    style_plots.ribbon(tmp_path / "s.png", "abc", np.full((3, 2), 0.5), [name, "b"], name)
    plots.heat_map(tmp_path / "h.png", np.eye(2), [name, "b"], ["c", "d"], name, ("e", "f"))
    assert len(list(tmp_path.iterdir())) == 4
