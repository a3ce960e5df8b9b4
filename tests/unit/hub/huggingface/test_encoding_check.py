"""The tokenizer of an imported model encodes as the one that it stands for, or the import is refused."""

from types import SimpleNamespace

import pytest
import toy

from plugins.data.text.tokenizers import SentencePieceTokenizer
from plugins.hub.huggingface import encoding_check

LINES = ["hello world", "It's 12.5 (naïve) été!", "Hello World", "a word b"] * 20


@pytest.fixture(scope="module")
def pieces():
    return SentencePieceTokenizer.train(LINES, 200, exact=False)


class Theirs:
    """A tokenizer of transformers whose mask is ``[M]``."""

    mask_token = "[M]"

    def __init__(self, encode):
        self.encode = encode

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return SimpleNamespace(input_ids=self.encode(text))


def stand_in(pieces, change=lambda text: text, added=(), before_mask=str.rstrip):
    """Return fairseq's files, the rows, and a tokenizer of transformers of the same pieces, in reverse order.

    Args:
        change: what it does to a text first.
        added: tokens that it finds anywhere.
        before_mask: what it does to the text before a mask.
    """
    dictionary = pieces.dictionary()
    count = len(dictionary) + 1
    rows = list(range(count))[::-1]
    lines = "".join(f"{symbol} 1\n" for symbol in dictionary.symbols[dictionary.nspecial :])

    def encode(text):
        for token in added:
            text = text.replace(token, " <unk> ")
        *spans, last = text.split("[M]")
        encoded = [pieces.encode(change(span)) for span in [*map(before_mask, spans), last]]
        symbols = [symbol for span in encoded for symbol in [*span, "<mask>"]][:-1]
        return [rows[-1 if symbol == "<mask>" else dictionary.index(symbol)] for symbol in symbols]

    return pieces.files() | {"dict.txt": lines.encode()}, rows, Theirs(encode)


def test_the_same_encoding_is_accepted(pieces, tmp_path):
    files, rows, theirs = stand_in(pieces)
    encoding_check.check(files, rows, theirs, ["word"], tmp_path)


def test_texts_with_letters_that_a_vocabulary_lacks_are_not_compared(pieces, tmp_path, monkeypatch):
    files, rows, theirs = stand_in(pieces)
    build = encoding_check.bpe.build

    class Lacking:
        def __init__(self, options):
            self.encode_all = build(options).encode

        def encode(self, text):
            if text != text.lower():
                raise KeyError("H")
            return self.encode_all(text)

    monkeypatch.setattr(encoding_check.bpe, "build", Lacking)
    encoding_check.check(files, rows, theirs, ["word"], tmp_path)
    with toy.refused(tmp_path, "'hello world'"):
        encoding_check.check(files, rows, Theirs(lambda text: theirs.encode("x")), [], tmp_path)


@pytest.mark.parametrize("change", [str.lower, str.swapcase, lambda text: text.replace("é", "e")])
def test_another_step_of_the_tokenizer_is_an_error_that_names_the_folder(pieces, tmp_path, change):
    with toy.refused(tmp_path, "sentencepiece"):
        encoding_check.check(*stand_in(pieces, change), [], tmp_path)


def test_an_added_token_that_is_found_only_there_is_named(pieces, tmp_path):
    with toy.refused(tmp_path, "'word'", "--tokenizer"):
        encoding_check.check(*stand_in(pieces, added=["word"]), ["hello", "word"], tmp_path)


@pytest.mark.parametrize("before_mask", [str.title, lambda text: text.rstrip() + " b"])
def test_another_encoding_next_to_a_mask_is_a_warning_that_names_it(pieces, tmp_path, before_mask, caplog):
    encoding_check.check(*stand_in(pieces), [], tmp_path)
    assert not caplog.messages
    encoding_check.check(*stand_in(pieces, before_mask=before_mask), [], tmp_path)
    (message,) = caplog.messages
    assert str(tmp_path) in message and "[M]" in message
