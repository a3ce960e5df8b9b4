"""Check the options of jobs before any of them starts."""

import contextlib
import io
import logging
from collections.abc import Sequence

from plugins.errors import UserError

from .job import Job


def check(jobs: Sequence[Job]) -> None:
    """Parse the command of each job that runs ``fairseq-train``, as it does when it starts.

    Raises:
        UserError: an option is unknown or has an invalid value, or ``--user-dir`` cannot be imported; the job is named.
    """
    trained = [job for job in jobs if job.trains]
    level = logging.root.manager.disable
    logging.disable(logging.INFO)  # the defaults that each task fills in
    try:
        for job in trained:
            _parse(job)
    finally:
        logging.disable(level)


def _parse(job: Job) -> None:
    from fairseq import options

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(complaint):
            options.parse_args_and_arch(options.get_training_parser(), list(map(str, job.command[1:])))
    except SystemExit:
        lines = complaint.getvalue().strip().splitlines() or ["these options start no training"]
        raise UserError(f"{job.name}: fairseq-train: {lines[-1].partition('error: ')[2] or lines[-1]}") from None
    except (UserError, ImportError, OSError) as error:  # the last two: a --user-dir that cannot be imported
        raise UserError(f"{job.name}: fairseq-train: {error}") from None
