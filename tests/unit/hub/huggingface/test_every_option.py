"""Every option of transformers' configs: the imported model has equal logits, or one line names the option."""

import json
import shutil

import pytest
import torch

from plugins import hub
from plugins.errors import UserError
from plugins.hub import gpt2
from plugins.hub.huggingface import roberta_in

pytestmark = pytest.mark.slow  # transformers takes seconds to import
TEXT = ["the quick brown fox jumps over the lazy dog", "it's what it's about, naïve café", "12 3"]
ACTIVATIONS = [  # of transformers
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh", "gelu_pytorch_tanh",
    "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu2", "relu6", "sigmoid",
    "silu", "sqrtsoftplus", "swish", "tanh", "xielu",
]  # fmt: skip
ACTIVATION = ("hidden_act", "activation_function")
EVERY = {  # options of every config; the values differ from the defaults and from SIZES
    "output_hidden_states": [True], "output_attentions": [True], "return_dict": [False],
    "dtype": ["bfloat16", "float16"], "chunk_size_feed_forward": [4], "is_encoder_decoder": [True],
    "id2label": [{0: "a", 1: "b", 2: "c"}], "label2id": [{"a": 0, "b": 1}], "problem_type": ["regression"],
    "use_cache": [False], "tie_word_embeddings": [False], "architectures": [["Other"]],
    "bos_token_id": [4], "eos_token_id": [5], "pad_token_id": [3],
}  # fmt: skip
UNCHANGED = {"transformers_version", "_name_or_path", "model_type"}  # written by transformers itself
SIZES = {
    "roberta": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
                "max_position_embeddings": 34, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0},
    "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24,
            "max_position_embeddings": 32},
}  # fmt: skip
VALUES = {
    "roberta": EVERY | {
        "vocab_size": [330], "hidden_size": [24], "num_hidden_layers": [3], "num_attention_heads": [4],
        "intermediate_size": [40], "hidden_act": ACTIVATIONS, "hidden_dropout_prob": [0.3], "type_vocab_size": [2, 3],
        "attention_probs_dropout_prob": [0.3], "max_position_embeddings": [50], "initializer_range": [0.5],
        "layer_norm_eps": [1e-12, 1e-3], "classifier_dropout": [0.3], "is_decoder": [True],
        "add_cross_attention": [True],
    },
    "gpt2": EVERY | {
        "vocab_size": [330], "n_positions": [40], "n_embd": [24], "n_layer": [3], "n_head": [4], "n_inner": [40],
        "activation_function": ACTIVATIONS, "resid_pdrop": [0.3], "embd_pdrop": [0.3], "attn_pdrop": [0.3],
        "layer_norm_epsilon": [1e-3], "initializer_range": [0.5], "summary_type": ["mean"], "summary_use_proj": [False],
        "summary_activation": ["tanh"], "summary_proj_to_labels": [False], "summary_first_dropout": [0.3],
        "scale_attn_weights": [False], "scale_attn_by_inverse_layer_idx": [True], "reorder_and_upcast_attn": [True],
        "add_cross_attention": [True],
    },
    "opt": EVERY | {
        "vocab_size": [330], "hidden_size": [24], "num_hidden_layers": [3], "ffn_dim": [40],
        "max_position_embeddings": [50], "do_layer_norm_before": [False], "_remove_final_layer_norm": [True],
        "word_embed_proj_dim": [8], "dropout": [0.3], "attention_dropout": [0.3], "num_attention_heads": [4],
        "activation_function": ACTIVATIONS, "layerdrop": [0.3], "init_std": [0.5], "enable_bias": [False],
        "layer_norm_elementwise_affine": [False],
    },
}  # fmt: skip
KINDS = {
    "roberta": ("RobertaConfig", "RobertaForMaskedLM"),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
    "opt": ("OPTConfig", "OPTForCausalLM"),
}
REFUSED = {  # options that are named in an error; all others give equal logits
    "roberta": {"is_decoder", "add_cross_attention", "pad_token_id"},
    "gpt2": {"scale_attn_weights", "scale_attn_by_inverse_layer_idx", "add_cross_attention"},
    "opt": {"do_layer_norm_before", "_remove_final_layer_norm", "word_embed_proj_dim",
            "enable_bias", "layer_norm_elementwise_affine"},
}  # fmt: skip
KNOWN_ACTIVATIONS = {
    "roberta": {"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "tanh", "linear"},
    "gpt2": {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"},
}
KNOWN_ACTIVATIONS["opt"] = KNOWN_ACTIVATIONS["gpt2"]
CASES = [
    pytest.param(family, name, value, id=f"{family}-{name}-{value if isinstance(value, str) else i}")
    for family, options in VALUES.items() for name, values in options.items() for i, value in enumerate(values)
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(transformers, tmp_path_factory):
    """The tokenizer's files of each family."""
    tokenizers, found = pytest.importorskip("tokenizers"), {}
    special = {"gpt2": ["<|endoftext|>"], "opt": ["<s>", "<pad>", "</s>", "<unk>"]}
    for family in KINDS:
        folder = found[family] = tmp_path_factory.mktemp(family)
        bpe = tokenizers.ByteLevelBPETokenizer()
        symbols = special.get(family, ["<s>", "<pad>", "</s>", "<unk>"])
        bpe.train_from_iterator(TEXT * 20, vocab_size=300, special_tokens=symbols, show_progress=False)
        bpe.save_model(str(folder))
        if family == "roberta":
            vocabulary = bpe.get_vocab() | {"<mask>": bpe.get_vocab_size()}
            (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
            mask = transformers.AddedToken("<mask>", lstrip=True, special=True)
            transformers.RobertaTokenizer.from_pretrained(folder, mask_token=mask).save_pretrained(folder)
        else:
            ends = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
            ends = ends if family == "opt" else {}
            transformers.GPT2Tokenizer.from_pretrained(folder, **ends).save_pretrained(folder)
    return found


@pytest.mark.parametrize("family", KINDS)
def test_the_table_has_every_option(transformers, family):
    config = getattr(transformers, KINDS[family][0])().to_dict()
    assert set(transformers.activations.ACT2FN) <= set(ACTIVATIONS)
    assert config.keys() - UNCHANGED <= VALUES[family].keys()
    for name, values in VALUES[family].items():
        assert name in ACTIVATION or SIZES[family].get(name, config.get(name)) not in values, name


@torch.no_grad()
@pytest.mark.parametrize(("family", "name", "value"), CASES)
def test_an_option_gives_equal_logits_or_is_named(transformers, folders, tmp_path, family, name, value):
    folder = shutil.copytree(folders[family], tmp_path / "hf")
    rows = len(transformers.AutoTokenizer.from_pretrained(folder))
    options = {"vocab_size": rows, **SIZES[family], name: value}
    if name == "add_cross_attention" and family == "roberta":
        options["is_decoder"] = True  # transformers requires it
    kind, model_kind = (getattr(transformers, name) for name in KINDS[family])
    torch.manual_seed(1)
    of_calls = ("dtype", "output_hidden_states", "output_attentions", "return_dict")  # what a call returns
    written = kind(**options).to_dict()[name]
    model = model_kind(kind(**{key: value for key, value in options.items() if key not in of_calls})).eval()
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    if name == "dtype":
        model.to(getattr(torch, value))
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value if name == "dtype" else written}))
    known = value in KNOWN_ACTIVATIONS[family] if name in ACTIVATION else name not in REFUSED[family]
    if not known:
        with pytest.raises(UserError) as error:
            convert(transformers, family, folder, tmp_path / "ours.pt")
        assert "\n" not in str(error.value) and "config.json" in str(error.value)
        named = "is_decoder" if name == "add_cross_attention" and family == "roberta" else name
        assert f" {named} " in str(error.value)
        return
    ours, order = convert(transformers, family, folder, tmp_path / "ours.pt")
    tokens = torch.randint(5, rows - 1, (2, 20), generator=torch.Generator().manual_seed(0))
    expected = model.float()(order[tokens]).logits[..., order]
    assert (ours(tokens)[0] - expected).abs().max() <= 1e-4


def convert(transformers, family, folder, path):
    """Return the imported model, and for each of its symbols the row of transformers' table."""
    if family == "roberta":
        model = roberta_in.convert(folder, path)
        rows, mask = model.args.vocab_size, transformers.AutoTokenizer.from_pretrained(folder).mask_token_id
        order = [i for i in range(rows) if i != mask] + [mask]
        return hub.load(path).model, torch.tensor(order)
    model = gpt2.read(folder).eval()
    return model, torch.arange(model.cfg.vocab_size)
