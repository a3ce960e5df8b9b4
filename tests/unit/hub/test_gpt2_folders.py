"""Folders of GPT-2 that we write and read ourselves, without transformers."""

import json
from pathlib import Path

import pytest
import torch
import toy

from plugins import checkpoints
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub import CausalLM, gpt2

pytest.importorskip("tokenizers")
PATH = Path("folder/config.json")
CONFIG = {"model_type": "gpt2", "vocab_size": 9, "n_positions": 8, "n_embd": 4, "n_layer": 2, "n_head": 2}
SIZE = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 4, "block_size": 8}


def make(seed=0, **options):
    dictionary = TokenDictionary(Characters("\n abcdef"))
    model = checkpoints.new_model(gpt2.CausalLanguageModel, SIZE | options, dictionary)
    return toy.randomize(model, seed).eval()


def test_options_of_a_config():
    found = gpt2.options_of(CONFIG, PATH)
    assert {name: found[name] for name in SIZE} == SIZE
    assert (found["vocab_size"], found["decoder_ffn_embed_dim"], found["activation_fn"]) == (9, None, "gelu_tanh")
    assert (found["norm_eps"], found["tie_embeddings"]) == (1e-5, True)
    assert found["dropout"] == found["embedding_dropout"] == found["attention_dropout"] == 0.1
    more = {"n_inner": 6, "activation_function": "relu", "resid_pdrop": 0.2, "embd_pdrop": 0.3, "attn_pdrop": 0.4,
            "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False}  # fmt: skip
    found = gpt2.options_of(CONFIG | more, PATH)
    assert (found["decoder_ffn_embed_dim"], found["activation_fn"], found["norm_eps"]) == (6, "relu", 1e-3)
    assert (found["dropout"], found["embedding_dropout"], found["attention_dropout"]) == (0.2, 0.3, 0.4)
    assert found["tie_embeddings"] is False


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gptj"}, "model_type gptj"),
        ({"model_type": ["gpt2"]}, "model_type"),
        ({"model_type": "clap_roberta"}, "use the checkpoint"),
        ({"scale_attn_weights": False}, "scale_attn_weights false"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx true"),
        ({"add_cross_attention": True}, "add_cross_attention true"),
        ({"n_head": 3}, "n_head 3"),
        ({"n_inner": 0}, "n_inner 0"),
        ({"activation_function": "silu"}, "activation_function silu"),
        ({"activation_function": ["relu"]}, "activation_function"),
        ({"attn_pdrop": 2}, "attn_pdrop 2"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon 0"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings false"),
    ],
)
def test_what_the_model_does_not_support_is_named(change, named):
    with toy.refused(PATH, named):
        gpt2.options_of(CONFIG | change, PATH)


OPTIONS = [
    {},
    {"tie_embeddings": False},
    {"activation_fn": "relu", "norm_eps": 1e-3, "decoder_ffn_embed_dim": 6},
    {"dropout": 0.2, "embedding_dropout": 0.3, "attention_dropout": 0.4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_written_folder_gives_the_model_back(tmp_path, options):
    model = make(**options)
    gpt2.write(model, tmp_path / "hf")
    back = gpt2.read(tmp_path / "hf")
    assert back.decoder.dictionary.symbols == model.decoder.dictionary.symbols
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    for name in ("activation_fn", "norm_eps", "dropout", "embedding_dropout", "attention_dropout", "tie_embeddings"):
        assert str(back.cfg[name]) == str(model.cfg[name])
    lm = CausalLM.from_pretrained(tmp_path / "hf")
    torch.testing.assert_close(lm.logits("abc"), model(lm.encode("abc")[None])[0][0], atol=1e-5, rtol=1e-4)


def test_the_config_is_that_of_a_gpt2(tmp_path):
    gpt2.write(make(dropout=0.2), tmp_path / "hf")
    found = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert found == CONFIG | {
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
        "architectures": ["GPT2LMHeadModel"], "n_inner": found["n_inner"], "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "resid_pdrop": 0.2, "embd_pdrop": found["embd_pdrop"],
        "attn_pdrop": found["attn_pdrop"], "tie_word_embeddings": True, "bos_token_id": 8, "eos_token_id": 8,
    }  # fmt: skip
    assert json.loads((tmp_path / "hf" / "generation_config.json").read_text()) == {
        "bos_token_id": 8, "eos_token_id": 8, "pad_token_id": 8,
    }  # fmt: skip


def test_linear_layers_are_stored_transposed_and_a_tied_table_once():
    model = make(bias=False)
    found, state = gpt2.tensors_of(model), model.state_dict()
    assert "lm_head.weight" not in found and "lm_head.weight" in gpt2.tensors_of(make(tie_embeddings=False))
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        stored, ours = found[f"transformer.h.1.{name}.weight"], state[f"decoder.transformer.h.1.{name}.weight"]
        assert torch.equal(stored.t(), ours) and stored.is_contiguous()
        bias = found[f"transformer.h.1.{name}.bias"]  # which the model lacks
        assert bias.shape == (len(ours),) and not bias.any()
    assert torch.equal(found["transformer.wte.weight"], state["decoder.transformer.wte.weight"])
    assert not found["transformer.ln_f.bias"].any() and len(found["transformer.ln_f.bias"]) == 4
    assert "transformer.wte.bias" not in found


@pytest.mark.parametrize(
    ("options", "named"),
    [({"positions": "alibi"}, "--positions alibi"), ({"activation_fn": "tanh"}, "--activation-fn tanh"),
     ({"residual": False}, "--residual False")],
)  # fmt: skip
def test_only_a_gpt2_is_written_as_one(tmp_path, options, named):
    model = make(**options)
    assert not gpt2.is_gpt2(model) and gpt2.is_gpt2(make())
    with toy.refused(named):
        gpt2.write(model, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_a_tuned_or_converted_model_is_not_written():
    tuned = make()
    tuned.cfg.peft = "lora"
    with toy.refused("--peft lora", "merge_peft.py"):
        gpt2.config_of(tuned)
    with toy.refused("int8"):
        gpt2.config_of(CausalLM(make(), make().decoder.dictionary).to(dtype=torch.int8).model)


def stored(tmp_path, **options):
    gpt2.write(make(**options), tmp_path / "hf")
    return gpt2.read_weights(tmp_path / "hf"), gpt2.options_of(CONFIG, PATH)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"decoder_layers": 3}, "n_layer 3"), ({"vocab_size": 8}, "vocab_size 8"), ({"block_size": 9}, "n_positions 9"),
     ({"decoder_embed_dim": 8}, "n_embd 8"), ({"decoder_ffn_embed_dim": 5}, "n_inner 5")],
)  # fmt: skip
def test_sizes_are_those_of_the_tensors(tmp_path, change, named):
    found, options = stored(tmp_path)
    gpt2.check_sizes(options, found, PATH)
    gpt2.check_sizes(options | {"decoder_ffn_embed_dim": 16}, found, PATH)
    gpt2.check_sizes(options, {name: value for name, value in found.items() if name != "wte.weight"}, PATH)
    with toy.refused(PATH, named):
        gpt2.check_sizes(options | change, found, PATH)


def test_missing_unknown_and_misshapen_tensors_are_named(tmp_path):
    found, _ = stored(tmp_path)
    shapes, folder, file = make().state_dict(), tmp_path / "hf", tmp_path / "hf" / "model.safetensors"
    assert gpt2.translate(found, shapes, True, folder).keys() == shapes.keys()
    with toy.refused(file, "h.1.ln_2.bias"):
        gpt2.translate({k: v for k, v in found.items() if k != "h.1.ln_2.bias"}, shapes, True, folder)
    with toy.refused(file, "lm_head.weight"):
        gpt2.translate(found, shapes, False, folder)
    with toy.refused(file, "score.weight"):
        gpt2.translate(found | {"score.weight": (torch.zeros(1), file)}, shapes, True, folder)
    with toy.refused(file, "h.0.mlp.c_fc.weight", "[16, 4]", "[4, 16]"):
        name = "h.0.mlp.c_fc.weight"
        gpt2.translate(found | {name: (found[name][0].t(), file)}, shapes, True, folder)
    with toy.refused(file, "lm_head.weight", "wte.weight"):
        gpt2.translate(found | {"lm_head.weight": (torch.zeros(9, 4), file)}, shapes, True, folder)


def test_masks_of_older_files_and_prefixes_are_left_out(tmp_path, monkeypatch):
    tensors = dict.fromkeys(
        ["transformer.h.0.attn.bias", "h.0.attn.masked_bias", "h.0.attn.c_attn.bias", "wte.weight"], 1
    )
    monkeypatch.setattr(gpt2.files, "read_weights", lambda folder: tensors)
    assert gpt2.read_weights(tmp_path).keys() == {"h.0.attn.c_attn.bias", "wte.weight"}


def test_fillers_of_the_last_rows_are_not_written():
    dictionary = TokenDictionary(Characters("ab"))
    dictionary.fill(5)
    dictionary.add_symbol("<x>")
    dictionary.fill(8)
    added = json.loads(gpt2.tokenizer_files(dictionary)["added_tokens.json"])
    assert added == {"<|endoftext|>": 2, "madeupword0003": 3, "madeupword0004": 4, "<x>": 5}


def test_a_folder_of_a_whole_model_has_no_base(tmp_path):
    gpt2.write(make(), tmp_path / "hf")
    with toy.refused("hf", "base.pt"):
        CausalLM.from_pretrained(tmp_path / "hf", base="base.pt")


def test_a_subclass_of_a_plugin_is_not_written_as_its_parent(tmp_path):
    class OfAPlugin(gpt2.CausalLanguageModel):
        """Has the tensors of its parent."""

    model = make()
    model.__class__ = OfAPlugin
    with toy.refused("OfAPlugin", __name__.partition(".")[0]):
        gpt2.write(model, tmp_path / "hf")
    assert not list(tmp_path.iterdir())
