"""Tokens that were added to the vocabulary of a Hugging Face tokenizer, as the files of its folder state them.

Three files may state an index of an added token, and transformers reads all of them, but numbers the tokens itself. An
index that is not transformers' is an error: it is not known to which of the two rows the token belongs.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from plugins.data.text.token_dictionary import ADDED_FILE
from plugins.data.text.tokenizers_library import CONFIG_FILE, TOKENIZERS_FILE, check_indices, content_of, read_content
from plugins.errors import UserError, check
from plugins.files import read_json

from .files import shown

Stated = dict[Path, list[tuple[str, int]]]


def read(source: Path) -> Stated:
    """Return {file: [(token, its index)]} of the folder of a tokenizer.

    Raises:
        UserError: a file cannot be read, an index is not an integer of at least 0, or two tokens have the same.
    """
    found: dict[Path, list[tuple[Any, Any]]] = {}
    if (path := source / ADDED_FILE).exists():
        found[path] = list(read_json(path, dict).items())
    if (path := source / CONFIG_FILE).exists():
        decoder = read_json(path, dict).get("added_tokens_decoder") or {}
        check(isinstance(decoder, dict), f"{path}: added_tokens_decoder: an object is expected")
        found[path] = [(content_of(token), int(i) if i.isdecimal() else i) for i, token in decoder.items()]
    if (path := source / TOKENIZERS_FILE).exists():
        found[path] = [(token["content"], token["id"]) for token in read_content(path).get("added_tokens") or ()]
    for path, stated in found.items():
        owners: dict[int, str] = {}
        for token, index in stated:
            check(isinstance(token, str), f"{path}: the added token with index {shown(index)} has no text")
            if type(index) is not int or index < 0:
                raise UserError(f"{path}: the added token {token!r} has the index {index!r}, which is not a row")
            if owners.setdefault(index, token) != token:
                raise UserError(f"{path}: the added tokens {owners[index]!r} and {token!r} have the same index {index}")
    return found


def check_stated(stated: Stated, vocabulary: Mapping[str, int]) -> None:
    """Compare the indices in the files with those of the vocabulary that is used.

    Args:
        stated: returned by :func:`read`.
        vocabulary: {symbol: index}.

    Raises:
        UserError: an index differs; its file and the token are named.
    """
    for path, tokens in stated.items():
        check_indices(tokens, vocabulary, path)


def of_tokenizer(theirs: Any, roles: Collection[int]) -> list[str]:
    """Return the tokens that were added to the vocabulary of a tokenizer of transformers, and are found in a text.

    Those with a role, and special ones that the vocabulary itself has, are text in fairseq where a text contains them.

    Args:
        theirs: the tokenizer.
        roles: indices of the symbols with a role, such as the ends of a text.
    """
    own = set(theirs.backend_tokenizer.get_vocab(with_added_tokens=False))
    added = theirs.added_tokens_decoder.items()
    return [
        token.content for index, token in added if index not in roles and not (token.special and token.content in own)
    ]
