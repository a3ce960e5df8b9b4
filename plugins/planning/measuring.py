"""Measure the memory of variants of a training command, each in its own process.

The row of a variant that cannot run on this machine gives the reason.
"""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from plugins import tables
from plugins.errors import UserError, shortened
from plugins.files import make_folder, read_json, staging, write_json, write_text

from .worker import TRACED

BASELINE = "baseline"
VARIANTS: dict[str, list[str]] = {
    BASELINE: [],
    "mixed": ["--mixed-precision", "bf16"],
    "bf16": ["--bf16"],
    "fp16": ["--fp16"],
    "checkpoint": ["--checkpoint-activations"],
    "accumulate4": ["--update-freq", "4"],  # and a quarter of the batch
    "adam": ["--optimizer", "adam"],
    "adafactor": ["--optimizer", "adafactor"],
    "adamw_8bit": ["--optimizer", "adamw_8bit"],
    "lora": ["--peft", "lora"],  # applied to the model trained by the baseline
}
PARTS = ("weights", "gradients", "optimizer", "activations", "peak", "process")
ADAM_ONLY = ("--adam-betas", "--adam-eps")
# Without these settings the process is larger than its tensors: glibc retains freed memory, and oneDNN caches compiled
# kernels for up to 1,024 shapes, in bfloat16 about 6 MiB for each number of predictions.
RETURNING = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8",
}
SPEED = "tokens_per_second"
USUAL = ("process",)  # also measured with the usual settings, like SPEED
MIB = 1 << 20


def measure(command: Sequence[str], variants: Sequence[str], updates: int, repeats: int, folder: Path) -> list[dict]:
    """Measure the variants of a command.

    Args:
        command: ``fairseq-train ...``.
        variants: names in :data:`VARIANTS`.
        updates: number of updates of each run, at least 3.
        repeats: runs of each variant; the run with the median peak of the process is returned.
        folder: folder of checkpoints and results.

    Returns:
        A row for each variant: bytes by part, predicted and measured, or ``reason``.

    Raises:
        UserError: a variant is unknown, or the command is not ``fairseq-train``.
    """
    if not command or Path(command[0]).name != "fairseq-train":
        raise UserError(f"{' '.join(command[:1]) or '--'}: the command after -- is fairseq-train with its arguments")
    if updates <= TRACED:
        raise UserError(f"--updates {updates}: at least {TRACED + 1}, of which one is traced and the rest are timed")
    for name in variants:
        if name not in VARIANTS:
            raise UserError(f"--variants {name}: the choices are {', '.join(VARIANTS)}")
    make_folder(folder)
    rows = []
    for name in tqdm(variants, desc="variants", file=sys.stderr):
        saves = name == BASELINE and "lora" in variants
        try:
            arguments = arguments_of(command[1:], name, folder)
            found = [run(name, arguments, updates, folder, saves) for _ in range(repeats)]
        except UserError as error:
            rows.append({"variant": name, "reason": str(error)})
            continue
        rows.append(sorted(found, key=lambda row: row["process"])[repeats // 2])
    return rows


def arguments_of(arguments: Sequence[str], name: str, folder: Path) -> list[str]:
    """Return the arguments of a variant.

    Raises:
        UserError: the command lacks an option that the variant changes.
    """
    changed = list(arguments)
    if name in ("adafactor", "adamw_8bit", "adam"):
        changed = without(changed, "--optimizer", *(ADAM_ONLY if name == "adafactor" else ()))
    if name == "accumulate4":
        flag = next((flag for flag in ("--batch-size", "--max-tokens") if flag in changed), None)
        if flag is None:
            raise UserError("the command has neither --batch-size nor --max-tokens, which is divided by 4")
        at = changed.index(flag) + 1
        if not changed[at].isdigit() or int(changed[at]) % 4:
            raise UserError(f"{flag} {changed[at]} is not divisible by 4")
        changed[at] = str(int(changed[at]) // 4)
        changed = without(changed, "--update-freq")
    if name == "lora":
        base = folder / BASELINE / "checkpoint_last.pt"
        if not {"--peft-base", "--finetune-from-model"} & set(changed):
            if not base.exists():
                raise UserError("needs --peft-base in the command, or the variant baseline before it")
            changed += ["--peft-base", str(base)]
    return changed + VARIANTS[name]


def without(arguments: Sequence[str], *flags: str) -> list[str]:
    """Return arguments without some flags and their values."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in flags:
            skip = True
        elif argument.partition("=")[0] not in flags:
            kept.append(argument)
    return kept


def run(name: str, arguments: Sequence[str], updates: int, folder: Path, saves: bool) -> dict[str, Any]:
    """Run a variant in a new process, and return its row.

    Raises:
        UserError: the process failed; the message is the reason.
    """
    output, save_dir = folder / f"{name}.json", folder / name
    command = [sys.executable, "-m", "plugins.planning.worker", str(output), *arguments]
    command += ["--save-dir", str(save_dir), "--max-update", str(updates), "--disable-validation"]
    command += ["--log-format", "json"]
    found = start([*command, "--no-save"], output, RETURNING)
    found["peak"] = found["weights"] + found["optimizer"] + found.pop("beyond_state")
    usual = start([*command, "--no-epoch-checkpoints" if saves else "--no-save"], output, {})  # saved last: not resumed
    return {"variant": name, **found, **{f"{key}_usual": usual[key] for key in USUAL}, SPEED: usual[SPEED]}


def start(command: Sequence[str], output: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """Run a worker with additional environment variables, and return its measurements.

    Raises:
        UserError: the worker failed; the message is the reason.
    """
    output.unlink(missing_ok=True)
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "KINETO_LOG_LEVEL": "5", **settings}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, errors="replace")
    if done.returncode or not output.exists():
        raise UserError(reason_of(done.stderr, done.returncode))
    return read_json(output, dict)


def reason_of(errors: str, status: int) -> str:
    """Return the last error message of a process as one line."""
    lines = [line for line in errors.splitlines() if line.strip()]
    found = [line for line in lines if re.match(r"(\S+: )?error: |\S*Error\b", line)]
    text = (found or lines or [f"exit status {status}"])[-1]
    return shortened(re.sub(r"^((\S+: )?error|plugins\.errors\.UserError): ", "", text))


# Tables


def cells_of(row: Mapping) -> list[str]:
    """Return a row of the table: predicted / measured MiB of each part."""
    if "reason" in row:
        return [row["variant"], row["reason"], *[""] * (len(PARTS) + 2)]
    cells = []
    for part in PARTS:
        predicted = row.get(f"predicted_{part}")
        cells.append(f"{'-' if predicted is None else mib(predicted)} / {mib(row[part])}")
    return [row["variant"], *cells, mib(row["process_usual"]), f"{row[SPEED]:,.0f}", f"{row['loss']:.4f}"]


def mib(size: float) -> str:
    """Return bytes as MiB."""
    return f"{size / MIB:,.1f}"


def markdown(rows: Sequence[Mapping]) -> str:
    """Return the table."""
    return tables.markdown(["variant", *PARTS, "process, usual malloc", "tokens/s", "loss"], map(cells_of, rows))


def write(rows: Sequence[Mapping], about: Mapping, folder: Path) -> None:
    """Write ``memory.json``, ``memory.csv`` and ``memory.md``."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with staging(folder) as part:
        write_json(part / "memory.json", {**about, "rows": list(rows)}, indent=1)
        write_text(part / "memory.csv", text.getvalue())
        write_text(part / "memory.md", f"MiB, predicted / measured\n\n{markdown(rows)}\n")
