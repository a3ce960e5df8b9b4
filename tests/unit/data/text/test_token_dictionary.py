"""Exact vocabularies: GPT-2's encoding equals the tokenizers library's, and every symbol has its own row."""

import json
import shutil

import pytest
import sentencepiece
import torch
import toy

from plugins.data.text.causal_tokenizers import Characters, read_tokenizer
from plugins.data.text.token_dictionary import END, TokenDictionary, check_size
from plugins.errors import UserError

TEXT = ["hello world, it's what it's about: the thing\n\tand 123 others\n", "שלום עולם 🙂 naïve café", "don't  stop"]
AWKWARD = [
    "",
    " ",
    "hello",
    " hello  world ",
    "a\n\n\nb\n",
    "tab\t\r\n   x",
    "it's we'll I'D they've 'tis",
    "emoji 🙂🙃 and a family 👩‍👩‍👧‍👦!",
    "שָׁלוֹם, עולם — 100%",
    "non\u00a0breaking\u2028line\u3000wide",
    "xxxxxxxxxxxxxxxxxxxxxxxxx" * 20,
    "1,234.5e-6 == ½ ٣",
    "\x00\x01 control",
]


@pytest.fixture(scope="module")
def reference():
    tokenizers = pytest.importorskip("tokenizers")
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXT * 20, vocab_size=330, special_tokens=[END], show_progress=False)
    return bpe


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    """vocab.json and merges.txt, as the tokenizers library writes them."""
    folder = tmp_path_factory.mktemp("bpe")
    reference.save_model(str(folder))
    return folder


@pytest.mark.parametrize("text", AWKWARD)
def test_byte_pair_encoding_is_that_of_the_tokenizers_library(reference, folder, text):
    dictionary = TokenDictionary.from_files(folder)
    ids = dictionary.encode(text)
    assert ids.dtype == torch.long
    assert ids.tolist() == reference.encode(text).ids
    assert dictionary.decode(ids) == text


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("tokenizer.json",)], ids="+".join)
def test_other_names_of_the_same_files(reference, folder, names, tmp_path):
    if names == ("tokenizer.json",):
        reference.save(str(tmp_path / names[0]))
    else:
        for old, new in zip(("vocab.json", "merges.txt"), names, strict=True):
            shutil.copy(folder / old, tmp_path / new)
    dictionary, expected = TokenDictionary.from_files(tmp_path), TokenDictionary.from_files(folder)
    assert dictionary.symbols == expected.symbols
    assert dictionary.tokenizer.merges == expected.tokenizer.merges


def test_the_table_has_the_tokenizers_rows_and_no_others(reference, folder):
    dictionary = TokenDictionary.from_files(folder)
    assert len(dictionary) == reference.get_vocab_size()
    assert {symbol: i for i, symbol in enumerate(dictionary.symbols)} == reference.get_vocab()
    assert dictionary.bos() == dictionary.eos() == reference.token_to_id(END)
    assert dictionary.pad() == dictionary.unk() == len(dictionary)
    assert dictionary.added == []


def test_an_added_symbol_gets_the_next_row_and_comes_from_no_text(folder, tmp_path):
    dictionary = TokenDictionary.from_files(folder)
    rows = len(dictionary)
    assert dictionary.add_symbol("<|summary|>") == rows
    assert dictionary.add_symbol("<|summary|>") == rows
    assert (len(dictionary), dictionary.pad()) == (rows + 1, rows + 1)
    assert rows not in dictionary.encode("a<|summary|>b")
    assert dictionary.decode([rows, *dictionary.encode("text"), dictionary.pad()]) == "<|summary|>text"
    dictionary.save_files(tmp_path)
    again = TokenDictionary.from_files(tmp_path)
    assert (again.symbols, again.added) == (dictionary.symbols, ["<|summary|>"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["added_tokens.json", "merges.txt", "vocab.json"]


def test_the_end_written_in_a_text_is_not_the_end(folder):
    dictionary = TokenDictionary.from_files(folder)
    ids = dictionary.encode(f"a {END} b")
    assert dictionary.eos() not in ids
    assert dictionary.decode(ids) == f"a {END} b"


def test_a_sentencepiece_model_keeps_its_numbering_and_gains_an_end(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 10), model_prefix=str(tmp_path / "m"), vocab_size=70, hard_vocab_limit=False,
        bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(str(tmp_path / "m.model"))
    dictionary = TokenDictionary.from_files(tmp_path / "m.model")
    assert dictionary.encode("hello world").tolist() == processor.Encode("hello world")
    assert dictionary.decode(dictionary.encode("hello world")) == "hello world"
    assert dictionary.eos() == processor.GetPieceSize() == len(dictionary) - 1
    assert dictionary.unk() == processor.unk_id()
    dictionary.save_files(tmp_path)
    assert TokenDictionary.from_files(tmp_path).symbols == dictionary.symbols


def test_characters_are_in_the_order_of_their_code_points_and_then_the_end(tmp_path):
    dictionary = TokenDictionary(Characters("\n abé"))
    assert dictionary.symbols == ["\n", " ", "a", "b", "é", END]
    assert dictionary.encode("é a").tolist() == [4, 1, 2]
    dictionary.save_files(tmp_path)
    assert TokenDictionary.from_files(tmp_path).symbols == dictionary.symbols


def test_fillers_make_up_for_rows_without_a_symbol(folder):
    dictionary = TokenDictionary.from_files(folder)
    rows = len(dictionary)
    dictionary.fill(rows + 2)
    assert dictionary.symbols[rows:] == [f"madeupword{rows:04d}", f"madeupword{rows + 1:04d}"]


def rewrite(folder, name, change):
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


def without(vocabulary, symbol):
    return {s: i for s, i in vocabulary.items() if s != symbol}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "merges.txt").unlink(), ["vocab.json", "merges.txt"]),
        (lambda folder: (folder / "vocab.json").write_text("{"), ["vocab.json:1"]),
        (lambda folder: (folder / "vocab.json").write_text("[]"), ["vocab.json"]),
        (lambda folder: rewrite(folder, "vocab.json", lambda v: without(v, "hello")), []),
        (lambda folder: (folder / "merges.txt").write_text("q zq\n"), ["'q zq'"]),
        (lambda folder: (folder / "merges.txt").write_bytes(b"\xff"), ["merges.txt:1", "0xff"]),
        (lambda folder: (folder / "added_tokens.json").write_text('{"<s>": 999}'), ["added_tokens.json"]),
    ],
)
def test_errors_in_files_are_one_line_that_names_them(folder, tmp_path, change, named):
    shutil.copytree(folder, tmp_path / "copy")
    change(tmp_path / "copy")
    with toy.refused(*named) as error:
        TokenDictionary.from_files(tmp_path / "copy")
    assert str(tmp_path) in str(error.value)


def test_a_tokenizer_of_another_kind_is_encoded_by_the_tokenizers_library(reference, tmp_path):
    reference.save(str(tmp_path / "tokenizer.json"))
    rewrite(tmp_path, "tokenizer.json", lambda content: content | {"normalizer": {"type": "Lowercase"}})
    dictionary = TokenDictionary.from_files(tmp_path)
    assert dictionary.encode("HELLO world").tolist() == reference.encode("hello world").ids
    dictionary.save_files(tmp_path / "saved")
    again = TokenDictionary.from_files(tmp_path / "saved")
    assert again.symbols == dictionary.symbols
    assert again.encode("HELLO").tolist() == reference.encode("hello").ids


def test_added_tokens_match_in_a_text_and_the_ends_do_not(reference, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    reference.save(str(tmp_path / "tokenizer.json"))
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    rows = theirs.get_vocab_size()
    theirs.add_tokens(["covfefe"])
    theirs.add_special_tokens(["<|user|>", "<bos>", "<eos>"])
    theirs.save(str(tmp_path / "tokenizer.json"))
    config = {"bos_token": "<bos>", "eos_token": {"content": "<eos>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    dictionary = TokenDictionary.from_files(tmp_path)
    for _ in range(2):  # as read, and as saved next to a checkpoint
        assert (dictionary.bos(), dictionary.eos()) == (rows + 2, rows + 3)
        text = "hello covfefe<|user|> it"
        assert dictionary.encode(text).tolist() == theirs.encode(text).ids
        assert not {rows + 2, rows + 3} & {*dictionary.encode("a<bos>b<eos>").tolist()}
        assert dictionary.decode(dictionary.encode("a<bos>b<eos>")) == "a<bos>b<eos>"
        dictionary.save_files(tmp_path / "saved")
        dictionary = TokenDictionary.from_files(tmp_path / "saved")


def test_a_file_that_the_tokenizers_library_refuses_is_named_in_one_line(reference, tmp_path):
    reference.save(str(tmp_path / "tokenizer.json"))
    rewrite(tmp_path, "tokenizer.json", lambda content: content | {"normalizer": {"type": "Nonsense"}})
    with pytest.raises(UserError) as error:
        read_tokenizer(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(error.value) and "\n" not in str(error.value)


def test_a_byte_without_a_symbol_is_named():
    bpe = read_tokenizer_of({"a": 0, "b": 1})
    with toy.refused("0x63"):
        bpe.encode("abc")


def read_tokenizer_of(vocabulary):
    from plugins.data.text.causal_tokenizers import ByteLevelBPE

    return ByteLevelBPE(vocabulary, [])


def test_a_table_of_another_size_is_named():
    dictionary = TokenDictionary(Characters("ab"))
    check_size(dictionary, 3, "x.pt")
    with toy.refused("x.pt", 4, 3):
        check_size(dictionary, 4, "x.pt")


def test_unknown_words_and_ends():
    dictionary = TokenDictionary(Characters("ab"))
    assert (dictionary.index("a"), dictionary.index("zz"), dictionary.unk()) == (0, 3, 3)
    dictionary.add_symbol("<unk>", n=7)
    assert (dictionary.index("zz"), dictionary.unk(), dictionary.count[-1], dictionary.count[0]) == (3, 3, 7, 1)
    assert TokenDictionary(Characters("ab"), ["x", "</s>"]).symbols == ["a", "b", "x", "</s>"]  # no other end
    assert TokenDictionary(Characters("ab"), ["</s>", END]).eos() == 3


def test_identical_files_are_not_written_again(tmp_path):
    dictionary = TokenDictionary(Characters("ab"))
    dictionary.save_files(tmp_path)
    path = tmp_path / "characters.json"
    before = path.stat().st_ino
    dictionary.save_files(tmp_path)
    assert path.stat().st_ino == before
    TokenDictionary(Characters("abc")).save_files(tmp_path)
    assert json.loads(path.read_text()) == ["a", "b", "c"]


def test_ids_of_symbols_and_text_alternate_in_decoding():
    dictionary = TokenDictionary(Characters("ab"), ["<x>"])
    assert dictionary.decode([0, 2, 1, 1, 3, 4, 9]) == f"a<x>bb{END}"
