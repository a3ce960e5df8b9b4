"""OPT-125M-class folders become causal LMs with equal logits, ids and texts, and go back as GPT-2."""

import json

import pytest
import torch
import toy

from plugins import checkpoints, hub
from plugins.hub import gpt2

pytestmark = pytest.mark.slow  # transformers takes seconds to import
SIZE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24, "max_position_embeddings": 32
}  # fmt: skip
TEXT = "hello world, it's what it's about"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.fixture(scope="module")
def tokenizer(transformers, tmp_path_factory):
    """The tokenizer of an OPT: GPT-2's BPE with </s> at the beginning of a text."""
    bpe, folder = pytest.importorskip("tokenizers").ByteLevelBPETokenizer(), tmp_path_factory.mktemp("tokenizer")
    bpe.train_from_iterator([TEXT] * 20, vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    bpe.save_model(str(folder))
    ends = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    transformers.GPT2Tokenizer.from_pretrained(folder, **ends).save_pretrained(folder)
    return folder


def save(transformers, folder, tokenizer, kind="OPTForCausalLM", **options):
    """Write a folder whose every parameter matters; return the model."""
    theirs = transformers.AutoTokenizer.from_pretrained(tokenizer)
    theirs.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.OPTConfig(vocab_size=len(theirs), **{**SIZE, **options})
    model = getattr(transformers, kind)(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


OPTIONS = [
    {},
    {"activation_function": "gelu"},
    {"tie_word_embeddings": False},
    {"dropout": 0.3, "attention_dropout": 0.2},
]


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_folder_has_equal_logits_and_goes_back(transformers, tokenizer, tmp_path, options):
    model = save(transformers, tmp_path / "hf", tokenizer, **options)
    checkpoints.write_causal_lm(tmp_path / "ours" / "model.pt", gpt2.read(tmp_path / "hf"))
    lm = hub.load(tmp_path / "ours" / "model.pt")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert lm.encode(TEXT).tolist() == theirs(TEXT, add_special_tokens=False).input_ids
    assert lm.dictionary[lm.dictionary.bos()] == lm.dictionary[lm.dictionary.eos()] == "</s>"
    tokens = torch.randint(4, model.config.vocab_size, (2, 32), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lm.model(tokens)[0], model(tokens).logits, atol=1e-5, rtol=0)
    assert (lm.options["dropout"], lm.options["attention_dropout"]) == (
        options.get("dropout", 0.1), options.get("attention_dropout", 0.0)
    )  # fmt: skip
    hub.export(lm, tmp_path / "back")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back").eval()
    assert type(again).__name__ == "GPT2LMHeadModel"
    torch.testing.assert_close(again(tokens).logits, model(tokens).logits, atol=1e-5, rtol=0)


def test_a_model_without_its_head_has_the_tied_one(transformers, tokenizer, tmp_path):
    model = save(transformers, tmp_path / "hf", tokenizer, "OPTModel")
    ours = gpt2.read(tmp_path / "hf").eval()
    tokens = torch.arange(4, 24)[None]
    with torch.no_grad():
        expected = model(tokens).last_hidden_state @ model.decoder.embed_tokens.weight.t()
        torch.testing.assert_close(ours(tokens)[0], expected, atol=1e-5, rtol=0)


NAMED = {
    "post-norm": ({"do_layer_norm_before": False}, "do_layer_norm_before false"),
    "projection": ({"word_embed_proj_dim": 8}, "word_embed_proj_dim 8"),
    "biases": ({"enable_bias": False}, "enable_bias false"),
    "norms": ({"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine false"),
    "layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000"),
    "words": ({"vocab_size": 10**9}, "vocab_size 1000000000"),
    "positions": ({"max_position_embeddings": 10**9}, "max_position_embeddings 1000000000"),
    "width": ({"hidden_size": 10**9, "word_embed_proj_dim": 10**9}, "hidden_size 1000000000"),
    "inner": ({"ffn_dim": 10**9}, "ffn_dim 1000000000"),
    "heads": ({"num_attention_heads": 3}, "num_attention_heads 3"),
    "activation": ({"activation_function": "silu"}, "activation_function silu"),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_config_that_does_not_fit_is_one_line_that_names_it(transformers, tokenizer, tmp_path, case):
    options, named = NAMED[case]
    save(transformers, tmp_path / "hf", tokenizer)
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))
    with toy.refused("config.json", named):
        gpt2.read(tmp_path / "hf")


def test_a_missing_projection_is_named(transformers, tokenizer, tmp_path):
    model = save(transformers, tmp_path / "hf", tokenizer)
    state = model.state_dict()
    del state["model.decoder.layers.1.self_attn.v_proj.weight"]
    (tmp_path / "hf" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "hf" / "pytorch_model.bin")
    with toy.refused("pytorch_model.bin", "layers.1.self_attn.q_proj.weight"):
        gpt2.read(tmp_path / "hf")
