"""Parse fairseq-train logs in each of fairseq's formats; fall back to metrics stored in checkpoints.

A record of ``--log-format json`` has a prefix, the stage and one JSON object whose values are all strings; a record of
``simple``, and of ``tqdm`` without a terminal, has names followed by numbers::

    2026-01-31 12:00:00 | INFO | valid | {"epoch": 1, "valid_ppl": "300.1", "valid_num_updates": "80"}
    2026-01-31 12:00:00 | INFO | train_inner | epoch 001:     50 / 400 loss=5.1, ppl=34.3, num_updates=50, wall=9
    2026-01-31 12:00:00 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 4.2 | num_updates 80

The stage is read from the record, because the prefix differs in hydra's log and is missing with ``--log-file``.
"""

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plugins import checkpoints
from plugins.errors import UserError
from plugins.plain_data import BadData, parse_json

INNER, TRAIN, VALID = "train_inner", "train", "valid"  # fairseq's names: every few updates, every epoch, validation
LOG_NAMES = ("log", "*.log", "log.txt", "train.txt", "*.log.txt")
"""File names of logs in a run's folder."""

# Matched from the start of a line. The atomic groups find the first place only, in linear time: logs come from outside.
_JSON = re.compile(r"(?>(?:.*?\s)??(?=\{\"\w+\": ))(\{.*\})\s*$")
_PROGRESS = re.compile(r"(?>.*?epoch \d+: )(?>.*?\b\d+ ?/ ?\d+ )(.*)$")  # simple's train_inner, and a bar of tqdm
_END = re.compile(r"epoch \d+ \| (?:valid on '([^']+)' subset \| )?(\w+ .*)$")
_PAIR = re.compile(r"\b(\w++)[= ]\s*([^\s,|\]]+)")
_UPDATES = "num_updates"
_OPTIONS = re.compile(r"(?>.*?fairseq_cli\.\w+(?: \||\]\[INFO\] -) (?=\{'_name'))(\{.*\})\s*$")
_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]{1,30}) \(num\. trained: ([\d,]{1,30})\)")


@dataclass(frozen=True)
class LoggedRecord:
    """One log record.

    Attributes:
        stage: :data:`INNER`, :data:`TRAIN`, or the name of a validation split.
        values: numbers by name, without fairseq's prefixes ``train_`` and ``valid_``.
    """

    stage: str
    values: dict[str, float]

    @property
    def updates(self) -> int:
        """The number of updates at the time of the record."""
        return int(self.values.get(_UPDATES, 0))


def parse_line(line: str) -> LoggedRecord | None:
    """Return the record in a line of a log, or None for other lines."""
    found = _parse_json(line) if "{" in line else _parse_text(line)
    if found is None:
        return None
    stage, pairs = found
    values = {name.removeprefix(f"{stage}_"): _number(value) for name, value in pairs.items()}
    values = {name: value for name, value in values.items() if value is not None}
    return LoggedRecord(stage, values) if math.isfinite(values.get(_UPDATES, math.inf)) else None


def _parse_json(line):
    match = _JSON.match(line)
    try:
        pairs = parse_json(match[1]) if match else {}
    except BadData:  # truncated, as at the end of an interrupted run
        return None
    if _UPDATES in pairs:
        return INNER, pairs
    counted = next((name for name in pairs if name.endswith(f"_{_UPDATES}")), None)
    return (counted.removesuffix(f"_{_UPDATES}"), pairs) if counted else None


def _parse_text(line):
    if _UPDATES not in line:
        return None
    if match := _PROGRESS.match(line):
        return INNER, dict(_PAIR.findall(match[1]))
    if match := _END.search(line):
        return match[1] or TRAIN, dict(_PAIR.findall(match[2]))
    return None


def _number(value) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def read_log(lines: Iterable[str]) -> list[LoggedRecord]:
    """Return the records of a log in the order of their updates.

    A resumed run continues from its last checkpoint and repeats the updates after it, so a record replaces all earlier
    ones of its stage with as many updates or more.
    """
    return join(filter(None, map(parse_line, lines)))


def join(records: Iterable[LoggedRecord]) -> list[LoggedRecord]:
    """Return records in the order of their updates; a later record replaces those that it repeats."""
    kept: dict[str, list[LoggedRecord]] = {}
    for record in records:
        stage = kept.setdefault(record.stage, [])
        while stage and stage[-1].updates >= record.updates:
            stage.pop()
        stage.append(record)
    return sorted((r for stage in kept.values() for r in stage), key=lambda r: r.updates)


def count_parameters(lines: Iterable[str], trained: bool = False) -> int | None:
    """Return the number of parameters that fairseq logs before training, or None.

    Args:
        lines: lines of the log.
        trained: count the trained parameters only.
    """
    for line in lines:
        match = _PARAMETERS.search(line)
        if match:
            return int(match.group(2 if trained else 1).replace(",", ""))
    return None


def read_options(lines: Iterable[str]) -> dict | None:
    """Return the options that fairseq logs before training, {group: {option: value}}, or None.

    Of a log with several starts, the last ones are returned.
    """
    found = None
    for line in lines:
        match = _OPTIONS.match(line)
        if match:
            found = match[1]
    try:
        return ast.literal_eval(_Plain().visit(ast.parse(found, mode="eval"))) if found else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # truncated, objects among the options, or nested
        return None


class _Plain(ast.NodeTransformer):
    """Convert other printed options to literals: ``Namespace(a=1)``, ``inf``, and choices without quotes."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if getattr(node.func, "id", None) != "Namespace":
            return node
        names: list[ast.expr | None] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(names, [self.visit(keyword.value) for keyword in node.keywords])

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id) if node.id in ("inf", "nan") else node.id)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:  # a choice with a hyphen
        return ast.Constant(ast.unparse(node).replace(" ", ""))


# A run's files


@dataclass(frozen=True)
class LoggedRun:
    """Log records and options of a run.

    Attributes:
        path: its folder or log.
        records: in the order of their updates.
        options: {group: {option: value}}, or None if neither the log nor a checkpoint has them.
        source: ``log`` or ``checkpoints``.
    """

    path: Path
    records: list[LoggedRecord]
    options: Mapping | None
    source: str


def read_run(path: str | Path) -> LoggedRun:
    """Read the log of a run, several logs of an interrupted run, or else the metrics in its checkpoints.

    Args:
        path: the run's folder, or a log.

    Raises:
        UserError: the path does not exist, or neither logs nor checkpoints have any metrics.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such run; name its folder (--save-dir), or its log")
    logs = find_logs(path) if path.is_dir() else [path]
    lines = [line for log in logs for line in _lines_of(log)]
    records = read_log(lines)
    states = _checkpoints(path) if path.is_dir() else iter(())
    if records:  # a checkpoint's options are the parsed ones, so they take precedence over the log's
        saved = next(filter(None, (state.get("cfg") for state in states)), None)
        return LoggedRun(path, records, saved or read_options(lines), "log")
    read = [state for state in states if state.get("optimizer_history")]
    records = join(sorted((r for state in read for r in records_of(state)), key=lambda r: r.updates))
    if not records:
        raise UserError(
            f"{path}: no log of fairseq-train, and no checkpoint with losses; keep the log with "
            "--log-file FILE, or with `| tee FILE`, in the folder of the run"
        )
    return LoggedRun(path, records, read[0].get("cfg"), "checkpoints")


def find_logs(folder: Path) -> list[Path]:
    """Return the logs in a folder, oldest first."""
    found = {file for name in LOG_NAMES for file in folder.glob(name) if file.is_file()}
    return sorted(found, key=lambda file: (file.stat().st_mtime_ns, file.name))


def _lines_of(log: Path) -> list[str]:
    try:
        with log.open(
            encoding="utf-8", errors="replace"
        ) as lines:  # universal newlines also split at the carriage returns of a progress bar
            lines = list(lines)
    except OSError as error:
        raise UserError(f"{log}: {error.strerror}") from error
    # A truncated number of updates would replace later records; a truncated JSON record is recognized by its brace.
    return lines[:-1] if lines and not lines[-1].endswith(("\n", "}")) else lines


def _checkpoints(folder: Path) -> Iterable[dict]:
    """Yield the content of the readable checkpoints in a folder, the last update first, without loading the weights."""
    found = []
    files = sorted(folder.glob("checkpoint*.pt"), key=lambda file: file.name != "checkpoint_last.pt")
    for file in files:  # at equal updates, checkpoint_last.pt is the first
        try:
            found.append(checkpoints.read_state(str(file)))
        except UserError:  # truncated, from a run that was killed
            continue
    yield from sorted(found, key=_updates_of, reverse=True)


def _updates_of(state: Mapping) -> int:
    history = state.get("optimizer_history") or [{}]
    return history[-1].get(_UPDATES, 0)


def records_of(state: Mapping) -> list[LoggedRecord]:
    """Return the metrics that a checkpoint stores.

    Those of training are means over the epoch so far. Of validation it is the metric by which the best checkpoint is
    selected, because fairseq's validation meters are means over all validations of an epoch.
    """
    extra, updates = state.get("extra_state") or {}, state["optimizer_history"][-1].get(_UPDATES, 0)
    meters = (extra.get("metrics") or {}).get(TRAIN, ())
    train = {name: mean for _, name, _, meter in meters if (mean := _mean(meter)) is not None}
    metric = ((state.get("cfg") or {}).get("checkpoint") or {}).get("best_checkpoint_metric", "loss")
    valid = {metric: float(extra["val_loss"])} if extra.get("val_loss") is not None else {}
    found = {TRAIN: train, VALID: valid}
    return [LoggedRecord(stage, values | {_UPDATES: float(updates)}) for stage, values in found.items() if values]


def _mean(meter) -> float | None:
    """Return the mean of a fairseq meter, or None for meters that are not averages."""
    total, count = meter.get("sum"), meter.get("count")
    if total is None or count is None or not count > 0:
        return None
    mean = float(total) / float(count)
    return mean if math.isfinite(mean) else None
