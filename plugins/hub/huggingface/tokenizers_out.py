"""Tokenizers as ``tokenizer.json`` and ``tokenizer_config.json``, which encode as ours do.

Special symbols that occur in a text remain text in causal and character LMs, as here; the files encode this as
``split_special_tokens``. Masked LMs follow transformers' convention: ``<mask>`` has to be recognized, and transformers
then recognizes ``<s>``, ``<pad>``, ``</s>`` and ``<unk>`` too, which are text here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from plugins.data.dictionaries import FILLER, MASK
from plugins.data.text.causal_tokenizers import ByteLevelBPE, Characters, SentencePieceVocabulary
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.data.text.tokenizers_library import CONFIG_FILE, INSTALL, TOKENIZERS_FILE, LibraryTokenizer
from plugins.errors import UserError

from . import sentencepiece_out

PAD = "<pad>"


def of_masked_lm(dictionary: Dictionary, bpe: Any, length: int | None) -> dict[str, Any]:
    """Return the tokenizer's files of a masked LM, by name.

    Args:
        dictionary: with ``<s>``, ``<pad>``, ``</s>`` and ``<unk>`` first.
        bpe: fairseq's ``sentencepiece``, ``gpt2`` or ``bert`` tokenizer.
        length: the longest input, None for any.

    Raises:
        UserError: the tokenizer is another, or the tokenizers library is not installed.
    """
    library = tokenizers()
    if hasattr(bpe, "sp"):
        tokenizer = sentencepiece_out.Pieces(bpe.sp).tokenizer(dictionary.symbols, dictionary.unk_word, by_blanks=True)
    elif hasattr(bpe, "bpe") and hasattr(bpe.bpe, "bpe_ranks"):
        tokenizer = gpt2_over(dictionary, bpe.bpe)
    elif hasattr(bpe, "bert_tokenizer"):
        tokenizer = word_pieces_over(dictionary, bpe.bert_tokenizer)
    else:
        kind = type(bpe).__name__
        raise UserError(f"a tokenizer of the type {kind} has no tokenizer.json; sentencepiece, gpt2 and bert have")
    indices = dictionary.bos(), dictionary.pad(), dictionary.eos(), dictionary.unk()
    bos, pad, eos, unk = (dictionary[i] for i in indices)
    special = [library.AddedToken(word, special=True, normalized=False) for word in (bos, pad, eos, unk)]
    tokenizer.add_special_tokens(special)
    tokenizer.add_special_tokens([library.AddedToken(MASK, special=True, normalized=False, lstrip=True)])
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, dictionary.bos()), (eos, dictionary.eos())],
    )
    named = {"bos_token": bos, "cls_token": bos, "eos_token": eos, "sep_token": eos, "pad_token": pad, "unk_token": unk}
    return written(tokenizer, named | {"mask_token": MASK}, length, "right", split=False)


def of_decoder(dictionary: TokenDictionary | CharDictionary, length: int | None) -> dict[str, Any]:
    """Return the tokenizer's files of a causal or character LM, by name; ``length`` is the longest input.

    Raises:
        UserError: this tokenizer has no equivalent in the tokenizers library.
    """
    library = tokenizers()
    if isinstance(dictionary, CharDictionary):
        tokenizer = of_bytes() if dictionary.unit == "byte" else of_characters(dictionary.characters)
        tokenizer.add_special_tokens([PAD])  # index V, which has no row: the model ignores padding
        return written(tokenizer, {"pad_token": PAD}, length, "left")
    ours = dictionary.tokenizer
    if isinstance(ours, LibraryTokenizer):
        tokenizer = library.Tokenizer.from_str(ours.files()[TOKENIZERS_FILE].decode())
    elif isinstance(ours, ByteLevelBPE):
        tokenizer = byte_level({symbol: i for i, symbol in enumerate(ours.symbols)}, ours.merges)
    elif isinstance(ours, SentencePieceVocabulary):
        tokenizer = sentencepiece_out.Pieces(ours.processor).tokenizer(ours.symbols)
    elif isinstance(ours, Characters):
        tokenizer = of_characters(ours.symbols)
    else:
        raise UserError(f"a tokenizer of the type {type(ours).__name__} has no tokenizer.json")
    bos, eos = dictionary[dictionary.bos()], dictionary[dictionary.eos()]
    special = [*without_last_fillers(dictionary.added), *([bos, eos] if bos in tokenizer.get_vocab() else [])]
    tokenizer.add_special_tokens([library.AddedToken(word, special=True, normalized=False) for word in special])
    return written(tokenizer, {"bos_token": bos, "eos_token": eos, "pad_token": eos}, length, "left")


def tokenizers() -> Any:
    """Return the tokenizers library.

    Raises:
        UserError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise UserError(f"a tokenizer.json is written by the tokenizers library: {INSTALL}") from None
    return tokenizers


def written(
    tokenizer: Any, named: Mapping[str, Any], length: int | None, side: str, split: bool = True
) -> dict[str, Any]:
    """Return the contents of the two files.

    Args:
        named: {"bos_token": symbol, ...}.
        length: the longest input, None for any.
        side: where batches are padded.
        split: a special token in a text is text.
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        **({} if length is None else {"model_max_length": length}),
        "padding_side": side,
        "split_special_tokens": split,
        "clean_up_tokenization_spaces": False,
    }
    return {TOKENIZERS_FILE: tokenizer.to_str(pretty=False), CONFIG_FILE: config}


def with_first(files: Mapping[str, Any], symbol: str, index: int) -> dict[str, str]:
    """Return the ``tokenizer.json`` of written files with a symbol, whose id is ``index``, before every text."""
    tokenizer = parse(files)
    tokenizer.post_processor = tokenizers().processors.TemplateProcessing(
        single=f"{symbol} $A", pair=f"{symbol} $A $B", special_tokens=[(symbol, index)]
    )
    return {TOKENIZERS_FILE: tokenizer.to_str(pretty=False)}


def without_last_fillers(symbols: Sequence[str]) -> list[str]:
    """Return symbols without the trailing fillers, which mark rows without a symbol."""
    real = max((i for i, symbol in enumerate(symbols, 1) if not symbol.startswith(FILLER)), default=0)
    return list(symbols[:real])


# Kinds


def byte_level(vocabulary: Mapping[str, int], merges: Iterable[tuple[str, ...]]) -> Any:
    """Return GPT-2's byte-level BPE."""
    library = tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE(dict(vocabulary), list(merges)))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def gpt2_over(dictionary: Dictionary, encoder: Any) -> Any:
    """Return GPT-2's BPE that gives the indices of a dictionary whose words are GPT-2's ids.

    Raises:
        UserError: the dictionary lacks one of the ids.
    """
    symbols = {str(i): symbol for symbol, i in encoder.encoder.items()}
    known = {symbols[word] for word in dictionary.symbols if word in symbols}
    lacking = next((f"{word} ({symbol!r})" for word, symbol in symbols.items() if symbol not in known), None)
    if lacking is not None and lacking.partition(" ")[2] != "('<|endoftext|>')":
        raise UserError(f"dict.txt has no {lacking}, which encoder.json has; the tokenizer cannot be exported")
    merges = sorted(encoder.bpe_ranks, key=encoder.bpe_ranks.__getitem__)
    return byte_level({symbols.get(word, word): i for i, word in enumerate(dictionary.symbols)}, merges)


def word_pieces_over(dictionary: Dictionary, theirs: Any) -> Any:
    """Return a BERT's WordPiece tokenizer that gives the indices of a dictionary.

    Args:
        theirs: transformers' ``BertTokenizer`` of fairseq's tokenizer, whose own numbering is not used.
    """
    library, content = tokenizers(), json.loads(theirs.backend_tokenizer.to_str())
    content |= {"added_tokens": [], "post_processor": None}  # of BERT's symbols, which are none of the dictionary
    content["model"] |= {
        "vocab": {symbol: i for i, symbol in enumerate(dictionary.symbols)},
        "unk_token": dictionary.unk_word,
    }
    return library.Tokenizer.from_str(json.dumps(content))


def of_characters(characters: Sequence[str]) -> Any:
    """Return a tokenizer whose every token is a character; another character is an error."""
    library = tokenizers()
    vocabulary = {character: i for i, character in enumerate(characters)}
    tokenizer = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(r"(?m:.)"), "isolated")
    tokenizer.decoder = library.decoders.Fuse()
    return tokenizer


def of_bytes() -> Any:
    """Return a tokenizer whose tokens are the bytes of UTF-8."""
    library = tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE({char: byte for byte, char in bytes_to_unicode().items()}, []))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def parse(files: Mapping[str, Any]) -> Any:
    """Return the tokenizer of written files, as the tokenizers library reads it."""
    return tokenizers().Tokenizer.from_str(json.dumps(json.loads(files[TOKENIZERS_FILE])))
