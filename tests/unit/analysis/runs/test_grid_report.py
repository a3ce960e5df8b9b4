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
