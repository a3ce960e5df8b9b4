import json
import pickle

import pytest
import toy
from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode
from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig

from plugins.data.text import tokenizers
from plugins.data.text.tokenizers import TOKENIZER_FILES, GPT2Tokenizer, SentencePieceTokenizer

LINES = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog met on a mat"] * 5
TRICKY = ["", "The cat!", "  the   cat ", "caf\u00e9 \u2603", "<unk> </s> <mask>", "a\u00a0b\u2028c"]


@pytest.fixture(scope="module")
def trained():
    return SentencePieceTokenizer.train(LINES, 103)


@pytest.fixture
def gpt2_folder(tmp_path):
    """A byte-level vocabulary with one merge, "t" + "h", in fairseq's file formats."""
    symbols = [*bytes_to_unicode().values(), "th"]
    (tmp_path / "encoder.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nt h\n")
    (tmp_path / "dict.txt").write_text("".join(f"{i} {i}\n" for i in reversed(range(257))))
    return tmp_path


def fairseq_symbols(bpe, line):
    """What the hub interface passes to the model for a line."""
    seen = []
    Dictionary().encode_line(bpe.encode(line), consumer=lambda symbol, _: seen.append(symbol))
    return seen


@pytest.mark.parametrize("line", TRICKY)
def test_sentencepiece_encodes_as_fairseq_does(trained, tmp_path, line):
    (tmp_path / "m.model").write_bytes(trained.files()["sentencepiece.bpe.model"])
    bpe = SentencepieceBPE(SentencepieceConfig(sentencepiece_model=str(tmp_path / "m.model")))
    assert trained.encode(line) == fairseq_symbols(bpe, line)


def test_training_twice_gives_the_same_model(trained):
    assert SentencePieceTokenizer.train(LINES, 103).files() == trained.files()


def test_vocab_size_counts_the_special_symbols_of_fairseq(trained):
    assert len(trained.dictionary()) == 103


def test_every_printable_ascii_character_is_known(trained):
    dictionary = trained.dictionary()
    assert all(symbol in dictionary for symbol in trained.encode("Why? {x} ~ 7 & <mask>"))


def test_a_vocabulary_size_above_the_possible_one_names_the_largest_size():
    with toy.refused("--vocab-size 5000", 104):
        SentencePieceTokenizer.train(LINES, 5000)
    assert len(SentencePieceTokenizer.train(LINES, 104).dictionary()) == 104


def test_an_inexact_size_is_the_largest_that_the_text_gives():
    assert len(SentencePieceTokenizer.train(LINES, 5000, exact=False).dictionary()) == 104


def test_a_vocabulary_size_below_the_alphabet_names_the_smallest_size():
    with toy.refused("--vocab-size 20", 99):
        SentencePieceTokenizer.train(LINES, 20)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_not_a_model_is_refused(tmp_path, content):
    (tmp_path / "m.model").write_bytes(content)
    with toy.refused("m.model"):
        SentencePieceTokenizer.from_file(tmp_path / "m.model")


@pytest.mark.parametrize("line", TRICKY)
def test_gpt2_encodes_as_fairseq_does(gpt2_folder, line):
    paths = (str(gpt2_folder / name) for name in ("encoder.json", "vocab.bpe"))
    bpe = GPT2BPE(GPT2BPEConfig(None, *paths))
    assert GPT2Tokenizer(gpt2_folder).encode(line) == fairseq_symbols(bpe, line)


def test_gpt2_symbols_are_ids_in_decimal(gpt2_folder):
    assert GPT2Tokenizer(gpt2_folder).encode("the") == ["256", "68"]


def test_gpt2_keeps_the_order_of_the_given_dictionary(gpt2_folder):
    assert GPT2Tokenizer(gpt2_folder).dictionary().symbols[4:6] == ["256", "255"]


@pytest.mark.parametrize("name", ["encoder.json", "vocab.bpe", "dict.txt"])
def test_a_missing_gpt2_file_is_named_with_the_command_that_fetches_it(gpt2_folder, name):
    (gpt2_folder / name).unlink()
    with toy.refused(name, "get_data.py"):
        GPT2Tokenizer(gpt2_folder)


@pytest.mark.parametrize("name", ["encoder.json", "dict.txt"])
def test_a_malformed_gpt2_file_is_refused(gpt2_folder, name):
    (gpt2_folder / name).write_text("nonsense")
    with toy.refused(name):
        GPT2Tokenizer(gpt2_folder)


def test_files_are_those_that_checkpoints_need(trained, gpt2_folder):
    assert set(trained.files()) == {"sentencepiece.bpe.model"}
    assert set(GPT2Tokenizer(gpt2_folder).files()) == {"encoder.json", "vocab.bpe", "dict.txt"}
    assert {*trained.files(), *GPT2Tokenizer(gpt2_folder).files()} < set(TOKENIZER_FILES)


def test_tokenizers_can_be_sent_to_other_processes(trained, gpt2_folder):
    for tokenizer in (trained, GPT2Tokenizer(gpt2_folder)):
        copy = pickle.loads(pickle.dumps(tokenizer))
        assert copy.encode("the cat") == tokenizer.encode("the cat")


@pytest.mark.parametrize("letters", ["abcdefgh", "的一是在不了有和"])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_long_line_without_spaces_is_used_for_training(lossless, letters):
    """sentencepiece fails on 300,000 letters in a line, with INTERNAL ... (211)."""
    line = (letters + letters[::-1] + letters[::2]) * (120_000 // 20)
    if lossless:
        tokenizer = SentencePieceTokenizer.train_lossless(["a short line", line], 400)
    else:
        tokenizer = SentencePieceTokenizer.train(["a short line", line], 400, exact=False)
    pieces = tokenizer.encode("".join(letters * 5))
    assert "".join(pieces).lstrip("▁") == letters * 5


def test_large_texts_are_sampled_by_seed(monkeypatch):
    lines = [f"line {i}" for i in range(1000)]
    monkeypatch.setattr(tokenizers, "_TRAINING_BYTES", 2000)
    first, again, other = (tokenizers._sample(lines, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert 1800 < sum(map(len, first)) <= 2000
    assert first == sorted(first, key=lines.index), "in order"
    monkeypatch.setattr(tokenizers, "_TRAINING_BYTES", 10**6)
    assert tokenizers._sample(lines, 1) == lines


def test_symbols_are_pieces_with_counts_of_zero_and_no_controls(trained):
    dictionary = trained.dictionary()
    assert dictionary.symbols[:4] == ["<s>", "<pad>", "</s>", "<unk>"] and set(dictionary.count[4:]) == {0}
    assert dictionary.symbols[4:] == [
        trained.processor.IdToPiece(i) for i in range(1, trained.processor.GetPieceSize())
    ]


def test_a_lossless_model_keeps_blanks_and_has_pieces_for_bytes():
    tokenizer = SentencePieceTokenizer.train_lossless([*LINES, "", "  "], 400)
    for text in ("  two  blanks ", "a\nb", "☃"):
        assert tokenizer.processor.Decode(tokenizer.processor.Encode(text)) == text
    with toy.refused(10):
        SentencePieceTokenizer.train_lossless(LINES, 10)


@pytest.mark.parametrize(("length", "parts"), [(4000, 1), (4001, 2), (8000, 2), (8001, 3)])
def test_long_words_are_cut_for_training(length, parts):
    assert "".join(tokenizers._cut("x" * length)) == "x" * length
    assert len(tokenizers._cut("x" * length)) == parts


@pytest.mark.parametrize("unit", ["word ", " word", "w" * 2500 + " ", "two words\t", "词语\u3000"])
def test_long_lines_are_cut_at_blanks_for_training(unit):
    line = unit * (9000 // len(unit))
    parts = tokenizers._cut(line)
    assert "".join(parts) == line
    assert max(map(len, parts)) <= 4000
    assert all(part[0].isspace() for part in parts[1:])


@pytest.mark.parametrize(("length", "apart"), [(2_000_000, False), (2_000_001, True)])
def test_large_texts_are_trained_on_in_another_process(monkeypatch, length, apart):
    seen = []
    for name in ("train", "train_apart"):
        fake = lambda lines, options, name=name: seen.append((name, options)) or b""  # noqa: E731
        monkeypatch.setattr(tokenizers.sentencepiece_training, name, fake)
    tokenizers._train(["x" * length], 100, 1, {"byte_fallback": True})
    ((name, options),) = seen
    assert name == ("train_apart" if apart else "train")
    assert options == {
        "model_type": "unigram", "vocab_size": 100, "bos_id": -1, "eos_id": -1, "max_sentence_length": 2**30,
        "num_threads": 4, "minloglevel": 2, "byte_fallback": True,
    }  # fmt: skip


def test_an_unforeseen_error_of_sentencepiece_is_one_line():
    assert tokenizers._training_error("a\n b", 50) == "sentencepiece failed with --vocab-size 50: a b"


def test_a_text_of_exactly_the_limit_is_used_whole(monkeypatch):
    monkeypatch.setattr(tokenizers, "_TRAINING_BYTES", 6)
    assert tokenizers._sample(["ab", "é", "cd"], 1) == ["ab", "é", "cd"]
    assert len(tokenizers._sample(["ab", "é", "cd", "e"], 1)) == 3


def test_merges_of_gpt2_are_read_whole(gpt2_folder):
    (gpt2_folder / "encoder.json").write_text(json.dumps({"t": 0, "h": 1, "e": 2, "th": 3, "the": 4}))
    (gpt2_folder / "vocab.bpe").write_text("#version: 0.2\nt h\nth e\n")
    assert GPT2Tokenizer(gpt2_folder).encode("the") == ["4"]
