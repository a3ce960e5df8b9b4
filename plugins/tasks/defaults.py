"""Default options of a task, so that a bare command line trains like the task's paper or a published configuration.

An option is written as fairseq stores it: ``max_update`` for ``--max-update``; ``True`` for a switch. The options that
are filled in are logged in one line; ``--no-recipe`` leaves them out.
"""

import ast
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from plugins import checkpoints

# Language models on windows of text
WINDOWS: dict[str, Any] = {
    "optimizer": "fused_adamw",
    "lr_scheduler": "cosine",
    "clip_norm": 1.0,
    "num_workers": 0,  # a batch takes a tenth of a millisecond
    # Every 250 updates and at the end; not at the end of an epoch, which is a number of windows without meaning.
    "validate_interval_updates": 250,
    "save_interval_updates": 250,
    "keep_interval_updates": 1,
    "validate_interval": 10**6,
    "save_interval": 10**6,
    "no_epoch_checkpoints": True,
    "log_interval": 50,
}
# Fine-tuning on documents and summaries
SUMMARIZATION: dict[str, Any] = {
    "criterion": "summarization",
    "optimizer": "fused_adamw",
    "lr": 1e-3,  # for LoRA and prompts, as in the report; full tuning needs a lower one
    "clip_norm": 1.0,
    "max_tokens": 4096,
    "num_workers": 0,
    "no_epoch_checkpoints": True,
    "log_interval": 50,
}
ADAM = {"adam_eps": 1e-8, "weight_decay": 0.1}
ADAMW = ("fused_adamw", "adamw_8bit")  # optimizers with these options
BY_TASK: dict[str, dict[str, Any]] = {
    "char_lm": {
        "criterion": "style_lm",
        "lr": 1e-3,
        "adam_betas": "(0.9,0.99)",
        "batch_size": 64,
        "batch_size_valid": 64,
        "max_update": 5000,
    },
    # nanoGPT's, but few updates of few windows, which a CPU can do
    "causal_lm": {
        "criterion": "causal_lm",
        "lr": 6e-4,
        "adam_betas": "(0.9,0.95)",
        "batch_size": 8,
        "batch_size_valid": 8,
        "max_update": 2000,
    },
}
# All of the validation text, evaluated every 250 updates of 768 characters, would take a quarter of the time.
NANO = {"batch_size": 12, "max_update": 2000, "validate_interval_updates": 1000, "save_interval_updates": 1000}
MOST_WARMUP = 100  # updates; a fifth of a run that is shorter than five times that

# Masked LMs: what all sizes share, and the size
MASKED_LM: dict[str, Any] = {
    "criterion": "clap_masked_lm",
    "optimizer": "fused_adamw",
    "lr_scheduler": "polynomial_decay",
    "ignore_unused_valid_subsets": True,
    "skip_invalid_size_inputs_valid_test": True,  # training always does this; otherwise one long line stops the run
    "no_epoch_checkpoints": True,
    "keep_interval_updates": 1,
    "validate_interval": 10**6,  # by updates, because an epoch can be seconds or days
    "save_interval": 10**6,
}
LAPTOP: dict[str, Any] = {"tokens_per_sample": 128, "batch_size": 32, "num_workers": 0, "log_interval": 50,
          "validate_interval_updates": 250, "save_interval_updates": 250}  # fmt: skip
CLUSTER: dict[str, Any] = {"tokens_per_sample": 512, "max_update": 125000, "log_interval": 200, "warmup_updates": 10000,
           "validate_interval_updates": 5000, "save_interval_updates": 5000}  # fmt: skip
MASKED_LM_BY_SIZE: dict[str, dict[str, Any]] = {
    "tiny": LAPTOP | {"lr": 1e-3, "max_update": 2000, "warmup_updates": 200},
    "small": LAPTOP | {"lr": 5e-4, "max_update": 5000, "warmup_updates": 500},
    "base": CLUSTER | {"lr": 5e-4, "batch_size": 16, "update_freq": "16"},
    "large": CLUSTER | {"lr": 4e-4, "batch_size": 8, "update_freq": "32"},
}
MASKED_LM_ADAM = {"adam_betas": "(0.9,0.98)", "adam_eps": 1e-6, "weight_decay": 0.01}

SOURCES = {
    "char_lm": "nanoGPT, config/train_shakespeare_char.py",
    "causal_lm": "nanoGPT, config/train_gpt2.py, with fewer and smaller updates",
    "summarization": "examples/summarization",
    "tiny": "examples/clap_roberta/config/recipe/tiny.yaml",
    "small": "examples/clap_roberta/config/recipe/small.yaml",
    "base": "examples/clap_roberta/config/recipe/wikitext103.yaml",
    "large": "examples/clap_roberta/config/recipe/wikitext103.yaml, with the learning rate of large_pile.yaml",
}
# task options that determine how text is read and split; evaluation must use the values of the checkpoint
INHERITED = ("unit", "style_from", "style_key", "jsonl_key", "valid_fraction", "test_fraction")
BATCH_SIZES = {"char_lm": 64, "causal_lm": 8, "clap_masked_lm": 32, "glue": 32}  # for validation; others: 32


class Defaults(NamedTuple):
    """Options to add to a command line, {option: value}, and where they come from."""

    options: dict[str, Any]
    source: str


def complete(program: str | None, given: Mapping[str, str]) -> Defaults:
    """Return the options to add to a command line.

    Args:
        program: "train", "validate" or "eval_lm".
        given: {option: its value, as text} of the command line.

    Returns:
        Defaults without the options that are given.
    """
    chosen, source = choose(program, given)
    if "max_tokens" in given:
        chosen.pop("batch_size", None)
    return Defaults({name: value for name, value in chosen.items() if name not in given}, source)


def choose(program: str | None, given: Mapping[str, str]) -> Defaults:
    """Return the default options of the task, given or not."""
    task, path = given.get("task"), given.get("path")
    if program in ("eval_lm", "validate") and path and task is None:
        return of_checkpoint(program, given)
    if program == "eval_lm" and task in BY_TASK and path:
        return of_checkpoint(program, given)
    if task == "summarization":
        return Defaults(summarization(program, given), SOURCES[task])
    if program == "validate" and task in BATCH_SIZES:
        return Defaults({"batch_size": BATCH_SIZES[task]}, f"--task {task}")
    if program == "train" and task in BY_TASK:
        return Defaults(windows(given), SOURCES[task])
    if program == "train" and task == "clap_masked_lm" and not is_complete(given):
        return Defaults(masked_lm(given), SOURCES[size_of(given)])
    return Defaults({}, "")


# Training


def summarization(program: str | None, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options for training on summaries, or for evaluation."""
    options = SUMMARIZATION if program == "train" else {"max_tokens": SUMMARIZATION["max_tokens"]}
    options = options | on_cpu()
    if "batch_size" in given:
        del options["max_tokens"]
    return options


def windows(given: Mapping[str, str]) -> dict[str, Any]:
    """Return nanoGPT's training options, without those of other optimizers or schedules than the user's."""
    options = WINDOWS | BY_TASK[given["task"]] | (NANO if "nano" in given.get("arch", "") else {}) | on_cpu()
    betas = {"adam_betas": options.pop("adam_betas")}
    if given.get("optimizer", options["optimizer"]) in ADAMW:
        options |= betas | ADAM
    rate = number(given.get("lr"), options["lr"])
    options["lr"] = rate
    if given.get("lr_scheduler", options["lr_scheduler"]) == "cosine":
        updates = max(0, int(number(given.get("max_update"), options["max_update"])))
        warmup = max(0, int(number(given.get("warmup_updates"), min(MOST_WARMUP, updates // 5))))
        options |= {"min_lr": rate / 10, "warmup_updates": warmup, "warmup_init_lr": rate / (warmup + 1)}
    return options


def masked_lm(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the pretraining options of a masked LM of the architecture's size; the learning rate decays to 0.

    Options of another optimizer or schedule than the user's are left out.
    """
    options = MASKED_LM | MASKED_LM_BY_SIZE[size_of(given)] | on_cpu()
    warmup = options.pop("warmup_updates")
    if given.get("optimizer", options["optimizer"]) in ADAMW:
        options |= MASKED_LM_ADAM
    if given.get("lr_scheduler", options["lr_scheduler"]) == "polynomial_decay":
        updates = int(number(given.get("max_update"), options["max_update"]))
        options |= {"total_num_update": updates, "warmup_updates": min(warmup, updates // 10)}
    return options


def is_complete(given: Mapping[str, str]) -> bool:
    """Return whether a masked-LM command line names its criterion, optimizer and batch size, so needs no defaults."""
    return {"criterion", "optimizer"} <= given.keys() and not {"batch_size", "max_tokens"}.isdisjoint(given)


def size_of(given: Mapping[str, str]) -> str:
    """Return the size that the name of the architecture ends in, else ``base``."""
    size = given.get("arch", "").rpartition("_")[2]
    return size if size in MASKED_LM_BY_SIZE else "base"


def on_cpu() -> dict[str, bool]:
    """Return ``--cpu`` unless there is a GPU."""
    return {} if torch.cuda.is_available() else {"cpu": True}


# Evaluation


def of_checkpoint(program: str, given: Mapping[str, str]) -> Defaults:
    """Return the task of a checkpoint and, for tasks of this package, its options for reading text.

    Raises:
        UserError: the checkpoint cannot be read; with "validate": nothing registers its model or task.
    """
    path = given["path"].split(os.pathsep)[0]
    state = checkpoints.read_state(path)
    saved = checkpoints.stored_options(state)[1]
    task = saved.get("_name", saved.get("task"))
    if program == "validate":
        checkpoints.check_names(state, path)
        options = {"task": task, "batch_size": BATCH_SIZES.get(str(task), BATCH_SIZES["clap_masked_lm"])}
        options |= summarization(program, given) if task == "summarization" else {}
        return Defaults({k: v for k, v in options.items() if v is not None}, f"the task of {path}")
    if task not in BY_TASK or given.get("task") not in (None, task):
        return Defaults({}, "")
    options = {name: saved[name] for name in INHERITED if saved.get(name) is not None}
    has_test = given.get("test_data") or number(given.get("test_fraction"), options.get("test_fraction", 0))
    return Defaults(options | {"task": task, "gen_subset": "test" if has_test else "valid"}, f"the task of {path}")


def number(text: str | None, default: float) -> float:
    """Return the number, or the first of a list, that an option has; the default if it is neither."""
    if text is None:
        return default
    try:
        value = ast.literal_eval(text)
        return float(value[0] if isinstance(value, (list, tuple)) else value)
    except (ValueError, SyntaxError, TypeError, IndexError):
        return default
