"""Checkpoints of this package's character and causal LMs."""

import os
from collections.abc import Mapping

from fairseq.models import FairseqLanguageModel

from plugins.data import dictionaries
from plugins.data.text.char_dictionary import UNITS, CharDictionary
from plugins.data.text.token_dictionary import TokenDictionary, check_size
from plugins.errors import UserError, shortened

from .building import build_model
from .options import registries, required_model, stored_options
from .reading import read_state


def read_char_lm(path: str, base: str | None = None) -> tuple[FairseqLanguageModel, CharDictionary, list[str]]:
    """Rebuild a model of the task ``char_lm``.

    Args:
        path: path of the checkpoint.
        base: the checkpoint that an adapter belongs to, if it has moved.

    Returns:
        The model, its dictionary and the names of its styles.

    Raises:
        UserError: the file is damaged, or its model is of another kind.
    """
    state = read_state(path)
    if "model_args" in state:
        kind = "from_multi_style" if "style_embeddings" in state["model"] else "from_nanogpt"
        raise UserError(f"{path}: in nanoGPT's format, which lacks the characters: use plugins.hub.CharLM.{kind}")
    task = state.get("task_state") or {}
    if "dictionary" not in task:
        raise UserError(f"{path}: not a checkpoint of the task char_lm: it does not contain its characters")
    dictionary, styles = stored_characters(task["dictionary"], path), stored_styles(task.get("styles"), path)
    model = build_model(
        expected_model("char_lm", state, path), with_base(state, base), state["model"], path, dictionary,
        style_names=styles,
    )  # fmt: skip
    return model, dictionary, styles


def read_causal_lm(path: str, base: str | None = None) -> tuple[FairseqLanguageModel, TokenDictionary]:
    """Rebuild a causal LM, whose tokenizer is next to the checkpoint.

    Args:
        path: path of the checkpoint.
        base: the checkpoint that an adapter belongs to, if it has moved.

    Raises:
        UserError: a file is missing, damaged, or does not fit the others.
    """
    state = read_state(path)
    kind, options = expected_model("causal_lm", state, path), with_base(state, base)
    dictionary = TokenDictionary.from_files(os.path.dirname(os.path.abspath(path)))
    if not isinstance(options.get("vocab_size"), int):
        raise UserError(f"{path}: its option vocab_size is {shortened(repr(options.get('vocab_size')))}, not a number")
    check_size(dictionary, options["vocab_size"], path)
    if (state.get("task_state") or {}).get("dictionary_sha256") not in (None, dictionaries.fingerprint(dictionary)):
        raise UserError(f"{path}: the tokenizer next to it is not the one that it was trained with")
    return build_model(kind, options, state["model"], path, dictionary), dictionary


def expected_model(name: str, state: Mapping, path: str) -> type:
    """Return the class that a checkpoint names, which must be the model ``name`` or a subclass of it.

    Raises:
        UserError: it names another model.
    """
    options, _ = stored_options(state)
    found = required_model(options, path)
    if not issubclass(found, registries()["model"][name]):
        given = options.get("_name") or options.get("arch")
        raise UserError(f"{path}: its model is {shortened(str(given))}, not {name}; plugins.hub.load loads the others")
    return found


def with_base(state: Mapping, base: str | None) -> dict:
    """Return the options of a checkpoint with the path of its adapter's base: ``base``, else the stored one."""
    options, _ = stored_options(state)
    return {**options, "peft_base": base or options.get("peft_base")}


def stored_characters(dictionary: object, path: str) -> CharDictionary:
    """Check and rebuild the dictionary that a checkpoint of the task ``char_lm`` contains.

    Raises:
        UserError: it is not a list of different characters, or its unit is unknown.
    """
    stored = dictionary if isinstance(dictionary, dict) else {}
    characters, unit = stored.get("characters"), stored.get("unit", "char")
    if (
        not isinstance(characters, list)
        or not characters
        or not all(isinstance(c, str) and len(c) == 1 for c in characters)
        or unit not in UNITS
    ):
        raise UserError(f"{path}: its dictionary is not a list of characters")
    try:
        return CharDictionary.from_state({"unit": unit, "characters": characters})
    except ValueError as error:
        raise UserError(f"{path}: its dictionary is damaged: {error}") from error


def stored_styles(styles: object, path: str) -> list[str]:
    """Return the names of the styles in a checkpoint; None is an empty list.

    Raises:
        UserError: they are not a list of strings.
    """
    if styles is None:
        return []
    if not isinstance(styles, list) or not all(isinstance(name, str) for name in styles):
        raise UserError(f"{path}: the names of its styles are not a list of texts")
    return styles
