"""Reading, writing and copying of checkpoints in fairseq.

Defects: stock fairseq can neither resume nor load on torch >= 2.6, whose weights-only reader refuses its options; what
a file names is built without a check; ``checkpoint_last.pt`` is copied into place: a killed run leaves half of it; on a
full disk a checkpoint is written three times into one file, and then a traceback and ``.tmp`` files are left.

Reported: https://github.com/facebookresearch/fairseq/issues/5610 (weights-only reader).
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from omegaconf import OmegaConf

from plugins.checkpoints import allowed, reading, schema, writing
from plugins.errors import UserError, find_in_chain
from plugins.files import replacing

from .patching import repaired, wrap

LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)  # errors that a pause does not mend
PAUSE = 2.5  # seconds, as in fairseq
logger = logging.getLogger(__name__)


def install(adopt: Callable[[dict, dict, str], None], hub_interface: type) -> None:
    """Put the repairs in place.

    Args:
        adopt: called with (state, overrides, path) on each checkpoint that fairseq reads.
        hub_interface: the class that ``RobertaModel.from_pretrained`` returns.
    """
    from fairseq import checkpoint_utils
    from fairseq.file_io import PathManager
    from fairseq.models.roberta import model as roberta

    def load(original, path, arg_overrides=None, load_on_all_ranks=False):
        return load_checkpoint(adopt, path, arg_overrides)

    torch.serialization.add_safe_globals(reading.SAFE_GLOBALS)
    repaired("safe checkpoints", "torch's weights-only reader accepts the plain data in fairseq checkpoints, no code")
    wrap(checkpoint_utils, "load_checkpoint_to_cpu", load)
    repaired("checkpoint reading", "errors name the file; a file chooses among allowed classes; EIFY/fairseq's load")
    wrap(checkpoint_utils, "load_model_ensemble_and_task", load_models)
    roberta.RobertaHubInterface = hub_interface
    repaired("fill_mask", "RobertaModel.from_pretrained pairs each score with its token and never downloads")
    wrap(checkpoint_utils, "torch_persistent_save", save)
    repaired("full disks", "a checkpoint that cannot be written is a one-line error, and leaves no file")
    PathManager.copy = staticmethod(copy_atomically(PathManager.copy))
    repaired(
        "checkpoint_last.pt", "is replaced atomically; fairseq copies into it, and a killed run leaves a truncated file"
    )


def load_checkpoint(adopt: Callable, path: str, arg_overrides: dict | None = None) -> dict:
    """Read a checkpoint as ``fairseq.checkpoint_utils.load_checkpoint_to_cpu`` does, after checking it.

    The overrides are applied after ``adopt``, which must see the checkpoint's own options.

    Raises:
        UserError: see :mod:`plugins.checkpoints.reading`, :mod:`~plugins.checkpoints.schema` and
            :mod:`~plugins.checkpoints.allowed`.
    """
    from fairseq.checkpoint_utils import _upgrade_state_dict
    from fairseq.dataclass.utils import overwrite_args_by_name

    overrides = arg_overrides or {}
    with reading.named_errors(path):
        state = schema.check(reading.read_file(path, mapped=False), path)
        reading.check_integrity(path)
        schema.check_finite(state["model"], path)
        allowed.check(state, path)
        state.setdefault("optimizer_history", [dict(writing.BLANK_HISTORY)])
        state.setdefault("extra_state", {})
        if state.get("cfg") is not None:
            state["cfg"] = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
        state = _upgrade_state_dict(state)
        adopt(state, overrides, path)
        if state.get("args") is not None:
            vars(state["args"]).update(overrides)
        if state.get("cfg") is not None:
            overwrite_args_by_name(state["cfg"], overrides)
    return state


def load_models(original: Callable, filenames: Iterable[str], *args: Any, **kwargs: Any) -> Any:
    """Build models from checkpoints, with errors that name the file.

    Raises:
        UserError: a checkpoint is missing or cannot be read.
    """
    names = [str(name) for name in filenames]
    for name in names:
        if kwargs.get("state") is None and not os.path.exists(name) and not kwargs.get("suffix"):
            raise UserError(f"{name}: no such checkpoint")
    with reading.named_errors(os.pathsep.join(names)):
        return original(filenames, *args, **kwargs)


def save(original: Callable, content: Any, filename: str, async_write: bool = False) -> None:
    """Write a checkpoint atomically; try once more after an error that may pass, for example of a network file system.

    Raises:
        UserError: it cannot be written, for example because the disk is full.
    """
    from fairseq.file_io import PathManager

    if async_write or not PathManager.supports_rename(filename):
        original(content, filename, async_write)
        return
    try:
        write(content, filename)
    except UserError as error:
        cause = find_in_chain(error, OSError)
        if cause is None or cause.errno in LASTING:
            raise
        logger.warning("%s; trying once more", error)
        time.sleep(PAUSE)
        write(content, filename)


def write(content: Any, filename: str) -> None:
    """Write a checkpoint. torch would store the name of a path in the file, and the temporary one is random."""
    with replacing(filename) as part, part.open("wb") as file:
        torch.save(content, file)


def copy_atomically(original: Callable) -> Callable:
    """Return a copy function that writes to a temporary name, then renames."""

    def copy(source, target, *args, **kwargs):
        with replacing(target) as part:
            return original(source, str(part), *args, **kwargs)

    return copy
