"""Write a foreign masked LM as a checkpoint that fairseq can start from and :func:`plugins.hub.load` reads."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from plugins.checkpoints.writing import content
from plugins.data.dictionaries import MaskDictionary
from plugins.data.text.tokenizers import DICTIONARY_FILE
from plugins.errors import UserError, shortened
from plugins.files import replacing
from plugins.models.clap_roberta import ClapRobertaModel
from plugins.models.clap_roberta_config import ClapRobertaConfig
from plugins.options import NO_START


def write(
    output: str | Path,
    options: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    files: Mapping[str, bytes],
    source: Path,
) -> ClapRobertaModel:
    """Write a checkpoint, with its dictionary and tokenizer next to it; return the model.

    Args:
        output: the ``.pt`` file.
        options: options of clap_roberta.
        weights: its state dict.
        files: {name: content} of ``dict.txt`` and the tokenizer.
        source: named in errors.

    Raises:
        UserError: the weights do not fit the options, it cannot be written, or another dictionary is there.
    """
    folder = Path(output).absolute().parent
    present = (name for name, content in files.items() if (folder / name).exists())
    other = next((name for name in present if (folder / name).read_bytes() != files[name]), None)
    if other is not None:
        raise UserError(f"{folder / other}: exists and belongs to another model; write to another folder")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / DICTIONARY_FILE
        path.write_bytes(files[DICTIONARY_FILE])
        dictionary = MaskDictionary.load(str(path))
    dictionary.add_mask()
    model = build(options, weights, dictionary, source)
    with ExitStack() as stack:  # all files are renamed at the end, or none
        for name, content in files.items():
            stack.enter_context(replacing(folder / name)).write_bytes(content)
        torch.save(state_of(model, dictionary), stack.enter_context(replacing(output)))
    return model


def build(
    options: Mapping[str, Any], weights: Mapping[str, Tensor], dictionary: MaskDictionary, source: Path
) -> ClapRobertaModel:
    """Return a model with these weights, in evaluation mode.

    Raises:
        UserError: they do not fit the options; ``source`` is named.
    """
    known = {name: value for name, value in options.items() if name in ClapRobertaConfig.__dataclass_fields__}
    cfg = OmegaConf.structured(ClapRobertaConfig(**known | NO_START))
    task = SimpleNamespace(
        source_dictionary=dictionary, max_positions=lambda: known["max_positions"], cfg=SimpleNamespace(data="")
    )
    model = ClapRobertaModel.build_model(cfg, task)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise UserError(f"{source}: the weights next to it differ: {shortened(str(error))}") from error
    return model.eval()


def state_of(model: ClapRobertaModel, dictionary: MaskDictionary) -> dict[str, Any]:
    """Return the content of a checkpoint."""
    task: dict[str, Any] = {"_name": "clap_masked_lm", "data": "", "omit_mask": False}
    if model.args.max_positions:
        task["tokens_per_sample"] = model.args.max_positions
    return content("clap_roberta", model, model.args, task, dictionary)
