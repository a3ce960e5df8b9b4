"""The only package that patches or relies on private parts of fairseq, torch and hydra; one file per subject.

Each file names the defect that it repairs, and a public report of it where one was found. :func:`install` puts every
repair in place when ``plugins`` is imported and lists it in :data:`REPAIRS`, which ``scripts/doctor.py`` prints.
"""

from collections.abc import Callable

from . import (
    allocator,
    best_checkpoint,
    command_line,
    console,
    distributed,
    hydra,
    literals,
    locking,
    network,
    optimizers,
    precision,
    preflight,
    quantization,
    sharding,
    signals,
    threads,
    trainer,
)
from .compiling import uncompiled
from .importing import import_fairseq, report_errors
from .patching import REPAIRS

__all__ = ["REPAIRS", "import_fairseq", "install", "report_errors", "uncompiled"]


def install(
    adopt_checkpoint: Callable,
    hub_interface: type,
    complete_options: Callable | None = None,
    make_display: Callable | None = None,
) -> None:
    """Put every repair in place; a second call does nothing.

    Args:
        adopt_checkpoint: see :func:`plugins.compat.checkpoint_files.install`.
        hub_interface: the class that ``RobertaModel.from_pretrained`` returns.
        complete_options: see :func:`plugins.compat.command_line.install`.
        make_display: see :func:`plugins.compat.console.install`.
    """
    if REPAIRS:
        return
    from . import checkpoint_files  # imports fairseq, which import_fairseq must do first

    literals.install()
    network.install()
    checkpoint_files.install(adopt_checkpoint, hub_interface)
    command_line.install(complete_options)
    locking.install()
    preflight.install()
    precision.install()
    quantization.install()
    trainer.install()
    allocator.install()
    best_checkpoint.install()
    optimizers.install()
    distributed.install()
    sharding.install()
    threads.install()
    if make_display is not None:
        console.install(make_display, hydra.begin_run)
    hydra.install()
    signals.install()
