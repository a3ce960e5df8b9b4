"""One progress bar for many jobs, updated from their logs, with an estimate of the remaining time."""

import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from plugins.analysis.runs.logs import VALID, parse_line

_FORMAT = "{desc} |{bar}| {percentage:3.0f}% [{elapsed}, about {remaining} left{postfix}]"


class Tail:
    """Reader of the tail of a growing log.

    Attributes:
        updates: updates made so far.
        perplexity: the last one in validation, or None.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.updates = path, 0
        self.perplexity: float | None = None
        self._offset, self._rest = 0, b""

    def read(self) -> None:
        """Read what has been written since the last call. A file that shrank is read from the start."""
        try:
            with open(self.path, "rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset, self._rest, self.updates = 0, b"", 0
                file.seek(self._offset)
                new = file.read()
        except OSError:  # not there yet
            return
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            record = parse_line(line.decode("utf-8", "replace"))
            if record is not None:
                self.updates = record.updates
                if record.stage == VALID:
                    self.perplexity = record.values.get("ppl", self.perplexity)


class Progress:
    """A bar over a number of jobs. Each job that runs counts by the share of its updates that it has made.

    Without a terminal, one line per finished job on standard error replaces the bar.
    """

    def __init__(self, total: int, title: str) -> None:
        self.total, self.title, self.finished = total, title, 0
        self._tails: dict[str, tuple[Tail, int]] = {}
        self._skipped = 0.0  # progress of resumed jobs from earlier calls, excluded from the speed
        self._bar = tqdm(total=total, desc=self._heading(), bar_format=_FORMAT, disable=None)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def skip(self, jobs: int) -> None:
        """Count jobs that were finished before."""
        self.finished += jobs
        self._skipped += jobs
        self.show()

    def follow(self, name: str, log: Path, updates: int) -> None:
        """Follow the log of a job that starts now."""
        tail = Tail(log)
        tail.read()
        self._tails[name] = tail, updates
        self._skipped += share(tail, updates)

    def finish(self, name: str) -> None:
        """Count a job as finished."""
        self._tails.pop(name, None)
        self.finished += 1
        if self._bar.disable:
            print(f"{name} finished ({self.finished} of {self.total} {self.title})", file=sys.stderr, flush=True)
        self.show()

    def show(self) -> None:
        """Read the logs and move the bar."""
        if self._bar.disable:
            return
        for tail, _ in self._tails.values():
            tail.read()
        self._bar.set_description_str(self._heading(), refresh=False)
        last = [tail.perplexity for tail, _ in self._tails.values() if tail.perplexity is not None]
        if last:
            self._bar.set_postfix_str(f"validation perplexity {last[-1]:.1f}", refresh=False)
        self._bar.initial = min(self._skipped, self.total)
        self._bar.n = max(self._bar.initial, self.finished + sum(share(*pair) for pair in self._tails.values()))
        self._bar.refresh()

    def _heading(self) -> str:
        return f"{self.finished} of {self.total} {self.title}"


def share(tail: Tail, updates: int) -> float:
    """Return the share of a job's updates that its log reports, 0 if their number is unknown."""
    return min(tail.updates / updates, 1.0) if updates else 0.0


def names_twice(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    names = list(names)
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
