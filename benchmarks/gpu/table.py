"""The rows of the check: printed as they come, saved as JSON and Markdown."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import measure
import torch


class Table:
    """Rows of figures by part.

    Attributes:
        device: "cuda", or "cpu" for the toy form.
        tiny: toy sizes.
        precisions: of the steps: autocast, or weights in bfloat16.
        models: of the steps; None for all.
        ceiling: FLOP/s of a bfloat16 matrix product on this device, once it is measured.
        broken: whether a row failed or a law is broken.
    """

    def __init__(
        self, output: Path, device: str, tiny: bool, start: float, seconds: float, precisions: Sequence[str],
        models: Sequence[str] | None = None,
    ):  # fmt: skip
        self.output, self.device, self.tiny = output, device, tiny
        self.precisions, self.models = precisions, models
        self.start, self.end = start, start + seconds
        self.rows: list[dict[str, Any]] = []
        self.ceiling = float("nan")
        self.broken = False

    def add(self, part: str, holds: bool = True, **figures: Any) -> None:
        """Add a row; ``holds``: whether the law that it tests is kept."""
        self.broken |= not holds
        self.rows.append({"part": part, **figures, **({} if holds else {"law": "BROKEN"})})
        said = " ".join(f"{name}={show(value)}" for name, value in self.rows[-1].items() if name != "part")
        print(f"[{time.monotonic() - self.start:4.0f} s] {part:9} {said}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def row(self, part: str, **named: Any) -> Iterator[None]:
        """Run a measurement; one that fails becomes a row with the reason, and the check continues."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever a kernel or a compiler raises)
            why = f"{type(error).__name__}: {error}".replace("\n", " ")[:160]
            self.add(part, holds=False, **named, failed=why)
        finally:
            if self.device == "cuda":
                torch.cuda.empty_cache()

    def leaves_out(self, model: str) -> bool:
        """Return whether steps of this model are not asked for."""
        return self.models is not None and model not in self.models

    def out_of_time(self, part: str, **named: Any) -> bool:
        """Return whether the time is over, and add a row with that."""
        if time.monotonic() < self.end:
            return False
        self.rows.append({"part": part, **named, "skipped": "out of time"})
        return True

    def seconds(self, run: Callable[[], Any], repeats: int = 15, warmup: int = 5) -> float:
        """Return the median duration of a function in seconds, each waited for."""
        repeats, warmup = (2, 1) if self.tiny else (repeats, warmup)
        return measure.summary(measure.interleaved({"it": run}, repeats, warmup)["it"])["median"]

    def save(self) -> None:
        """Write gpu_check.json and gpu_check.md."""
        self.output.mkdir(parents=True, exist_ok=True)
        facts = {"command": " ".join(sys.argv), "machine": measure.machine(), "seconds": time.monotonic() - self.start}
        (self.output / "gpu_check.json").write_text(json.dumps(facts | {"rows": self.rows}, indent=1) + "\n")
        (self.output / "gpu_check.md").write_text(self.markdown())

    def markdown(self) -> str:
        """Return one table for each part."""
        lines = []
        for part in dict.fromkeys(row["part"] for row in self.rows):
            rows = [{k: v for k, v in row.items() if k != "part"} for row in self.rows if row["part"] == part]
            names = list(dict.fromkeys(name for row in rows for name in row))
            lines += [f"\n## {part}\n", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
            lines += [f"| {' | '.join(show(row.get(name, '')) for name in names)} |" for row in rows]
        return "\n".join(lines) + "\n"


def show(value: Any) -> str:
    """Return a figure in at most four digits; thousands with their comma."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
