"""What a folder of sentence-transformers does to texts and vectors besides its transformer, which alone is imported."""

import logging
from collections.abc import Iterator
from pathlib import Path

from plugins.errors import check
from plugins.files import read_json

from .files import CONFIG, shown

logger = logging.getLogger(__name__)

MODULES = "modules.json"
POOLING = {"mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens", "bos": "pooling_mode_cls_token",
           "last": "pooling_mode_lasttoken"}  # fmt: skip
SETTINGS, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"


def warn(folder: Path) -> None:
    """Warn of the modules and settings of a folder that a checkpoint does not have.

    Raises:
        UserError: a file of them is damaged.
    """
    if (folder / MODULES).exists() and (parts := list(not_imported(folder))):
        logger.warning("%s: only its transformer is imported, without %s", folder / MODULES, ", ".join(parts))


def not_imported(folder: Path) -> Iterator[str]:
    """Yield what else a folder does, in words.

    Raises:
        UserError: a file is damaged.
    """
    for module in read_json(folder / MODULES, list):
        check(isinstance(module, dict), f"{folder / MODULES}: a list of objects is expected")
        kind = shown(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            yield f"Pooling ({pooling_of(folder, module.get('path'))})"
        elif kind != "Transformer":
            yield kind
    if (folder / SETTINGS).exists() and read_json(folder / SETTINGS, dict).get("do_lower_case"):
        yield f"the lower case of its texts (do_lower_case in {SETTINGS})"
    if (folder / PROMPTS).exists():
        content = read_json(folder / PROMPTS, dict)
        name, prompts = content.get("default_prompt_name"), content.get("prompts")
        if isinstance(prompts, dict) and isinstance(name, str) and prompts.get(name):
            yield f"the prompt {shown(prompts[name])!r}"


def pooling_of(folder: Path, path: object) -> str:
    """Return the option of ``scripts/embed.py`` that is the pooling of a module, else its settings.

    Args:
        path: the folder of the module within ``folder``.
    """
    place = folder / str(path) / CONFIG
    if not isinstance(path, str) or Path(path).name != path or not place.exists():
        return "unknown"
    config = read_json(place, dict)
    modes = {mode for mode, used in config.items() if mode.startswith("pooling_mode_") and used is True}
    ours = next((name for name, mode in POOLING.items() if modes == {mode}), None)
    return f"--pooling {ours}" if ours else " and ".join(sorted(modes)) or shown(config.get("pooling_mode", "unknown"))
