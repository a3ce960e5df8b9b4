"""Run many training jobs on this machine or a cluster, each in its own folder, and skip finished ones.

A :class:`Job` is a command (usually ``fairseq-train``) and the folder that it trains in. :class:`Runner` starts as many
jobs at a time as allowed, shows one progress bar with an estimate, and returns what each job's ``finish`` function
computed::

    from plugins.jobs import Job, Resources, Runner

    def accuracy(folder: Path, device: str) -> dict:        # runs where the job ran; returns plain JSON data
        return {"accuracy": evaluate(folder / "checkpoint_best.pt", device)}

    jobs = [
        Job(f"seed{seed}", ("fairseq-train", *arguments, "--seed", str(seed)), updates=1000, finish=accuracy)
        for seed in (1, 2, 3)
    ]
    with Runner("checkpoints/mine", Resources(at_a_time=2, threads=1), total=len(jobs)) as runner:
        results = runner.run(jobs)                          # {"seed1": {"accuracy": ...}, ...}

``run`` can be called again in the same block: jobs that start from another job's checkpoint are a second stage.
``--save-dir`` is added to every ``fairseq-train`` command. The launcher is part of :class:`Resources`:
``Resources(launcher="submitit", partition="gpu", gpus_per_job=1, timeout_min=240)`` submits every job to SLURM with the
library submitit (extra ``[cluster]``), or runs it through submitit's local executor where there is no SLURM.

**What a folder contains.** ``run.json`` (the job's identity, whether it finished, its result), the log (``train.log``),
the checkpoints, and ``.lock`` while a process works there (see :mod:`plugins.locks`).

**Resuming.** A job is identified by ``Job.identity`` (default: its command). The same identity again is skipped if the
job finished and its log and checkpoints are whole, continued from its last checkpoint if it was interrupted, and joined
if it still runs, for example after its parent was killed: the training process writes the log. Another identity in
the folder is an error, or with ``Runner(changed="redo")`` deletes what is there and starts again. A command that
writes what its jobs read holds :func:`exclusive`, so that a second one with the same output ends with an error.
"""

from .inputs import digest, of_commands
from .job import Job
from .resources import Resources, free_memory, how_many, visible_gpus
from .runner import Runner, exclusive

__all__ = [
    "Job", "Resources", "Runner", "digest", "exclusive", "free_memory", "how_many", "of_commands", "visible_gpus",
]  # fmt: skip
