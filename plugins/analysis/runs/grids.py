"""Grids of runs: read a grid from YAML, name its runs, and choose the columns of its table.

    title: Depth and heads                    # optional
    base: "{data} --user-dir plugins ..."     # arguments of fairseq-train; {data} is replaced
    seeds: [1, 2, 3]
    axes:                                     # every combination of their levels is a cell
      --decoder-layers: [5, 10]               # a flag and its values, or
      head: {a: --head clap, b: --head mlm}   # names and the arguments that each adds
    rows:                                     # additional cells
      no residual: --no-residual
    columns: [nats, seconds]                  # columns of the table, see COLUMNS

Arguments are a string, split as a shell does, or a list of strings.
"""

import itertools
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plugins.errors import UserError
from plugins.files import read_yaml

OURS = ("--seed", "--save-dir", "--log-format")
"""Options that are set for every run; a grid must not set them."""
COLUMNS = {  # name of a number: heading in tables, decimals
    "nats": ("best loss (nats)", 4),
    "bits": ("best loss (bits)", 4),
    "last_nats": ("last loss (nats)", 4),
    "last_bits": ("last loss (bits)", 4),
    "perplexity": ("best perplexity", 1),
    "last_perplexity": ("last perplexity", 1),
    "parameters": ("parameters", 0),
    "trained": ("trained parameters", 0),
    "updates": ("updates", 0),
    "seconds": ("seconds", 0),
    "tokens_per_second": ("tokens/s", 0),
    "rouge1": ("ROUGE-1", 4),  # at the best loss, as the next ones
    "rouge2": ("ROUGE-2", 4),
    "rougeL": ("ROUGE-L", 4),
    "rougeLsum": ("ROUGE-Lsum", 4),
}
DEFAULT_COLUMNS = ("nats", "bits", "last_nats", "parameters", "seconds", "tokens_per_second")
MOST_RUNS = 10_000
ROW = "row"  # the axis of the cells under `rows`


@dataclass(frozen=True)
class GridRun:
    """One run: the level of each axis by its name, the seed, and the arguments after ``fairseq-train``."""

    cell: tuple[tuple[str, str], ...]
    seed: int
    arguments: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name of the cell."""
        return " ".join(level if axis == ROW else f"{axis}={level}" for axis, level in self.cell) or "base"

    @property
    def name(self) -> str:
        """Name of its folder: the title and the seed, in characters that are valid in every file system."""
        return re.sub(r"[^\w.=+-]+", "_", f"{self.title}_seed={self.seed}")

    @property
    def max_update(self) -> str:
        """The value of ``--max-update``, 0 if it is not given."""
        backwards = itertools.pairwise(reversed(self.arguments))
        return next((value for value, flag in backwards if flag == "--max-update"), "0")

    @property
    def updates(self) -> int:
        """The number of updates; 0 if ``--max-update`` is not given."""
        return int(self.max_update)


@dataclass(frozen=True)
class Grid:
    """A grid of runs, as read from a YAML file."""

    title: str
    axes: tuple[str, ...]
    runs: tuple[GridRun, ...]
    columns: tuple[str, ...]


def read_grid(
    path: str | Path, data: str | None = None, more: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> Grid:
    """Return the grid in a YAML file.

    Args:
        path: the file, see the module.
        data: value of ``{data}``.
        more: arguments appended to those of every run; fairseq uses the last of repeated options.
        seeds: override the seeds of the file.

    Raises:
        UserError: the file does not exist, is not YAML, or has an invalid key or value; the message names it.
    """
    content = _load(Path(path))
    unknown = set(content) - {"title", "base", "seeds", "axes", "rows", "columns"}
    _check(not unknown, path, f"unknown key {', '.join(sorted(map(str, unknown)))}")
    _check("base" in content, path, "no `base`: the arguments of fairseq-train that all runs share")
    _check(isinstance(content.get("axes") or {}, dict), path, "`axes` maps flags or names to their levels")
    _check(isinstance(content.get("columns") or [], list), path, f"`columns` is a list of {', '.join(COLUMNS)}")
    axes = {_axis(name): _levels(path, name, levels) for name, levels in (content.get("axes") or {}).items()}
    rows = _levels(path, "rows", content.get("rows") or {})
    seeds = list(seeds) if seeds else content.get("seeds", [1])
    whole = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    _check(whole, path, "`seeds` is a list of whole numbers")
    columns = tuple(content.get("columns") or DEFAULT_COLUMNS)
    wrong = next(
        (name for name in columns if name not in list(COLUMNS)), None
    )  # a list, because a name in YAML may be unhashable
    _check(wrong is None, path, f"`columns`: no column {wrong!r}: there are {', '.join(COLUMNS)}")
    runs = len(seeds) * math.prod(map(len, axes.values()))
    _check(runs <= MOST_RUNS, path, f"{runs:.3g} runs; at most {MOST_RUNS:,} are made")
    cells = [dict(zip(axes, levels, strict=True)) for levels in itertools.product(*axes.values())] if axes else []
    cells += [{ROW: row} for row in rows]
    levels = axes | {ROW: rows}
    base = _split(path, "base", content["base"])
    made = []
    for seed, cell in itertools.product(seeds, cells or [{}]):
        arguments = [*base, *(part for axis, level in cell.items() for part in levels[axis][level]), *more]
        open_data = data is None and any("{data}" in part for part in arguments)
        _check(not open_data, path, "it contains {data}: give --data PATH")
        taken = next((part for part in arguments if part.split("=")[0] in OURS), None)
        _check(taken is None, path, f"{taken} is set for every run: remove it")
        run = GridRun(tuple(cell.items()), seed, tuple(part.replace("{data}", data or "") for part in arguments))
        whole = run.max_update.isdecimal()
        _check(whole, path, f"{run.title}: --max-update {run.max_update}: a whole number is needed")
        made.append(run)
    names = [run.name for run in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    _check(
        twice is None, path, f"two runs have the name {twice}: give their levels names that differ in letters or digits"
    )
    return Grid(str(content.get("title", Path(path).stem)), (*axes, *([ROW] if rows else [])), tuple(made), columns)


def _load(path: Path) -> dict:
    content = read_yaml(path)
    _check(isinstance(content, dict), path, "a mapping with `base` and `axes` or `rows` is needed")
    return content


def _check(condition, path, message):
    if not condition:
        raise UserError(f"{path}: {message}")


def _axis(name) -> str:
    return str(name).removeprefix("--")


def _levels(path, axis, levels) -> dict[str, list[str]]:
    """Return the arguments of each level of an axis by its name."""
    _check(levels or axis == "rows", path, f"{axis}: no levels; give some, or remove it")
    if isinstance(levels, list) and str(axis).startswith("--"):
        return {str(value): [axis, str(value)] for value in levels}
    flag = "a list of values needs a flag as its name, for example --decoder-layers; otherwise give {name: arguments}"
    _check(isinstance(levels, dict), path, f"{axis}: {flag}")
    return {str(name): _split(path, f"{axis}, {name}", arguments) for name, arguments in levels.items()}


def _split(path, where, arguments) -> list[str]:
    """Return arguments as a list; a string is split as a shell does."""
    if isinstance(arguments, list):
        return [str(part) for part in arguments]
    _check(not isinstance(arguments, dict), path, f"{where}: a mapping, but a string or a list of arguments is needed")
    try:
        return shlex.split(str(arguments if arguments is not None else ""))
    except ValueError as error:
        raise UserError(f"{path}: {where}: {error}") from None
