"""The report of a grid: tables and figures of finished runs."""

import json

import pytest

from plugins.analysis.runs import grid_report, grids

LINES = """
2026-01-01 00:00:00 | INFO | fairseq_cli.train | num. shared model params: 1,200 (num. trained: 200)
2026-01-01 00:00:01 | INFO | valid | {"epoch": 1, "valid_loss": "3.0", "valid_num_updates": "5"}
2026-01-01 00:00:02 | INFO | valid | {"epoch": 2, "valid_loss": "2.0", "valid_num_updates": "10"}
"""


def test_tables_and_figures_of_every_run(tmp_path):
    pytest.importorskip("matplotlib")
    axes = "axes: {--layers: [1, 2], --heads: [1, 2]}"
    (tmp_path / "g.yaml").write_text(f"title: T\nbase: x\n{axes}\ncolumns: [bits, trained]")
    grid = grids.read_grid(tmp_path / "g.yaml")
    for run in grid.runs:
        (tmp_path / run.name).mkdir()
        (tmp_path / run.name / "log").write_text(LINES)
    table = grid_report.write(grid, [(run, tmp_path / run.name) for run in grid.runs], tmp_path, {"jobs": 3})
    assert table.splitlines()[2] == "| 1 | 1 | 2.0000 | 200 |"
    assert (tmp_path / "results.md").read_text() == table
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["jobs"] == 3 and len(content["cells"]) == 4
    assert content["cells"][0]["parameters"]["values"] == [1200]
    assert content["cells"][0]["bits"]["standard_error"] is None
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 5
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves.png", "heat_map.png"}


def test_losses_are_drawn_in_nats_over_seeds_and_each_other_axis_has_its_map(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(grid_report.plots, "bands", lambda path, *given: drawn.update({path.name: given}))
    monkeypatch.setattr(grid_report.plots, "heat_map", lambda path, *given: drawn.update({path.name: given}))
    axes = "axes: {--layers: [1, 2], --heads: [1, 2], text: {a/b: x, c: y}}\nseeds: [1, 2]"
    (tmp_path / "g.yaml").write_text(f"title: T\nbase: x\n{axes}")
    grid = grids.read_grid(tmp_path / "g.yaml")
    for number, run in enumerate(grid.runs):
        (tmp_path / run.name).mkdir()
        (tmp_path / run.name / "log").write_text(LINES.replace("2.0", str(float(number % 2))))
    grid_report.write(grid, [(run, tmp_path / run.name) for run in grid.runs], tmp_path, {})
    assert set(drawn) == {"curves.png", "heat_map_text=a_b.png", "heat_map_text=c.png"}
    curves, title, label = drawn["curves.png"]
    assert title.startswith("T:") and len(curves) == 8 and "nats" in label
    updates, mean, error = next(iter(curves.values()))
    assert updates.tolist() == [5, 10] and mean[0] == pytest.approx(2.0794415) and error[0] == 0
    values, rows, columns, _, names = drawn["heat_map_text=c.png"]
    assert (rows, columns, names) == (["1", "2"], ["1", "2"], ("layers", "heads")) and values.shape == (2, 2)


def test_runs_of_one_seed_have_the_title_alone(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(grid_report.plots, "bands", lambda path, averages, title, label: titles.append(title))
    (tmp_path / "g.yaml").write_text("title: T\nbase: x")
    grid = grids.read_grid(tmp_path / "g.yaml")
    records = grid_report.logs.read_log(LINES.splitlines())
    grid_report.draw(grid, {grid.runs[0]: records}, [], tmp_path)
    assert titles == ["T"]
