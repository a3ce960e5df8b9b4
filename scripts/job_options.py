"""Options of the commands that train models, one job or many. Imports nothing heavy, so that ``--help`` is fast."""

import argparse
import os

from flags import positive, processes, rate

RUN_GLUE = "as scripts/run_glue.py"
INTERRUPTED = "interrupted; run the same command again to resume"


def add(parser: argparse.ArgumentParser, jobs: int | None, jobs_help: str) -> None:
    """Add the options of :class:`plugins.jobs.Resources`.

    Args:
        jobs: default of ``--jobs``.
        jobs_help: description of that default.
    """
    group = parser.add_argument_group("how the runs are launched")
    add = group.add_argument
    add("--jobs", type=processes, default=jobs, metavar="N", help=f"runs at a time (default: {jobs_help})")
    add("--threads", type=processes, default=1, metavar="N", help="CPU threads of each run (default: 1)")
    add("--launcher", choices=["local", "submitit"], default="local",
        help="local: child processes (default); submitit: SLURM jobs, which needs the extra [cluster]")  # fmt: skip
    add("--slurm-partition", metavar="NAME", help="SLURM partition of submitted runs (default: the cluster's)")
    add("--gpus-per-job", type=int, default=0, metavar="N", help="GPUs of each submitted run (default: 0)")
    add("--timeout-min", type=positive, default=1440, metavar="N",
        help="time limit of each submitted run in minutes; longer runs are resumed (default: 1440)")  # fmt: skip
    add("--mem-gb", type=rate, metavar="N", help="memory of each submitted run in GB (default: the cluster's)")


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


def add_fine_tuning(
    parser: argparse.ArgumentParser, epochs: int, lr: float | None, batch_size: int | None, otherwise: str = ""
) -> None:
    """Add ``--checkpoint`` and the options of its fine-tuning.

    Args:
        parser: the parser.
        epochs, lr, batch_size: the defaults; None: those of ``scripts/run_glue.py``.
        otherwise: what is used without a checkpoint; the empty string if it must be given.
    """
    group = parser.add_argument_group("fine-tuning")
    add, default = group.add_argument, f" (default: {otherwise})" if otherwise else ""
    add("--checkpoint", metavar="CKPT", help=f"pretrained model, with its tokenizer in the same folder{default}")
    add("--epochs", type=positive, default=epochs, metavar="N", help="passes over the training rows (%(default)s)")
    add("--lr", type=rate, default=lr, metavar="LR", help=f"peak learning rate ({lr or RUN_GLUE})")
    size = batch_size or RUN_GLUE
    add("--batch-size", type=positive, default=batch_size, metavar="N", help=f"rows in a batch ({size})")
    add("--options", metavar="'--FLAG ...'", help="more options of fairseq-train")
    add("--cpu", action="store_true", help="run on the CPU even if there is a GPU")


def add_cross_fitting(parser: argparse.ArgumentParser, folds: int) -> None:
    """Add the options of models that are trained on all folds but one, see :mod:`plugins.glue.cross_fitting`."""
    group = parser.add_argument_group("cross-fitting")
    add = group.add_argument
    add("--folds", type=int, default=folds, metavar="N", help="cross-validation folds (%(default)s)")
    add("--config", metavar="YAML", help="hyperparameters; see examples/glue/recipes")
    add("--frozen", action="store_true", help="train classification heads on frozen features instead of fine-tuning: "
        "faster; usable information is then that of the heads")  # fmt: skip
    add("--stacked", action="store_true", help="fine-tune all models in one process, as one model with stacked "
        "weights: fast for small models on a GPU; nothing is resumed")  # fmt: skip


def add_runs(
    parser: argparse.ArgumentParser, updates: int, batch_size: int, lr: float | None, seeds: int,
    items: str = "rows", of: str = "each setting",
) -> None:  # fmt: skip
    """Add the options of equal runs with several seeds, with these defaults; ``--lr`` only with one.

    Args:
        items: what a batch consists of.
        of: what is repeated with each seed.
    """
    add = parser.add_argument
    add("--updates", type=positive, default=updates, metavar="N", help="updates of each run (%(default)s)")
    add("--batch-size", type=positive, default=batch_size, metavar="N", help=f"{items} in a batch (%(default)s)")
    if lr is not None:
        add("--lr", type=rate, default=lr, metavar="LR", help="peak learning rate of each run (%(default)s)")
    add("--seeds", type=positive, default=seeds, metavar="N", help=f"number of seeds of {of} (%(default)s)")
