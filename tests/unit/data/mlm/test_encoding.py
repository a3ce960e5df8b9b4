"""The fast encoders give the ids of the plain one."""

import json

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from plugins.data.mlm import encoding
from plugins.data.mlm.encoding import LineEncoder, line_encoder
from plugins.data.text.tokenizers import GPT2Tokenizer, SentencePieceTokenizer

TEXT = ["the cat sat on the mat", "a dog\u2028and \x85 a \u2603\u2603 cat", "\u200b", "it's 1,234  words…", "ﬁne\x1c"]
TEXT += ["日本 ▁ x", "the <unk> </s> cat"]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A byte-level vocabulary with two merges."""
    folder = tmp_path_factory.mktemp("gpt2")
    symbols = [*bytes_to_unicode().values(), "th", "the"]
    (folder / "encoder.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}))
    (folder / "vocab.bpe").write_text("#version: 0.2\nt h\nth e\n")
    (folder / "dict.txt").write_text("".join(f"{i} {i}\n" for i in reversed(range(4, 258))))  # 0 to 3 are unknown
    return GPT2Tokenizer(folder)


@pytest.fixture(scope="module")
def sentencepiece():
    return SentencePieceTokenizer.train(["the cat sat on the mat", "a dog met a cat"] * 20, 101)


@pytest.mark.parametrize("name", ["sentencepiece", "gpt2"])
@pytest.mark.parametrize("limit", [1 << 20, 6])
def test_the_ids_are_those_of_the_tokenizers_symbols(name, limit, request, monkeypatch):
    tokenizer = request.getfixturevalue(name)
    monkeypatch.setattr(encoding, "_LONG_LINE", limit)
    monkeypatch.setattr(encoding, "_KNOWN_WORDS", 2)
    fast = line_encoder(tokenizer)
    assert type(fast) is not LineEncoder
    dictionary = tokenizer.dictionary()
    for _ in range(2):  # the second time with a cache
        ids, sizes = fast(TEXT)
        expected = [[dictionary.index(symbol) for symbol in tokenizer.encode(line)] for line in TEXT]
        expected = [[*row, dictionary.eos()] if row else [] for row in expected]
        assert ids.tolist() == sum(expected, [])
        assert sizes.tolist() == [len(row) for row in expected]
