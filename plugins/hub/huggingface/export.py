"""Models as folders of Hugging Face transformers."""

import os
from pathlib import Path
from typing import Any, cast

from torch import nn

from plugins.checkpoints import find_checkpoint, read_state, reading_once
from plugins.data.glue import specs
from plugins.data.text.tokenizers_library import CONFIG_FILE
from plugins.errors import UserError
from plugins.modules.score_head import ScoreHead

from ..causal_lm import CausalLM
from ..char_lm import CharLM
from ..embedder import Embedder
from ..roberta import RobertaInterface
from ..scorer import Scorer
from . import card, decoder_lm, masked_lm, sentence_format
from .contents import Contents, check_ours
from .files import CONFIG, DTYPES, write_folder


def export(
    model: Any, folder: str | Path, *, dtype: str = "float32", head: str | None = None, base: str | None = None
) -> None:
    """Write a model as a folder that transformers loads by its ``Auto`` classes; it is written atomically.

    A RoBERTa or GPT-2 becomes transformers' own. Other models come with their code, which is that of
    :mod:`plugins.modules`: load them with ``trust_remote_code=True``. A model of ``--task embedding`` also has the
    files of sentence-transformers; one of ``--task preference`` becomes a sequence classifier with one output.

    Args:
        model: a checkpoint, its folder, or the result of :func:`plugins.hub.load`.
        folder: a new folder.
        dtype: data type of the weights: float32, bfloat16 or float16.
        head: the classification head, where the model has several.
        base: the checkpoint that an adapter belongs to; adapters have to be merged, see ``scripts/merge_peft.py``.

    Raises:
        UserError: the folder exists, the checkpoint is damaged, or transformers does not support the model.
    """
    from plugins import hub

    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if os.path.lexists(folder):
        raise UserError(f"{folder}: exists already; name a new folder")
    path, state = None, {}
    if isinstance(model, str | Path):
        path = find_checkpoint(model)
        with reading_once():
            state, model = read_state(path), hub.load(path, base)
    lm: Any = model.lm if isinstance(model, Embedder) else model
    if isinstance(getattr(lm, "model", None), nn.Module):
        check_ours(lm.model)
    contents = contents_of(model, head, state)
    contents.config["dtype"] = dtype
    name = Path(folder).absolute().name
    text = card.model_card_text(lm, state, path, name, contents.pipeline, bool(contents.code))
    files = contents.files | contents.code | {CONFIG: contents.config, "README.md": text}
    write_folder(folder, files, contents.tensors, dtype)


def contents_of(model: Any, head: str | None, state: dict[str, Any]) -> Contents:
    """Return the content of the folder of a loaded model.

    Args:
        model: returned by :func:`plugins.hub.load`.
        head: the classification head, or None.
        state: the content of the checkpoint, {} where there is none.

    Raises:
        UserError: see :func:`export`.
    """
    if isinstance(model, RobertaInterface):
        saved = (state.get("task_state") or {}).get("spec")
        return masked_lm.contents(model, head, specs.from_plain(saved) if saved else None)
    if isinstance(model, Embedder):
        if head is not None:
            raise UserError(f"--head {head}: the model has the head of its task only")
        if isinstance(model, Scorer):
            if not isinstance(model.lm, RobertaInterface):
                raise UserError(f"the head of a {type(model.lm).__name__} cannot be exported; that of a masked LM can")
            found = masked_lm.contents(model.lm, None, None, cast(ScoreHead, model.head))
        else:
            found = sentence_format.contents(model)
        found.files[CONFIG_FILE]["model_max_length"] = model.longest
        return found
    if head is not None:
        raise UserError(f"--head {head}: only masked LMs have classification heads")
    if isinstance(model, CharLM):
        return decoder_lm.contents(model)
    if isinstance(model, CausalLM):
        from .. import gpt2

        return gpt2.contents(model.model) if gpt2.is_gpt2(model.model) else decoder_lm.contents(model)
    raise UserError(f"a {type(model).__name__} cannot be exported; name a checkpoint, or a result of hub.load")
