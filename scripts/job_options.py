"""Options of the commands that run many jobs. Imports nothing heavy, so that ``--help`` is fast."""

import argparse
import os

INTERRUPTED = "interrupted; run the same command again to resume"


def add(parser: argparse.ArgumentParser, jobs: int | None, jobs_help: str) -> None:
    """Add the options of :class:`plugins.jobs.Resources`.

    Args:
        jobs: default of ``--jobs``.
        jobs_help: description of that default.
    """
    group = parser.add_argument_group("how the runs are launched")
    add = group.add_argument
    add("--jobs", type=positive, default=jobs, metavar="N", help=f"runs at a time (default: {jobs_help})")
    add("--threads", type=positive, default=1, metavar="N", help="CPU threads of each run (default: 1)")
    add("--launcher", choices=["local", "submitit"], default="local",
        help="local: child processes (default); submitit: SLURM jobs, which needs the extra [cluster]")  # fmt: skip
    add("--slurm-partition", metavar="NAME", help="SLURM partition of submitted runs (default: the cluster's)")
    add("--gpus-per-job", type=int, default=0, metavar="N", help="GPUs of each submitted run (default: 0)")
    add("--timeout-min", type=positive, default=1440, metavar="N",
        help="time limit of each submitted run in minutes; longer runs are resumed (default: 1440)")  # fmt: skip
    add("--mem-gb", type=float, metavar="N", help="memory of each submitted run in GB (default: the cluster's)")


def positive(text: str) -> int:
    """Convert an argument to a whole number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {number}")
    return number


def rate(text: str) -> float:
    """Convert an argument to a finite number above 0."""
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, but is {number:g}")
    return number


def fraction(text: str) -> float:
    """Convert an argument to a number above 0 and at most 1."""
    if not 0 < (number := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, but is {number:g}")
    return number


def resources(args: argparse.Namespace, cpu: bool = False):
    """Return the :class:`plugins.jobs.Resources` of the options; with ``--jobs`` unset, one job at a time."""
    from plugins.jobs import Resources

    return Resources(
        at_a_time=args.jobs or 1, threads=args.threads, cpu=cpu, launcher=args.launcher,
        partition=args.slurm_partition, gpus_per_job=args.gpus_per_job, timeout_min=args.timeout_min,
        mem_gb=args.mem_gb,
    )  # fmt: skip


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_fine_tuning(parser: argparse.ArgumentParser) -> None:
    """Add the options of fine-tuning that replaces a linear model where ``--checkpoint`` is given."""
    add = parser.add_argument
    add("--checkpoint", metavar="CKPT", help="pretrained model, tokenizer in the same folder (default: a linear model)")
    add("--epochs", type=positive, default=4, metavar="N", help="passes over the training rows (%(default)s)")
    add("--lr", type=rate, default=5e-4, metavar="LR", help="peak learning rate (%(default)s)")
    add("--batch-size", type=positive, default=32, metavar="N", help="rows in a batch (%(default)s)")
    add("--options", metavar="'--FLAG ...'", help="more options of fairseq-train")
    add("--cpu", action="store_true", help="run on the CPU even if there is a GPU")


def add_labeled_texts(parser: argparse.ArgumentParser) -> None:
    """Add the options that name labeled texts, which :func:`plugins.embeddings.texts.labeled` reads."""
    add = parser.add_argument
    add("data", metavar="DATA", help="folder of the labeled texts")
    add("--spec", metavar="FILE", help="YAML file that describes the rows")
    add("--glue-task", metavar="NAME", help="a GLUE task with one text per row (CoLA, for example)")
    add("--split", default="valid", help="train or valid (%(default)s)")
    add("--passage-words", type=positive, default=32, metavar="N",
        help="words per passage of CLASS.txt files (%(default)s)")  # fmt: skip
