"""The fast encoders give the ids of the plain one."""

import json

import numpy as np
import pytest
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from plugins.data.mlm import encoding
from plugins.data.mlm.encoding import BlockEncoder, LineEncoder, line_encoder
from plugins.data.text.blocks import TextBlock, text_source
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


def test_a_block_is_encoded_line_by_line_with_the_starts_of_its_documents(sentencepiece):
    encoder = BlockEncoder(sentencepiece)
    found = encoder(TextBlock(None, 0, ["the cat\na dog", "\u200b", "the mat"]))
    ids, sizes = encoder.encode(["the cat", "a dog", "\u200b", "the mat"])
    assert found.ids.tolist() == ids.tolist() and found.sizes.tolist() == sizes.tolist()
    assert found.starts.tolist() == [0, 2, 3] and found.sizes[2] == 0
    whole = BlockEncoder(sentencepiece, whole_documents=True)(TextBlock(None, 0, ["the cat\na dog", "the mat"]))
    assert whole.starts.tolist() == [0, 1] and len(whole.sizes) == 2
    record = TextBlock(text_source("a.jsonl", "body"), 0, b'{"body": "the cat"}')
    assert BlockEncoder(sentencepiece, "body")(record).ids.tolist() == encoder.encode(["the cat"])[0].tolist()


@pytest.mark.parametrize("name", ["sentencepiece", "gpt2"])
def test_ids_have_the_smallest_type_that_fairseq_has_for_them(name, request):
    ids, sizes = line_encoder(request.getfixturevalue(name))(TEXT)
    assert ids.dtype == np.uint16 and sizes.dtype == np.int64


def test_the_cache_of_words_is_bounded(gpt2, monkeypatch):
    monkeypatch.setattr(encoding, "_KNOWN_WORDS", 2)
    fast = line_encoder(gpt2)
    fast(["the cat"])
    assert len(fast.known) == 2
    fast(["the dog"])
    assert len(fast.known) == 0 and not fast.encoder.cache


def test_any_other_tokenizer_is_encoded_line_by_line(sentencepiece):
    class Upper(SentencePieceTokenizer):
        def encode(self, line):
            return super().encode(line.lower())

    plain = line_encoder(Upper(sentencepiece.files()["sentencepiece.bpe.model"]))
    assert type(plain) is LineEncoder
    assert plain(["THE CAT"])[0].tolist() == line_encoder(sentencepiece)(["the cat"])[0].tolist()
