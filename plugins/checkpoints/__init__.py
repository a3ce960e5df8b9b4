"""Checkpoint files: read and check them, find them, rebuild models from them, write them.

Every checkpoint is treated as hostile until it is checked. :mod:`~plugins.checkpoints.reading` refuses what could
execute code or claims more memory than the file has; :mod:`~plugins.checkpoints.schema` checks the types of the
content; :mod:`~plugins.checkpoints.allowed` lists the classes that a file may name. Foreign formats are translated in
:mod:`~plugins.checkpoints.roberta` (EIFY/fairseq, fairseq) and :mod:`~plugins.checkpoints.nanogpt`.
"""

from .allowed import check as check_names
from .building import build_model, new_model
from .decoders import read_causal_lm, read_char_lm
from .finding import IN_A_FOLDER, by_update, find_checkpoint, starting_checkpoint, tokenizer_files
from .kinds import kind_of, load, loads
from .nanogpt import read_multi_style, read_nanogpt
from .options import architecture, as_dict, check_kind, inherit, model_name, record, registered_model, stored_options
from .reading import read_state, read_tensors, reading_once
from .writing import check_place, write_causal_lm

__all__ = [
    "IN_A_FOLDER",
    "architecture",
    "as_dict",
    "build_model",
    "by_update",
    "check_kind",
    "check_names",
    "check_place",
    "find_checkpoint",
    "inherit",
    "kind_of",
    "load",
    "loads",
    "model_name",
    "new_model",
    "read_causal_lm",
    "read_char_lm",
    "read_multi_style",
    "read_nanogpt",
    "read_state",
    "read_tensors",
    "reading_once",
    "record",
    "registered_model",
    "starting_checkpoint",
    "stored_options",
    "tokenizer_files",
    "write_causal_lm",
]
