"""Report the finished runs of a grid: results.json, results.csv, results.md, and figures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.analysis import plots
from plugins.analysis.runs import curves, grid_tables, logs
from plugins.analysis.runs.grids import Grid, GridRun
from plugins.files import without_nan, write_json, write_text

OUTPUTS = ("results.json", "results.csv", "results.md", "curves.png")  # and heat maps


def write(grid: Grid, runs: Sequence[tuple[GridRun, Path]], output: Path, about: Mapping[str, Any]) -> str:
    """Write the tables and figures of finished runs.

    Args:
        grid: the grid.
        runs: its runs and their folders, each with a file ``log``.
        output: the folder to write to.
        about: more entries of results.json.

    Returns:
        The table in Markdown.
    """
    read = [(run, *read_log(folder)) for run, folder in runs]
    results = [(run, grid_tables.numbers(records, all_, trained)) for run, records, all_, trained in read]
    cells = grid_tables.aggregate(results)
    write_json(output / "results.json", {**about, "cells": without_nan(cells)}, indent=1)
    write_text(output / "results.csv", grid_tables.csv(results, grid.axes))
    table = grid_tables.markdown(cells, grid.axes, grid.columns)
    write_text(output / "results.md", table)
    draw(grid, {run: records for run, records, *_ in read}, cells, output)
    return table


def read_log(folder: Path) -> tuple[list[logs.LoggedRecord], int | None, int | None]:
    """Return the records of a run's log, its number of parameters, and how many of them are trained."""
    with (folder / "log").open(encoding="utf-8", errors="replace") as file:
        lines = list(file)
    return logs.read_log(lines), logs.count_parameters(lines), logs.count_parameters(lines, trained=True)


def draw(
    grid: Grid, records: Mapping[GridRun, list[logs.LoggedRecord]], cells: Sequence[Mapping], output: Path
) -> None:
    """Draw validation loss against updates, and heat maps if two axes have numeric levels."""
    of_seeds: dict[str, list[plots.Curve]] = {}  # (updates, nats), by cell
    for run, found in records.items():
        updates, bits = curves.curve(found, "loss")
        of_seeds.setdefault(run.title, []).append((updates, bits * math.log(2)))
    averages = {title: curves.average(several) for title, several in of_seeds.items()}
    loss = "validation loss (nats per token)"
    averaged = any(len(several) > 1 for several in of_seeds.values())
    title = f"{grid.title}: mean and standard error over seeds" if averaged else grid.title
    plots.bands(output / "curves.png", averages, title, loss)
    maps, names = grid_tables.matrices(cells, grid.axes)
    assert not maps or len(names) == 2
    for others, (values, rows, columns) in maps.items():
        name = "heat_map" + (f"_{others}" if others else "").replace(" ", "_").replace("/", "_")
        title = f"{grid.title} {others}: best {loss}"
        plots.heat_map(output / f"{name}.png", values, rows, columns, title, (names[0], names[1]))
