"""Tokenizers of Hugging Face folders: a text has transformers' ids, whichever file an option is in."""

import io
import json
import os
import shutil

import pytest
import sentencepiece
import toy

from plugins import checkpoints, hub
from plugins.errors import UserError
from plugins.hub import gpt2
from plugins.hub.huggingface.tokenizers_in import load, read_dictionary

pytestmark = pytest.mark.slow  # transformers takes seconds to import
TEXTS = [
    "hello world", " it's  covfefe", "a<|user|> b <|user|>c", "the\n\ncovfefes", "<pad>x <mark> y", "", " ", "שלום 🙂"
]  # fmt: skip


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def plain(transformers, tmp_path_factory):
    """The folder of a small GPT-2 with vocab.json and merges.txt; its table has 310 rows."""
    folder = tmp_path_factory.mktemp("plain")
    bpe = pytest.importorskip("tokenizers").ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS * 20, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    bpe.save_model(str(folder))
    config = transformers.GPT2Config(
        vocab_size=310, n_layer=1, n_head=1, n_embd=8, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def edit(folder, name, **changes):
    write(folder, name, json.loads((folder / name).read_text(encoding="utf-8")) | changes)


def token(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": True} | flags


def added_by_transformers(folder):
    """Add tokens and save, as a user does."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["covfefe", "<|user|>"])
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)


def in_the_config(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    added = [token("covfefe", single_word=True), token("<|user|>", special=True, rstrip=True)]
    rows = [vocabulary["covfefe"], len(vocabulary)]  # the first is a symbol of the BPE, too
    decoder = {str(row): each for row, each in zip(rows, added, strict=True)}
    write(folder, "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": decoder})


def with_prefix_space(folder):
    write(folder, "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True})


def lower_case(folder):
    added_by_transformers(folder)
    edit(folder, "tokenizer.json", normalizer={"type": "Lowercase"})
    edit(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


def split_specials(folder):
    added_by_transformers(folder)
    edit(folder, "tokenizer_config.json", split_special_tokens=True)


def in_the_map(folder):
    write(folder, "special_tokens_map.json", {"additional_special_tokens": ["<|user|>", "<pad>"]})


CHANGES = [added_by_transformers, in_the_config, with_prefix_space, lower_case, split_specials, in_the_map]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_ids_are_those_of_transformers(transformers, plain, tmp_path, change):
    folder = shutil.copytree(plain, tmp_path / "hf")
    change(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    checkpoints.write_causal_lm(tmp_path / "ours" / "model.pt", gpt2.read(folder))
    for dictionary in (read_dictionary(folder, None, 310), hub.load(tmp_path / "ours" / "model.pt").dictionary):
        for text in TEXTS:
            assert dictionary.encode(text).tolist() == theirs(text, add_special_tokens=False).input_ids, text
        assert len(dictionary) == 310


PIECES = {"T5": "spiece.model", "Llama": "tokenizer.model", "XLMRoberta": "sentencepiece.bpe.model"}


def with_tokenizer(transformers, folder, kind, *added):
    """Write a tokenizer of pieces with added tokens; return it as transformers reads the folder."""
    options = {"model_type": "bpe", "byte_fallback": True} if kind == "Llama" else {}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:4] * 20), model_writer=model, vocab_size=300, hard_vocab_limit=False,
        minloglevel=2, **options,
    )  # fmt: skip
    folder.mkdir()
    (folder / PIECES[kind]).write_bytes(model.getvalue())
    tokenizer = getattr(transformers, f"{kind}Tokenizer").from_pretrained(folder)
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(folder)
    (folder / PIECES[kind]).write_bytes(model.getvalue())
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("library", [True, False], ids=["with tokenizer.json", "without"])
@pytest.mark.parametrize("kind", PIECES)
def test_ids_of_pieces_are_those_of_transformers(transformers, plain, tmp_path, kind, library):
    folder = tmp_path / "pieces"
    theirs = with_tokenizer(transformers, folder, kind, *(["covfefe", "<|user|>"] if library else []))
    if not library:
        (folder / "tokenizer.json").unlink()
    dictionary = read_dictionary(plain, folder, 500)
    for text in TEXTS:
        assert dictionary.encode(text).tolist() == theirs(text, add_special_tokens=False).input_ids, text


@pytest.mark.parametrize("kind", PIECES)
def test_a_stated_index_that_is_not_transformers_is_named(transformers, plain, tmp_path, kind):
    folder = tmp_path / "pieces"
    theirs = with_tokenizer(transformers, folder, kind, "covfefe")
    index = theirs.get_vocab()["covfefe"]
    write(folder, "added_tokens.json", {"covfefe": index})
    read_dictionary(plain, folder, 500)
    write(folder, "added_tokens.json", {"covfefe": 7})
    with toy.refused(folder / "added_tokens.json", "'covfefe'", 7):
        read_dictionary(plain, folder, 500)


def test_a_token_beyond_the_table_is_named(transformers, plain, tmp_path):
    folder = tmp_path / "pieces"
    theirs = with_tokenizer(transformers, folder, "T5", "covfefe")
    with toy.refused(folder, "'covfefe'", len(theirs)):
        read_dictionary(plain, folder, len(theirs) - 1)


def test_ends_are_those_of_the_config_and_are_exported(transformers, plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"bos_token": "<bos>", "eos_token": "<eos>"})
    tokenizer.save_pretrained(folder)
    edit(folder, "config.json", bos_token_id=300, eos_token_id=301)
    checkpoints.write_causal_lm(tmp_path / "ours" / "model.pt", gpt2.read(folder))
    lm = hub.load(tmp_path / "ours" / "model.pt")
    assert (lm.dictionary.bos(), lm.dictionary.eos()) == (300, 301)
    assert lm.dictionary.decode([300, *lm.encode("hello"), 301]) == "<bos>hello<eos>"
    assert not {300, 301} & {*lm.encode("<bos>hello<eos>").tolist()}
    lm.save_pretrained(tmp_path / "back")
    for name in ("config.json", "generation_config.json"):
        config = json.loads((tmp_path / "back" / name).read_text())
        assert (config["bos_token_id"], config["eos_token_id"]) == (300, 301)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert (again.bos_token, again.eos_token) == ("<bos>", "<eos>")
    assert again("hello it").input_ids == lm.encode("hello it").tolist()


def test_an_end_that_is_an_ordinary_symbol_is_taken_from_the_config(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "hf")
    edit(folder, "config.json", bos_token_id=2, eos_token_id=2)
    assert read_dictionary(folder, None, 310).eos() == 2


def test_a_tokenizer_that_transformers_cannot_read_is_one_line_that_names_the_folder(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "hf")
    write(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError) as error:
        gpt2.read(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [*PIECES, "Bert"])
def test_files_of_a_class_that_are_missing_are_named(transformers, plain, tmp_path, kind):
    """transformers itself makes an empty tokenizer."""
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": f"{kind}Tokenizer"})
    with toy.refused(tmp_path, PIECES.get(kind, "vocab.txt"), "tokenizer.json"):
        read_dictionary(plain, tmp_path, 310)


def test_the_class_may_be_named_by_the_model(transformers, plain, tmp_path):
    shutil.copy(plain / "config.json", tmp_path)
    edit(tmp_path, "config.json", tokenizer_class="BertTokenizer")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    assert read_dictionary(tmp_path, None, 310).symbols[:7] == words


def saved(transformers, plain, folder):
    """Write a folder with all files of transformers; return it."""
    shutil.copytree(plain, folder)
    vocabulary = (folder / "vocab.json").read_bytes()
    transformers.GPT2Tokenizer.from_pretrained(folder).save_pretrained(folder)
    (folder / "vocab.json").write_bytes(vocabulary)
    return folder


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json"])
@pytest.mark.parametrize("index", [10**9, -1, "1", 5], ids=str)
def test_an_index_of_a_symbol_is_one_of_a_row_and_its_own(transformers, plain, tmp_path, name, index):
    folder = saved(transformers, plain, tmp_path / "hf")
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    (content if name == "vocab.json" else content["model"]["vocab"])["zzz"] = index
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    with toy.refused(folder / name, "'zzz'", f"index {index}"):
        load(folder)


def test_a_setting_with_which_no_text_is_encoded_names_the_folder(transformers, plain, tmp_path):
    folder = saved(transformers, plain, tmp_path / "hf")
    edit(folder, "tokenizer_config.json", model_max_length="x")
    with toy.refused(folder):
        load(folder)


def test_a_pipe_next_to_a_tokenizer_is_not_waited_for(transformers, plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "hf")
    os.mkfifo(folder / "sentencepiece.bpe.model")
    with toy.refused(folder / "sentencepiece.bpe.model"):
        load(folder)


def test_code_next_to_a_tokenizer_is_not_run(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "hf")
    (folder / "custom.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Custom: pass\n")
    config = {"tokenizer_class": "Custom", "auto_map": {"AutoTokenizer": ["custom.Custom", "custom.Custom"]}}
    write(folder, "tokenizer_config.json", config)
    with pytest.raises(UserError):
        gpt2.read(folder)
    assert not (tmp_path / "ran").exists()
