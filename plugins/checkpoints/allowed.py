"""Allowlist of classes that a checkpoint may name, so that it cannot choose arbitrary classes of fairseq's registries.

fairseq builds the model, task, criterion, tokenizer and bpe that a checkpoint names, and several of its classes
evaluate their options as Python or fetch them from a URL. Allowed are the classes of this package, those that the
user's own ``--user-dir`` registered, and the few of fairseq in :data:`OF_FAIRSEQ`.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import Any

from plugins.errors import UserError, shown

from .options import as_dict, registries

OF_FAIRSEQ = {
    "model": {"roberta"},  # with its architectures
    "task": {"masked_lm", "sentence_prediction", "sentence_ranking"},
    "criterion": {"masked_lm", "sentence_prediction", "sentence_ranking"},
    "bpe": {"gpt2", "sentencepiece"},
    "tokenizer": {"space"},
}
NOT_THE_USERS = {"fairseq", "fairseq_cli", "examples"}  # fairseq registers classes of its own examples, too


def check(state: dict, path: str | os.PathLike) -> None:
    """Check the names in the raw content of a checkpoint, before fairseq has seen it.

    Raises:
        UserError: a named part is not registered, or files may not choose it.
    """
    for kind, name in names(state):
        if not isinstance(name, str):
            raise UserError(f"{path}: refused: its {kind} is {shown(name)}, not a name")
        if not is_allowed(kind, name):
            known = name in registries()[kind]
            raise UserError(
                f"{path}: refused: it names the {kind} {shown(name)}, "
                + (
                    f"and checkpoints may choose only those of this package, of --user-dir, and fairseq's "
                    f"{', '.join(sorted(OF_FAIRSEQ[kind]))}"
                    if known
                    else "which is not registered; if it is your own, name its folder: --user-dir"
                )
            )


def names(state: dict) -> Iterator[tuple[str, object]]:
    """Yield (kind, name) of all that fairseq could build from a checkpoint."""
    if state.get("args") is not None:
        options = vars(state["args"])
        yield "model", options.get("arch")
        yield from ((kind, options[kind]) for kind in ("task", "criterion", "bpe", "tokenizer") if options.get(kind))
    cfg = state.get("cfg")
    for kind in OF_FAIRSEQ if cfg is not None else ():
        section = cfg.get(kind) if isinstance(cfg, Mapping) else getattr(cfg, kind, None)
        if section is None:
            continue
        if isinstance(section, str):
            yield kind, section
            continue
        options = as_dict(section)
        found = [options[key] for key in ("_name", "arch" if kind == "model" else kind) if options.get(key) is not None]
        if not found and len(options) == 1:  # fairseq also takes {name: options}
            found = list(options)
        yield from ((kind, name) for name in found)
        if kind == "model" and not found:
            yield kind, None


def is_allowed(kind: str, name: str) -> bool:
    """Whether a checkpoint may name this class of a registry."""
    found = registries()[kind].get(name)
    if found is None:
        return False
    if kind in ("bpe", "tokenizer"):
        return name in OF_FAIRSEQ[kind]
    if found.__module__.split(".")[0] not in NOT_THE_USERS:
        return True
    return any(found is registries()[kind].get(own) for own in OF_FAIRSEQ[kind])


def forget_places(cfg: Any) -> None:
    """Drop the paths of a stored bpe and tokenizer, which belong to another machine or could be URLs.

    Tokenizers are looked for next to the checkpoint (:func:`plugins.hub.local_bpe`).
    """
    for kind in ("bpe", "tokenizer"):
        section = cfg.get(kind)
        name = section if isinstance(section, str) else as_dict(section).get("_name")
        cfg[kind] = {"_name": name} if name else None


def forget_start(options: Any) -> None:
    """Unset where training started from: a rebuilt model is initialized only from the checkpoint."""
    from plugins.options import START

    for name in START:
        if isinstance(options, argparse.Namespace):
            if hasattr(options, name):
                setattr(options, name, None)
        elif name in options:
            options[name] = None
