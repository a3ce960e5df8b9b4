"""Default output of ``fairseq-train``: a header, a bar, one line per validation, and the next command."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from tqdm import tqdm

from plugins.tables import significant

ESTIMATE_AFTER = 10  # updates
RECENT = 200  # updates of which the later half determines the speed
LONG = 3600.0  # seconds after which a CPU run is reported as long


def duration(seconds: float) -> str:
    """Return a number of seconds in words: ``40 s``, ``5 min``, ``3 h 10 min``, ``2 d 4 h``."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


@dataclass
class Display:
    """Progress of one training run.

    On a terminal a bar shows loss, speed and the time left; elsewhere a line is printed at each log interval.

    Attributes:
        updates: total number of updates, or None if unknown.
        on_cpu: whether the run has no GPU; long runs then get advice.
        metric: name of the metric that chooses the best checkpoint.
        maximize: whether higher values are better.
        out: stream that lines are printed to.
    """

    updates: int | None
    on_cpu: bool
    metric: str = "loss"
    maximize: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    best: tuple[float, int] | None = None  # (value, update)
    done: int = 0
    _first: tuple[int, float] | None = None
    _recent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _estimated: bool = False
    _bar: tqdm | None = None

    def header(self, lines: Mapping[str, str]) -> None:
        """Print the header, one ``name  value`` per line."""
        width = max(map(len, lines), default=0)
        for name, value in lines.items():
            self.line(f"{name:{width}}  {value}")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=self.out, flush=True)

    def update(self, done: int) -> None:
        """Note that the run has made ``done`` updates; after ten, print how long it will take."""
        if self._first is None:
            self._first = (done, self.clock())
        self._recent.append((done, self.clock()))
        if self._bar is None and sys.stderr.isatty():
            self._bar = tqdm(total=self.updates, initial=done, unit=" updates", desc="training", leave=False)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        self.done = done
        if not self._estimated and done - self._first[0] >= ESTIMATE_AFTER:
            self._estimated = True
            self.line(self.estimate())

    def estimate(self) -> str:
        """Return the expected duration of the run, in a sentence."""
        speed = self.speed()
        if self.updates is None:
            return f"{speed:.2g} updates/s"
        left = max(0, self.updates - self.done) / speed
        text = f"about {duration(left)} for {self.updates - self.done:,} more updates ({speed:.2g} updates/s)"
        if left > LONG and self.on_cpu:
            text += "; on this CPU a smaller --arch, or a smaller --max-update, takes less"
        return text

    def speed(self) -> float:
        """Return updates per second over the later half of the last updates: the first of a run may take seconds."""
        if not self._recent:
            return 1e-9
        first, began = self._recent[(len(self._recent) - 1) // 2]
        return max(1e-9, (self.done - first) / max(1e-9, self.clock() - began))

    def train(self, stats: Mapping[str, object], done: int) -> None:
        """Show the training loss at a log interval."""
        loss = number(stats.get("loss"))
        shown = f"loss {loss:.3f}" if loss is not None else ""
        if self._bar is not None:
            self._bar.set_postfix_str(shown)
            return
        total = f"/{self.updates:,}" if self.updates else ""
        left = duration(max(0, self.updates - done) / self.speed()) + " left" if self.updates else ""
        self.line("  ".join(filter(None, (f"update {done:,}{total}", shown, f"{self.speed():.2g} updates/s", left))))

    def validation(self, subset: str, stats: Mapping[str, object], done: int, first: bool = True) -> None:
        """Print a line for a validation; the first subset's metric decides which checkpoint is best."""
        value = number(stats.get(self.metric))
        better = first and value is not None and self.is_better(value)
        if better and value is not None:
            self.best = (value, done)
        names = dict.fromkeys(("loss", "ppl", self.metric))
        found = {name: number(stats.get(name)) for name in names}
        shown = "  ".join(f"{name} {significant(value, 4)}" for name, value in found.items() if value is not None)
        self.line(f"update {done:,}: {subset}  {shown}{'  (best)' if better else ''}")

    def is_better(self, value: float) -> bool:
        """Return whether a value of the metric is better than the best so far."""
        return self.best is None or (value > self.best[0] if self.maximize else value < self.best[0])

    def finish(self, seconds: float, files: Mapping[str, str], following: str | None) -> None:
        """Print the best value, the files and the command that comes next."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        best = f"; best {self.metric} {significant(self.best[0], 4)} at update {self.best[1]:,}" if self.best else ""
        took = f"in {duration(seconds)}" if self._first else "before, none now"
        self.line(f"{self.done:,} updates {took}{best}")
        self.header(files)
        if following:
            self.line(f"next: {following}")


def number(value: Any) -> float | None:
    """Return the value of a meter, a number or its text; None if it is not a meter."""
    value = getattr(value, "avg", value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
