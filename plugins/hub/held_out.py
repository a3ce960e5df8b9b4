"""Text that a character LM was not trained on: the validation split that its checkpoint defines."""

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from plugins import checkpoints
from plugins.checkpoints import find_checkpoint
from plugins.data.text.char_corpus import open_corpus
from plugins.errors import UserError
from plugins.tasks.char_lm import CharLMTaskConfig, reading
from plugins.tasks.windows import corpus_spec

from .char_lm import CharLM


def held_out(
    lm: CharLM, checkpoint: str | os.PathLike, data: Sequence[str] = (), style_from: str | None = None
) -> dict[str, list[str]]:
    """Return the held-out documents of each style, as the options of a checkpoint split the data.

    Args:
        lm: the model of the checkpoint.
        checkpoint: the file or its folder.
        data: files or folders to read instead of the training data; their last tenth is held out if the
            checkpoint states no fraction.
        style_from: how the style of a document is found, if not as in training.

    Returns:
        {style: documents}; the only style is ``""`` where the data has none.

    Raises:
        UserError: the data cannot be read, or a style has no held-out text.
    """
    path = str(find_checkpoint(str(checkpoint)))
    trained = checkpoints.read_state(path)["cfg"]["task"]
    names = CharLMTaskConfig.__dataclass_fields__
    cfg: Any = OmegaConf.create({name: trained[name] for name in names if name in trained})
    if data:
        cfg.data, cfg.valid_data = ":".join(data), None
        cfg.valid_fraction = cfg.valid_fraction or 0.1
    if style_from:
        cfg.style_from = style_from
    with tempfile.TemporaryDirectory() as cache:
        corpus = open_corpus(corpus_spec(cfg, reading(cfg, lm.dictionary.unit)), cache)
        split = corpus.split("valid", lm.dictionary, corpus.styles, lm.block_size, path)
        labels = [0] * len(split.starts) if split.labels is None else split.labels.tolist()
        found: dict[str, list[str]] = {style: [] for style in corpus.styles or [""]}
        for start, end, label in zip(split.starts, split.ends, labels, strict=True):
            ids = split.ids[start:end] if split.table is None else split.table[split.ids[start:end]]
            found[(corpus.styles or [""])[label]].append(lm.dictionary.decode(ids))
    empty = next((style for style, documents in found.items() if not documents), None)
    if empty is not None:
        raise UserError(f"style {empty!r} has no held-out text: raise --valid-fraction in training")
    return found
