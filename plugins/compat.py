"""Everything that touches the insides of fairseq, torch and hydra, and nothing else.

Each repair is a small wrapper, put in place by :func:`install` when the package is imported, and named in
:data:`REPAIRS`. ``scripts/doctor.py`` prints that list.
"""

import argparse
import atexit
import contextlib
import functools
import importlib.util
import logging
import os
import pickle
import queue
import re
import sys
import time
import weakref

import numpy as np
import torch
from omegaconf import open_dict

from plugins.errors import UserError, report_in_one_line

ALIASES = {"--finetune-from": "--finetune-from-model"}
REPAIRS = []  # (name, what it does), filled by install()
READERS = weakref.WeakSet()  # threads that read batches ahead

# Plain data that fairseq's checkpoints hold beside tensors: options of the command line, and numbers of numpy.
PLAIN_DATA = [
    argparse.Namespace,
    np.dtype,
    np._core.multiarray.scalar,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # its name before numpy 2
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
]


def import_fairseq():
    """Import fairseq, keeping the root logger as it is: one of its speech models sets it to DEBUG for everyone."""
    root, disabled = logging.root, logging.root.manager.disable
    level, handlers = root.level, root.handlers[:]
    logging.disable(logging.INFO)  # it announces each optional package that it does not find
    try:
        import fairseq  # noqa: F401
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers


def install(adopt_checkpoint, hub_interface, complete_options=None):
    """Put every repair in place.

    Args:
        adopt_checkpoint: called with (state, overrides, path) on each checkpoint that fairseq reads.
        hub_interface: the class that ``RobertaModel.from_pretrained`` returns.
        complete_options: called with (program, {option: value}) of a command line; returns options to add to it.
    """
    from fairseq import checkpoint_utils, options
    from fairseq.data import data_utils, iterators
    from fairseq.distributed import utils as distributed_utils
    from fairseq.file_io import PathManager
    from fairseq.models.roberta import model as roberta
    from fairseq.optim import AMPOptimizer, FP16Optimizer
    from fairseq.trainer import Trainer

    if REPAIRS:
        return
    torch.serialization.add_safe_globals(PLAIN_DATA)
    repaired("safe checkpoints", "torch's weights-only reader accepts the plain data in fairseq checkpoints, no code")
    wrap(checkpoint_utils, "load_checkpoint_to_cpu", functools.partial(load_checkpoint, adopt_checkpoint))
    repaired("checkpoint reading", "errors name the file; checkpoints of EIFY/fairseq become clap_roberta's")
    roberta.RobertaHubInterface = hub_interface
    repaired("fill_mask", "RobertaModel.from_pretrained pairs each score with its token and never downloads")
    PathManager.copy = staticmethod(functools.partial(copy_whole, PathManager.copy))
    repaired("checkpoint_last.pt", "is replaced as a whole; fairseq copies into it, and a killed run leaves half")
    wrap(options, "parse_args_and_arch", functools.partial(parse_args, complete_options))
    repaired("--bf16", "means bfloat16 on a GPU; fairseq takes it for a request for a TPU")
    repaired("--finetune-from", "is short for --finetune-from-model")
    repaired("--help", "shows the options of the model, task, criterion and optimiser that were chosen")
    repaired("recipes", "a task sets the options that its paper trained with and the command line does not give")
    wrap(data_utils, "raise_if_valid_subsets_unintentionally_ignored", look_for_subsets)
    repaired("data in a file", "fairseq lists the folder that data names to look for validation subsets")
    wrap(Trainer, "__init__", checked_trainer)
    repaired("preflight", "half precision without a GPU, and torchrun on a CPU, end with an explanation")
    wrap(FP16Optimizer, "build_fp32_params", build_fp32_params)
    repaired("half precision", "fused_adamw's groups hold with --fp16 and --bf16, whose float32 copies lose them")
    wrap(AMPOptimizer, "step", amp_step)
    repaired("--amp", "undoes the scale of the gradients once; fairseq does so again if they were clipped")
    wrap(distributed_utils, "all_gather_list", all_gather_list)
    repaired("gathering", "works on a CPU too; fairseq gathers in buffers on a GPU")
    repaired("several workers", "each reads the checkpoint; fairseq would send options that the safe reader refuses")
    wrap(iterators.BufferedIterator, "_create_consumer", note_reader)
    atexit.register(stop_reading_ahead)
    repaired("reading ahead", "its threads end before the program does, which they could abort")
    stand_where_the_user_stands()
    repaired("hydra paths", "relative paths are read from where the user stands, not from hydra's output folder")
    if any(name.startswith("fairseq_cli") for name in sys.modules):
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or hydra prints its own traceback and the hook sees nothing
        report_in_one_line()


def repaired(name, what):
    REPAIRS.append((name, what))


def wrap(owner, name, wrapper):
    """Replace ``owner.name`` by ``wrapper(original, ...)``."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args, **kwargs):
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, wrapped)


# Checkpoints


def load_checkpoint(adopt, original, path, arg_overrides=None, load_on_all_ranks=False):
    """Read a checkpoint as fairseq does, with errors that name the file, then let ``adopt`` look at it.

    The overrides are applied after ``adopt``, which must see what the checkpoint itself says.
    """
    from fairseq.dataclass.utils import overwrite_args_by_name

    with named_errors(path):
        state = original(path, None, load_on_all_ranks)
    overrides = arg_overrides or {}
    adopt(state, overrides, path)
    if state.get("args") is not None:
        vars(state["args"]).update(overrides)
    if state.get("cfg") is not None:
        overwrite_args_by_name(state["cfg"], overrides)
    return state


def read_state(path):
    """Return the raw content of a checkpoint, tensors mapped from the file rather than read.

    Raises:
        UserError: missing, truncated, or holding anything that could run code.
    """
    with named_errors(path):
        state = load_mapped(path)
        if not isinstance(state, dict) or "model" not in state:
            raise RuntimeError("no model in it")
        return state


def read_tensors(path):
    """Return {name: tensor} of a file that holds nothing else, mapped from the file.

    Raises:
        UserError: as :func:`read_state`.
    """
    with named_errors(path, "a file of tensors"):
        tensors = load_mapped(path)
        if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
            raise RuntimeError("something else in it")
        return tensors


def load_mapped(path):
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except RuntimeError as error:
        if "mmap" not in str(error):  # the format before torch 1.6 cannot be mapped
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


@contextlib.contextmanager
def named_errors(path, what="a checkpoint of fairseq"):
    """Turn what torch and fairseq raise on a bad checkpoint into one line that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UserError:
        raise
    except (pickle.UnpicklingError, EOFError, OSError, RuntimeError, TypeError, KeyError, ValueError) as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise UserError(f"{path}: truncated, or not {what}; get the file again") from error
        raise UserError(
            f"{path}: refused, for it holds {culprit.group(1)}, which is not plain data and could run code when loaded"
        ) from error


def copy_whole(original, source, target, *args, **kwargs):
    """Copy to a temporary name, then rename."""
    part = f"{target}.part"
    done = original(source, part, *args, **kwargs)
    os.replace(part, target)
    return done


def starting_checkpoint(save_dir, restore_file, finetune_from_model):
    """Return the checkpoint that ``fairseq-train`` with these options will start from, or None.

    Mirrors ``fairseq.checkpoint_utils.load_checkpoint``: a run that can be resumed is resumed.
    """
    candidates = [finetune_from_model]
    if restore_file and save_dir:
        is_default = restore_file == "checkpoint_last.pt"
        candidates.insert(0, os.path.join(save_dir, restore_file) if is_default else restore_file)
    for path in candidates:
        if path and not path.startswith("${") and os.path.exists(path):
            return path
    return None


# Command lines


def parse_args(complete_options, original, parser, input_args=None, *args, modify_parser=None, **kwargs):
    """Parse as fairseq does, but print the help when the parser is complete, and take --bf16 for what it says.

    Options that ``complete_options`` adds are put in front of the user's.

    fairseq parses once to learn which model and task are meant, and prints the help then, without their options. And
    it sets ``args.tpu = True`` whenever it meets --bf16.
    """
    given = [unalias(argument) for argument in (sys.argv[1:] if input_args is None else input_args)]
    if {"-h", "--help"} & set(given):
        given = [argument for argument in given if argument not in ("-h", "--help")]
        modify_parser = print_help_when_complete()
    added = complete_options(program_of(parser), options_given(parser, given)) if complete_options else {}
    given = [*as_arguments(added), *given]
    parsed = original(parser, given, *args, modify_parser=modify_parser, **kwargs)
    namespace = parsed[0] if isinstance(parsed, tuple) else parsed
    if getattr(namespace, "bf16", False) and importlib.util.find_spec("torch_xla") is None:
        namespace.tpu = False
    return parsed


def program_of(parser):
    """Tell which of fairseq's programs a parser belongs to: their parsers have no name."""
    flags = parser._option_string_actions
    programs = {"--arch": "train", "--context-window": "eval_lm", "--valid-subset": "validate"}
    return next((program for flag, program in programs.items() if flag in flags), None)


def options_given(parser, arguments):
    """Return {option: its last value, as text} of a command line, also of options that the parser does not know yet."""
    given = {}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag.startswith("--") or flag in parser._option_string_actions:
            action = parser._option_string_actions.get(flag)
            name = action.dest if action else flag.lstrip("-").replace("-", "_")
            given[name] = value if equals else following
    return given


def as_arguments(options):
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        yield flag if value is True else f"{flag}={value}"


def look_for_subsets(original, cfg):
    """Leave data that is a file, or several, to its task."""
    if all(os.path.isdir(path) for path in str(getattr(cfg.task, "data", None) or "").split(os.pathsep)):
        original(cfg)


def unalias(argument):
    """Spell the short forms of fairseq's flags out."""
    name, equals, value = str(argument).partition("=")
    return ALIASES[name] + equals + value if name in ALIASES else argument


def print_help_when_complete():
    """Return a function that fairseq calls on its parser twice: before and after the options of the parts are added."""
    parsers = []

    def modify(parser):
        parsers.append(parser)
        if len(parsers) == 2:
            parser.print_help()
            parser.exit()

    return modify


def checked_trainer(original, self, cfg, *args, **kwargs):
    """Refuse what would otherwise end in an assertion of CUDA, or in silence, before any training."""
    check_precision(cfg.common)
    check_world_size(cfg)
    with open_dict(cfg):
        cfg.checkpoint.load_checkpoint_on_all_dp_ranks = True
        if getattr(cfg.optimizer, "_name", None) == "fused_adamw":
            cfg.common.fp16_no_flatten_grads = True  # one flat vector does not tell a matrix from a bias
    return original(self, cfg, *args, **kwargs)


def build_fp32_params(original, args, params, flatten=True):
    """Copy what ``fused_adamw`` groups parameters by to their float32 copies, unless they are one flat vector."""
    copies = original(args, params, flatten=flatten)
    if not flatten:
        for copy, param in zip(copies, params, strict=True):
            for mark in ("no_weight_decay", "lr_scale"):
                if hasattr(param, mark):
                    setattr(copy, mark, getattr(param, mark))
    return copies


def amp_step(original, self):
    """Step the optimiser whose gradients ``clip_grad_norm`` unscaled: the scaler knows torch's, not fairseq's."""
    self.scaler.step(self.optimizer)
    self.scaler.update()


def check_precision(common):
    if common.cpu or not torch.cuda.is_available():
        why = "--cpu was given" if common.cpu else "torch sees no GPU"
        for flag in ("fp16", "memory_efficient_fp16", "bf16", "memory_efficient_bf16", "amp"):
            if getattr(common, flag, False):
                raise UserError(f"--{flag.replace('_', '-')} needs a GPU, and {why}; leave it out to train in float32")


def check_world_size(cfg):
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > 1 and cfg.distributed_training.distributed_world_size == 1:
        raise UserError(
            f"{launched} processes were launched, but fairseq sees one and each would train a copy of its own; on a "
            "CPU give every process --distributed-world-size, --distributed-rank, --distributed-no-spawn, "
            "--distributed-init-method file://..., --distributed-backend gloo and --ddp-backend legacy_ddp"
        )


def all_gather_list(original, data, group=None, max_size=16384):
    """Return what each worker gives, in the order of their ranks."""
    if torch.cuda.is_available():
        return original(data, group=group, max_size=max_size)
    gathered = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(gathered, data, group=group)
    return gathered


def note_reader(original, self):
    """Start the thread that reads batches ahead for a ``BufferedIterator``, and know of it."""
    original(self)
    READERS.add(self._consumer)


def stop_reading_ahead(patience=5.0):
    """End those threads before Python does: one that handles tensors then aborts the program, its work long done."""
    deadline = time.monotonic() + patience
    for reader in READERS:
        reader._max_len = 0  # the batch that it is at is its last
        while reader.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                reader._queue.get(timeout=0.01)  # it waits for room, or is done


def uncompiled(model):
    """Return a context in which a model runs as it is written, though parts of it may be compiled: hooks need that."""
    compiled = any(part._compiled_call_impl is not None for part in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()


def stand_where_the_user_stands():
    """Leave the folder that hydra changed to before this package could be imported."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is not None and hydra.HydraConfig.initialized():
        os.chdir(hydra.HydraConfig.get().runtime.cwd)
