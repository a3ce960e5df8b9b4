"""Console output of ``fairseq-train`` without ``--log-format``.

Defect: a run of 300 updates prints 112 lines, of which ten matter: the configuration in one line, the layers, false
"detected shared parameter" lines for absent biases, and warnings about internals of fairseq, torch and hydra. Here
they go to ``train.log`` in the save directory, the configuration to ``config.yaml``, and a :class:`Display` writes to
the console. With ``--log-format json`` or ``simple`` fairseq's own output is left as it is.

A run that ends before its first update with an error of the user (a bad row, too little text) leaves neither file, and
the configuration of an earlier run in the folder as it was.
"""

import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from plugins.atomic import make_folder, missing_parents, remove_empty
from plugins.errors import find_user_error
from plugins.files import write_text

from .patching import repaired, wrap

FORMAT = logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s", "%Y-%m-%d %H:%M:%S")
NOISE = (  # (category, message): each concerns internals of another package and appears in every run
    (FutureWarning, r"`torch\.cuda\.amp\.\w+\(args\.\.\.\)` is deprecated"),
    (UserWarning, r"'pin_memory' argument is set as true but no accelerator is found"),
    (UserWarning, r"hydra\.experimental\.\w+\(\) is no longer experimental"),
    (UserWarning, r"In 'config': Usage of deprecated keyword in package header"),
    (UserWarning, r"\nThe strict flag in the compose API is deprecated"),
    (UserWarning, r"\nThe version_base parameter is not specified"),
    (UserWarning, r"\n.* is validated against ConfigStore schema with the same name"),
    (UserWarning, r"In '.*': Defaults list is missing `_self_`"),
    (DeprecationWarning, r"`torch\.jit\.script` is deprecated"),
)
NEXT = {  # task: the command that uses what was trained
    "clap_masked_lm": "python scripts/run_glue.py --glue-dir GLUE --checkpoint {best} --output {dir}/glue",
    "char_lm": "python scripts/sample.py {dir} --length 300",
    "causal_lm": "python scripts/sample.py {dir} --length 100",
    "summarization": "python scripts/summarize.py {dir} FILE -o summaries.jsonl",
    "embedding": "python scripts/embed.py {dir} FILE -o vectors.npz",
}


class Console:
    """The run of this process that a :class:`Display` shows, if any."""

    def __init__(self, make_display: Callable):
        self.make_display = make_display
        self.display: Any = None
        self.cfg: Any = None
        self.trainer: Any = None
        self.log: logging.Handler | None = None
        self.config = ""  # of the run, until it is written
        self.began, self.has_header = time.monotonic(), False

    def begin(self, cfg: DictConfig) -> bool:
        """Start showing a run whose configuration fairseq is about to log; return whether it is shown here."""
        self.end()
        if cfg.common.log_format is not None or cfg.distributed_training.distributed_rank not in (0, -1):
            return False
        self.cfg, folder = cfg, Path(cfg.checkpoint.save_dir)
        self.began, self.has_header = time.monotonic(), False
        self.display = self.make_display(
            updates=cfg.optimization.max_update or None,
            on_cpu=cfg.common.cpu or not torch.cuda.is_available(),
            metric=cfg.checkpoint.best_checkpoint_metric,
            maximize=cfg.checkpoint.maximize_best_checkpoint_metric,
        )
        self.config = OmegaConf.to_yaml(cfg)
        make_folder(folder)
        self.log = logging.FileHandler(folder / "train.log", encoding="utf-8")
        self.log.setFormatter(FORMAT)
        for handler in logging.root.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_for_people)
                handler.setFormatter(logging.Formatter("%(message)s"))
        logging.root.addHandler(self.log)
        logging.root.setLevel(min(logging.root.level, logging.INFO))
        return True

    def end(self) -> None:
        """Close the log file and release the run."""
        if self.log is not None:
            logging.root.removeHandler(self.log)
            self.log.close()
        self.log = self.display = self.cfg = self.trainer = None
        self.config = ""

    def write_config(self) -> None:
        """Write the configuration of the run, once."""
        if self.config:
            write_text(Path(self.cfg.checkpoint.save_dir, "config.yaml"), self.config)
            self.config = ""

    def header(self, size: int) -> None:
        """Print the header once, at the first update, when data is loaded and a checkpoint restored.

        Args:
            size: updates of an epoch.
        """
        if self.has_header:
            return
        self.has_header = True
        self.write_config()
        cfg, trainer, model = self.cfg, self.trainer, self.trainer.get_model()
        if self.display.updates is None and cfg.optimization.max_epoch:
            self.display.updates = size * cfg.optimization.max_epoch
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        total = sum(p.numel() for p in model.parameters())
        part = f", {trained:,} of them trained" if trained < total else ""
        start = f"; continues at update {trainer.get_num_updates():,}" if trainer.get_num_updates() else ""
        sizes = sorted(trainer.task.datasets.items(), key=lambda pair: pair[0] != cfg.dataset.train_subset)
        data = ", ".join(f"{name} {len(items):,}" for name, items in sizes)
        updates = f"{self.display.updates:,}" if self.display.updates else "no limit"
        self.display.header({
            "model": f"{cfg.model._name}, {total:,} parameters{part}",
            "data": f"{cfg.task.data} ({data})",
            "updates": f"{updates}, {size:,} per epoch{start}",
            "device": "CPU" if self.display.on_cpu else torch.cuda.get_device_name(),
            "writes to": f"{cfg.checkpoint.save_dir} (train.log, config.yaml)",
        })  # fmt: skip

    def finish(self) -> None:
        """Show the end of a run: best value, files, and the command that usually follows."""
        folder = self.cfg.checkpoint.save_dir
        if not os.path.exists(os.path.join(folder, "config.yaml")):
            self.write_config()  # a run without an update, whose options were not used, keeps that of an earlier one
        names = [n for n in ("checkpoint_best.pt", "checkpoint_last.pt") if os.path.exists(os.path.join(folder, n))]
        following = NEXT.get(str(self.cfg.task._name))
        best = os.path.join(folder, names[0]) if names else folder
        self.display.done = self.trainer.get_num_updates()
        self.display.finish(
            time.monotonic() - self.began,
            {"files": f"{folder}: {', '.join(names) or 'no checkpoint'}"},
            following.format(dir=folder, best=best) if following and names else None,
        )
        self.end()


def install(make_display: Callable, separate: Callable[[DictConfig], None]) -> None:
    """Put the console in place.

    Args:
        make_display: :class:`plugins.jobs.display.Display`.
        separate: called with the configuration of each run before anything is written.
    """
    from fairseq import trainer
    from fairseq.distributed import utils as distributed_utils
    from fairseq.logging import progress_bar

    for category, message in NOISE:
        warnings.filterwarnings("ignore", message=message, category=category)
    wrap(trainer, "_catalog_shared_params", shared_params)
    repaired("shared parameters", "absent biases are not listed as shared")
    console = Console(make_display)
    logging.getLogger("fairseq_cli.train").addFilter(lambda record: watch(record, console, separate))
    wrap(progress_bar, "progress_bar", functools.partial(new_bar, console))
    wrap(trainer.Trainer, "__init__", functools.partial(note_trainer, console))
    wrap(distributed_utils, "call_main", functools.partial(leave_nothing, console))
    repaired("console", "fairseq-train prints a summary; the full log goes to train.log in the save directory")


def watch(record: logging.LogRecord, console: Console, separate: Callable[[DictConfig], None]) -> bool:
    """Detect the two records that mark the beginning and the end of a run."""
    if isinstance(record.msg, DictConfig):
        separate(record.msg)
        return not console.begin(record.msg)
    if console.display is not None and str(record.msg).startswith("done training in"):
        console.finish()
    return True


def leave_nothing(console: Console, original: Callable, cfg: Any, main: Callable, **kwargs: Any) -> Any:
    """Run ``main``; after an error of the user before the first update, remove a new log and new empty folders."""
    if main.__module__ not in ("fairseq_cli.train", "__main__"):  # other programs save nothing
        return original(cfg, main, **kwargs)
    log = Path(cfg.checkpoint.save_dir, "train.log")
    missing, is_new = missing_parents(log), not log.exists()
    console.has_header = False  # of an earlier run of this process
    try:
        return original(cfg, main, **kwargs)
    except BaseException as error:
        if not find_user_error(error):
            console.write_config()  # it is needed to find out why the run ended
        elif not console.has_header:
            if console.log is not None and is_new:
                log.unlink(missing_ok=True)
            console.end()
            remove_empty(missing)
        raise


def note_trainer(console: Console, original: Callable, self: Any, *args: Any, **kwargs: Any) -> None:
    """Initialize a trainer as fairseq does, and pass it to the console."""
    original(self, *args, **kwargs)
    console.trainer = self


def is_for_people(record: logging.LogRecord) -> bool:
    """Whether a record goes to the console: warnings, and records of this package."""
    return record.levelno >= logging.WARNING or record.name.startswith("plugins")


def new_bar(console: Console, original: Callable, iterator: Any, log_format: str | None = None, **options: Any) -> Any:
    """Return fairseq's progress bar; it also reports to the display."""
    if console.display is None:
        return original(iterator, log_format=log_format, **options)
    bar = original(iterator, log_format="simple", **options)  # writes to train.log
    return ReportingBar(bar, console, training=options.get("prefix") is None)


class ReportingBar:
    """A progress bar of fairseq that also reports to a :class:`Display`."""

    def __init__(self, bar: Any, console: Console, training: bool):
        self._bar, self._console, self._training = bar, console, training

    def __getattr__(self, name: str):
        return getattr(self._bar, name)

    def __len__(self) -> int:
        return len(self._bar)

    def __iter__(self) -> Iterator[Any]:
        console = self._console
        if self._training and console.display is not None:
            console.header(len(self._bar))
        for item in self._bar:
            if self._training and console.display is not None:
                console.display.update(console.trainer.get_num_updates())
            yield item

    def log(self, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
        """Log training statistics, see fairseq's ``BaseProgressBar``; the display shows them too."""
        self._bar.log(stats, tag=tag, step=step)
        if self._training and self._console.display is not None:
            self._console.display.train(stats, step)

    def print(self, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
        """Log the statistics of an epoch or a validation, see fairseq's ``BaseProgressBar``."""
        self._bar.print(stats, tag=tag, step=step)
        console = self._console
        if self._training or console.display is None:
            return
        first = tag == console.cfg.dataset.valid_subset.split(",")[0]
        console.display.validation(tag, stats, step, first)


def shared_params(original: Callable, module: torch.nn.Module, *args: Any) -> list[list[str]] | None:
    """Omit parameters that are None, which fairseq mistakes for one shared parameter."""
    found = original(module, *args)
    if found is None:  # an inner call of the recursion
        return None
    return [names for names in found if get(module, names[0]) is not None]


def get(module: torch.nn.Module, path: str) -> Any:
    """Return the submodule at a dotted path."""
    for name in path.split("."):
        module = getattr(module, name)
    return module
