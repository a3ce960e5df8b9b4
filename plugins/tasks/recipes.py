"""Options that a task sets where the user does not: what makes a bare command line train as its paper did.

An option is written as fairseq stores it: ``max_update`` for ``--max-update``; ``True`` for a switch.
"""

import ast

import torch

from plugins import checkpoints

# Language models on windows of text
WINDOWS = {
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
SUMMARIZATION = {
    "criterion": "summarization",
    "optimizer": "fused_adamw",
    "lr": 1e-3,  # of LoRA and prompts in the report; full tuning wants less
    "clip_norm": 1.0,
    "max_tokens": 4096,
    "num_workers": 0,
    "no_epoch_checkpoints": True,
    "log_interval": 50,
}
ADAM = {"adam_eps": 1e-8, "weight_decay": 0.1}
BY_TASK = {
    # nanoGPT, config/train_shakespeare_char.py, and its README for the CPU ("nano")
    "char_lm": {
        "criterion": "style_lm",
        "lr": 1e-3,
        "adam_betas": "(0.9,0.99)",
        "batch_size": 64,
        "batch_size_valid": 64,
        "max_update": 5000,
    },
    # nanoGPT, config/train_gpt2.py; but few updates of few windows, which a CPU can do
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

# of the task: how a checkpoint's text was read and split, which evaluation must do alike
INHERITED = ("unit", "style_from", "style_key", "jsonl_key", "valid_fraction", "test_fraction")


def complete(program, given):
    """Return the options to add to a command line.

    Args:
        program: "train", "validate" or "eval_lm".
        given: {option: its value, as text} of the command line.

    Returns:
        {option: value}; the user's own options are left out.
    """
    chosen = {}
    if program == "eval_lm" and given.get("task") in (None, *BY_TASK) and given.get("path"):
        chosen = evaluation(given)
    elif given.get("task") in BY_TASK:
        chosen = training(given) if program == "train" else {"batch_size": BY_TASK[given["task"]]["batch_size"]}
    elif given.get("task") == "summarization":
        chosen = summarization(program, given)
    if "max_tokens" in given:
        chosen.pop("batch_size", None)
    return {name: value for name, value in chosen.items() if name not in given}


def summarization(program, given):
    """Return how summaries are learned, or evaluated."""
    options = SUMMARIZATION if program == "train" else {"max_tokens": SUMMARIZATION["max_tokens"]}
    options = options | ({} if torch.cuda.is_available() else {"cpu": True})
    if "batch_size" in given:
        del options["max_tokens"]
    return options


def training(given):
    """Return nanoGPT's way to train, without options of another optimiser or schedule than the user's."""
    options = WINDOWS | BY_TASK[given["task"]] | (NANO if "nano" in given.get("arch", "") else {})
    betas = {"adam_betas": options.pop("adam_betas")}
    if not torch.cuda.is_available():
        options["cpu"] = True
    if given.get("optimizer", options["optimizer"]) == "fused_adamw":
        options |= betas | ADAM
    rate = number(given.get("lr"), options["lr"])
    options["lr"] = rate
    if given.get("lr_scheduler", options["lr_scheduler"]) == "cosine":
        updates = int(number(given.get("max_update"), options["max_update"]))
        warmup = int(number(given.get("warmup_updates"), min(MOST_WARMUP, updates // 5)))
        options |= {"min_lr": rate / 10, "warmup_updates": warmup, "warmup_init_lr": rate / (warmup + 1)}
    return options


def evaluation(given):
    """Return how the checkpoint's task read its text, if it is one of these, and the split that there is."""
    saved = ((checkpoints.read_state(given["path"]).get("cfg") or {}).get("task")) or {}
    if saved.get("_name") not in BY_TASK or given.get("task") not in (None, saved["_name"]):
        return {}
    options = {name: saved[name] for name in INHERITED if saved.get(name) is not None}
    has_test = given.get("test_data") or float(given.get("test_fraction", options.get("test_fraction", 0)))
    return options | {"task": saved["_name"], "gen_subset": "test" if has_test else "valid"}


def number(text, default):
    """Return the number, or the first of a list, that an option holds; the default where it holds none."""
    try:
        value = ast.literal_eval(text)
        return float(value[0] if isinstance(value, (list, tuple)) else value)
    except (ValueError, SyntaxError, TypeError, IndexError):
        return default
