"""GPT-2 as transformers writes it: equal logits in both directions, and errors that name the unsupported part."""

import json
import shutil

import pytest
import torch
import toy

from plugins import checkpoints, hub
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub import gpt2

pytestmark = pytest.mark.slow  # transformers takes seconds to import
SIZE = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0}
TEXT = "hello world, it's what it's about"


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A folder with vocab.json and merges.txt of a small byte-level BPE."""
    bpe = pytest.importorskip("tokenizers").ByteLevelBPETokenizer()
    text = [TEXT, "שלום 🙂", "the quick brown fox jumps over the lazy dog"] * 20
    bpe.train_from_iterator(text, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    assert bpe.get_vocab_size() == 300
    folder = tmp_path_factory.mktemp("tokenizer")
    bpe.save_model(str(folder))
    return folder


def theirs(transformers, kind="GPT2LMHeadModel", **options):
    """A GPT-2 whose every parameter matters."""
    torch.manual_seed(1)
    model = getattr(transformers, kind)(transformers.GPT2Config(vocab_size=300, **{**SIZE, **options})).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


def save(model, folder, tokenizer, name="model.safetensors"):
    """Write the folder of a model as transformers does, with its weights as a .bin on request."""
    model.save_pretrained(folder)
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(tokenizer / file, folder)
    if name != "model.safetensors":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / name)
    return folder


def logits_of(model, tokens):
    """Logits of a GPT-2 of theirs; of GPT2Model, those of its tied table."""
    with torch.inference_mode():
        out = model(tokens)
        return out.logits if hasattr(out, "logits") else out.last_hidden_state @ model.wte.weight.t()


TOKENS = torch.randint(300, (2, 32), generator=torch.Generator().manual_seed(0))
OPTIONS = [
    {},
    {"activation_function": "gelu"},
    {"activation_function": "relu", "layer_norm_epsilon": 1e-3, "n_inner": 40},
    {"tie_word_embeddings": False},
]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "GPT2Model"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_imported_logits_are_theirs(transformers, tokenizer, tmp_path, kind, name, options):
    if kind == "GPT2Model" and not options.get("tie_word_embeddings", True):
        return  # it has no output projection
    model = theirs(transformers, kind, **options)
    ours = gpt2.read(save(model, tmp_path / "hf", tokenizer, name)).eval()
    with torch.inference_mode():
        torch.testing.assert_close(ours(TOKENS)[0], logits_of(model, TOKENS), atol=1e-4, rtol=0)


def test_a_checkpoint_contains_the_imported_weights_and_tokenizer(transformers, tokenizer, tmp_path):
    model = theirs(transformers)
    folder = save(model, tmp_path / "hf", tokenizer)
    checkpoints.write_causal_lm(tmp_path / "run" / "model.pt", gpt2.read(folder))
    lm = hub.load(tmp_path / "run" / "model.pt")
    assert isinstance(lm, hub.CausalLM)
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    assert lm.encode(TEXT).tolist() == fast(TEXT).input_ids
    ids = lm.encode(TEXT)
    torch.testing.assert_close(lm.logits(TEXT), logits_of(model, ids[None])[0], atol=1e-4, rtol=0)
    expected = model(ids[None], labels=ids[None]).loss.item()
    assert lm.loss(TEXT) == pytest.approx(expected, abs=1e-5)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["merges.txt", "model.pt", "vocab.json"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_exported_logits_are_ours(transformers, tokenizer, tmp_path, options):
    model = theirs(transformers, **options)
    lm = hub.CausalLM.from_pretrained(save(model, tmp_path / "hf", tokenizer))
    lm.save_pretrained(tmp_path / "back")
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "back").eval()
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    fast = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert fast(TEXT).input_ids == lm.encode(TEXT).tolist()
    assert fast.eos_token_id == lm.dictionary.eos() == again.generation_config.eos_token_id


def test_a_model_without_biases_is_exported_with_zeros(transformers, tokenizer, tmp_path):
    options = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 32}
    dictionary = gpt2.read_dictionary(tokenizer, None, 300)
    model = checkpoints.new_model(gpt2.CausalLanguageModel, options | {"bias": False}, dictionary).eval()
    gpt2.write(model, tmp_path / "hf")
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "hf").eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(TOKENS)[0], logits_of(again, TOKENS), atol=1e-4, rtol=0)


def test_an_added_symbol_and_its_row_are_exported_and_come_back(transformers, tokenizer, tmp_path):
    lm = hub.CausalLM.from_pretrained(save(theirs(transformers), tmp_path / "hf", tokenizer))
    weights, rows = lm.model.state_dict(), len(lm.dictionary)
    lm.dictionary.add_symbol("<|summary|>")
    options = {**lm.model.cfg, "vocab_size": None}
    model = checkpoints.build_model(gpt2.CausalLanguageModel, options, weights, "x", lm.dictionary)
    table = model.decoder.transformer.wte.weight
    torch.testing.assert_close(table[-1], table[:-1].mean(0))
    gpt2.write(model, tmp_path / "back")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert again.convert_tokens_to_ids("<|summary|>") == rows
    back = gpt2.read(tmp_path / "back")
    assert back.decoder.dictionary.symbols == lm.dictionary.symbols
    assert torch.equal(back.decoder.transformer.wte.weight, table)


def test_rows_without_a_symbol_get_fillers(transformers, tokenizer, tmp_path):
    config = transformers.GPT2Config(vocab_size=320, **SIZE)
    model = transformers.GPT2LMHeadModel(config).eval()
    lm = hub.CausalLM.from_pretrained(save(model, tmp_path / "hf", tokenizer))
    assert len(lm.dictionary) == 320
    assert lm.dictionary[319] == "madeupword0319"


def test_a_symbol_after_fillers_keeps_its_row(tmp_path):
    dictionary = TokenDictionary(Characters("abc"))
    dictionary.fill(8)
    row = dictionary.add_symbol("<|sep|>")
    dictionary.fill(12)
    options = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 8}
    gpt2.write(checkpoints.new_model(gpt2.CausalLanguageModel, options, dictionary), tmp_path / "out")
    back = gpt2.read(tmp_path / "out").decoder.dictionary
    assert row == 8 and back.index("<|sep|>") == row and back.symbols == dictionary.symbols


def change_config(folder, **options):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


def change_weights(folder, change):
    weights = torch.load(folder / "pytorch_model.bin")
    change(weights)
    torch.save(weights, folder / "pytorch_model.bin")


NAMED = {
    "model type": (lambda d: change_config(d, model_type="gptj"), "config.json", "model_type gptj", "xlm-roberta"),
    "scale": (lambda d: change_config(d, scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx true"),
    "activation": (lambda d: change_config(d, activation_function="silu"), "activation_function silu"),
    "layers": (lambda d: change_config(d, n_layer=10**9), "config.json", "n_layer 1000000000"),
    "symbols": (lambda d: change_config(d, vocab_size=10**9), "config.json", "vocab_size 1000000000"),
    "positions": (lambda d: change_config(d, n_positions=10**9), "config.json", "n_positions 1000000000"),
    "width": (lambda d: change_config(d, n_embd=2 * 10**9), "config.json", "n_embd 2000000000"),
    "inner width": (lambda d: change_config(d, n_inner=10**9), "config.json", "n_inner 1000000000"),
    "heads": (lambda d: change_config(d, n_head=3), "config.json", "n_head 3"),
    "a size that is a text": (lambda d: change_config(d, n_layer="2"), "config.json", "n_layer 2"),
    "dropout": (lambda d: change_config(d, resid_pdrop=[1]), "config.json", "resid_pdrop [1]"),
    "ends": (lambda d: change_config(d, eos_token_id="x"), "config.json", "eos_token_id x"),
    "no config": (lambda d: (d / "config.json").write_text("{"), "config.json:1"),
    "too few rows": (lambda d: change_config(d, vocab_size=200), "config.json", "vocab_size 200"),
    "no tokenizer": (lambda d: (d / "vocab.json").unlink(), "hf"),
    "no weights": (lambda d: (d / "pytorch_model.bin").unlink(), "hf"),
    "truncated": (lambda d: (d / "pytorch_model.bin").write_bytes(b"PK\3\4"), "pytorch_model.bin"),
    "missing": (
        lambda d: change_weights(d, lambda w: w.pop("transformer.h.1.ln_2.bias")),
        "pytorch_model.bin",
        "h.1.ln_2.bias",
    ),
    "shape": (
        lambda d: change_weights(d, lambda w: w.update({"transformer.h.0.mlp.c_fc.weight": torch.zeros(16, 60)})),
        "pytorch_model.bin",
        "h.0.mlp.c_fc.weight",
        "[16, 60]",
        "config.json",
        "[16, 64]",
    ),
    "unknown": (
        lambda d: change_weights(d, lambda w: w.update({"score.weight": torch.zeros(2, 16)})),
        "pytorch_model.bin",
        "score.weight",
    ),
    "not tied": (
        lambda d: change_weights(d, lambda w: w.update({"lm_head.weight": torch.zeros(300, 16)})),
        "lm_head.weight",
        "wte.weight",
    ),
    "code": (
        lambda d: torch.save({"x": shutil.rmtree}, d / "pytorch_model.bin"),
        "shutil.rmtree",
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_contents_that_do_not_fit_are_named_in_one_line(transformers, tokenizer, tmp_path, case):
    change, *named = NAMED[case]
    folder = save(theirs(transformers), tmp_path / "hf", tokenizer, "pytorch_model.bin")
    change(folder)
    with toy.refused(folder, *named):
        gpt2.read(folder)


def test_causal_masks_of_older_files_are_left_out(transformers, tokenizer, tmp_path):
    folder = save(theirs(transformers), tmp_path / "hf", tokenizer, "pytorch_model.bin")
    masks = {"transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32), "transformer.h.0.attn.masked_bias": torch.ones(1)}
    change_weights(folder, lambda weights: weights.update(masks))
    gpt2.read(folder)


def test_another_tokenizer_is_exported_in_its_own_format_too(transformers, tmp_path):
    options = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 32}
    dictionary = TokenDictionary(Characters("\n abc"))
    model = checkpoints.new_model(gpt2.CausalLanguageModel, options, dictionary)
    gpt2.write(model, tmp_path / "hf")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert theirs("ab c\n").input_ids == dictionary.encode("ab c\n").tolist()
    assert theirs.eos_token_id == dictionary.eos()
    back = gpt2.read(tmp_path / "hf")
    assert back.decoder.dictionary.symbols == dictionary.symbols
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_weights_in_parts(transformers, tokenizer, tmp_path):
    model = theirs(transformers)
    model.save_pretrained(tmp_path / "hf", max_shard_size="10KB")
    assert (tmp_path / "hf" / "model.safetensors.index.json").exists()
    ours = gpt2.read(tmp_path / "hf", tokenizer).eval()
    with torch.inference_mode():
        torch.testing.assert_close(ours(TOKENS)[0], logits_of(model, TOKENS), atol=1e-4, rtol=0)


def test_an_export_never_overwrites(transformers, tokenizer, tmp_path):
    lm = hub.CausalLM.from_pretrained(save(theirs(transformers), tmp_path / "hf", tokenizer))
    with toy.refused("hf"):
        lm.save_pretrained(tmp_path / "hf")


def test_a_folder_of_a_whole_model_rejects_a_base(transformers, tokenizer, tmp_path):
    folder = save(theirs(transformers), tmp_path / "hf", tokenizer)
    with toy.refused("hf", "base.pt"):
        hub.CausalLM.from_pretrained(folder, base="base.pt")


def test_generation_is_theirs(transformers, tokenizer, tmp_path):
    model = theirs(transformers)
    lm = hub.CausalLM.from_pretrained(save(model, tmp_path / "hf", tokenizer))
    prompt = lm.encode(TEXT[:12])
    expected = model.generate(prompt[None], max_new_tokens=10, do_sample=False, pad_token_id=0)[0, len(prompt) :]
    ours = lm.generate(TEXT[:12], max_length=10)
    assert ours == lm.decode(expected[expected != 0])
    assert lm.sample(TEXT[:12], 10, temperature=0)[: len(ours)] == ours


@pytest.mark.parametrize("theirs_, ours", [("resid_pdrop", "dropout"), ("embd_pdrop", "embedding_dropout"),
                                           ("attn_pdrop", "attention_dropout")])  # fmt: skip
def test_each_of_the_three_dropouts_has_its_own_place(transformers, tokenizer, tmp_path, theirs_, ours):
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, theirs_: 0.25}
    lm = hub.CausalLM.from_pretrained(save(theirs(transformers, **rates), tmp_path / "hf", tokenizer))
    found = {name: lm.options[name] for name in ("dropout", "embedding_dropout", "attention_dropout")}
    assert found == {"dropout": 0.0, "embedding_dropout": 0.0, "attention_dropout": 0.0, ours: 0.25}


@pytest.mark.parametrize(
    ("theirs_name", "ours_name"),
    [("resid_pdrop", "dropout"), ("embd_pdrop", "embedding_dropout"), ("attn_pdrop", "attention_dropout")],
)
def test_each_dropout_goes_to_its_place_and_back(transformers, tokenizer, tmp_path, theirs_name, ours_name):
    names = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    lm = hub.CausalLM.from_pretrained(
        save(theirs(transformers, **names | {theirs_name: 0.3}), tmp_path / "hf", tokenizer)
    )
    ours = {name: lm.model.cfg[name] for name in ("dropout", "embedding_dropout", "attention_dropout")}
    assert ours == dict.fromkeys(ours, 0.0) | {ours_name: 0.3}
    lm.save_pretrained(tmp_path / "back")
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {name: config[name] for name in names} == names | {theirs_name: 0.3}
