"""Adapters in the peft library's files: equal logits on transformers' GPT-2, both directions."""

import json
import runpy

import pytest
import torch
import toy
from peft_models import train

from plugins import checkpoints, hub
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub import adapters, gpt2, peft_format
from plugins.hub.huggingface import files
from plugins.models.causal_lm import CausalLanguageModel

pytestmark = pytest.mark.slow  # transformers and peft take seconds to import
METHODS = {
    "lora": {"peft": "lora", "lora_rank": 4},
    "lora of all layers": {
        "peft": "lora", "lora_rank": 2, "lora_targets": "attn.c_attn,attn.c_proj,mlp.c_fc,mlp.c_proj",
    },
    "rslora": {"peft": "lora", "lora_rank": 4, "lora_variant": "rslora"},
    "dora": {"peft": "lora", "lora_rank": 4, "lora_variant": "dora"},
    "ia3": {"peft": "lora", "lora_variant": "ia3"},
    "prompt": {"peft": "prompt", "prompt_tokens": 5},
}  # fmt: skip
SIZE = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 32}
TOKENS = torch.randint(300, (2, 32 - 5), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def peft():
    return pytest.importorskip("peft")


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def base(transformers, tmp_path_factory):
    """Folder of a GPT-2 whose every parameter matters, and its checkpoint."""
    folder = tmp_path_factory.mktemp("base")
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=300, **sizes))
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder / "hf")
    bpe = pytest.importorskip("tokenizers").ByteLevelBPETokenizer()
    text = ["the quick brown fox jumps over the lazy dog", "it is what it is about"] * 20
    bpe.train_from_iterator(text, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    bpe.save_model(str(folder / "hf"))
    checkpoints.write_causal_lm(folder / "ours" / "base.pt", gpt2.read(folder / "hf"))
    return folder / "hf", folder / "ours" / "base.pt"


@pytest.fixture(scope="module", params=METHODS)
def adapter(request, base, tmp_path_factory):
    """A trained adapter's checkpoint, and its logits."""
    path = tmp_path_factory.mktemp("adapter") / "adapter.pt"
    untuned, _ = checkpoints.read_causal_lm(base[1])
    options = {**untuned.cfg, **METHODS[request.param], "peft_base": str(base[1])}
    model = checkpoints.new_model(CausalLanguageModel, options, untuned.decoder.dictionary)
    train(model, TOKENS)
    checkpoints.write_causal_lm(path, model)
    return path, logits_of_ours(model)


def logits_of_ours(model):
    with torch.inference_mode():
        return model.eval()(TOKENS)[0]


def logits_of(model):
    with torch.inference_mode():
        return model(TOKENS).logits


def load_theirs(peft, transformers, base, folder):
    model = transformers.GPT2LMHeadModel.from_pretrained(base)
    return peft.PeftModel.from_pretrained(model, str(folder)).eval()


def test_the_library_loads_what_is_exported_with_equal_logits(peft, transformers, base, adapter, tmp_path):
    path, expected = adapter
    peft_format.export(str(path), tmp_path / "exported", base_model="gpt2")
    model = load_theirs(peft, transformers, base[0], tmp_path / "exported")
    prompt = 5 if "PROMPT" in str(model.peft_config["default"].peft_type) else 0
    torch.testing.assert_close(logits_of(model)[:, prompt:], expected, atol=1e-4, rtol=0)
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == [peft_format.CONFIG, peft_format.WEIGHTS]
    assert json.loads((tmp_path / "exported" / peft_format.CONFIG).read_text())["base_model_name_or_path"] == "gpt2"


def test_models_saved_by_transformers_are_imported_with_equal_logits(peft, transformers, base, adapter, tmp_path):
    path, expected = adapter
    peft_format.export(str(path), tmp_path / "exported")
    load_theirs(peft, transformers, base[0], tmp_path / "exported").save_pretrained(tmp_path / "theirs")
    peft_format.convert(tmp_path / "theirs", base[1], tmp_path / "back" / "adapter.pt")
    model = hub.load(tmp_path / "back" / "adapter.pt").model
    torch.testing.assert_close(logits_of_ours(model), expected, atol=1e-5, rtol=0)
    original, back = (torch.load(p)["model"] for p in (path, tmp_path / "back" / "adapter.pt"))
    assert original.keys() == back.keys()
    assert all(torch.equal(original[name], back[name]) for name in original)


def made_by_the_library(peft, transformers, base, config, folder):
    """Write an adapter with random tensors as the library does, and return its logits on transformers' GPT-2."""
    torch.manual_seed(3)
    model = peft.get_peft_model(transformers.GPT2LMHeadModel.from_pretrained(base), config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return logits_of(model)


ALL = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
MADE = {
    "full names": {"target_modules": ["transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_fc"]},
    "all-linear": {"target_modules": "all-linear"},
    "short name": {"target_modules": ["c_attn"]},
    "pattern": {"target_modules": r".*\.1\..*c_proj"},
    "exclude_modules": {"target_modules": ["c_attn", "c_proj"], "exclude_modules": ["mlp.c_proj"]},
    "layers_to_transform": {"target_modules": ["c_fc"], "layers_to_transform": [1]},
    "rslora": {"use_rslora": True, "r": 4, "lora_alpha": 3},
    "dora": {"use_dora": True, "r": 4},
}


@pytest.mark.parametrize("name", MADE)
def test_an_adapter_of_the_library_has_its_logits(peft, transformers, base, tmp_path, name):
    config = peft.LoraConfig(**{"task_type": "CAUSAL_LM", "fan_in_fan_out": True, "lora_dropout": 0.25, **MADE[name]})
    expected = made_by_the_library(peft, transformers, base[0], config, tmp_path / "theirs")
    peft_format.convert(tmp_path / "theirs", base[1], tmp_path / "ours" / "adapter.pt")
    model = hub.load(tmp_path / "ours" / "adapter.pt").model
    torch.testing.assert_close(logits_of_ours(model), expected, atol=1e-4, rtol=0)
    assert model.cfg.lora_dropout == 0.25
    peft_format.export(tmp_path / "ours" / "adapter.pt", tmp_path / "back")
    again = load_theirs(peft, transformers, base[0], tmp_path / "back")
    torch.testing.assert_close(logits_of(again), expected, atol=1e-5, rtol=0)


def test_ia3_of_the_library_has_its_logits(peft, transformers, base, tmp_path):
    config = peft.IA3Config(task_type="CAUSAL_LM", target_modules=["c_attn", "mlp.c_proj"],
                            feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True)  # fmt: skip
    expected = made_by_the_library(peft, transformers, base[0], config, tmp_path / "theirs")
    peft_format.convert(tmp_path / "theirs", base[1], tmp_path / "ours" / "adapter.pt")
    torch.testing.assert_close(
        logits_of_ours(hub.load(tmp_path / "ours" / "adapter.pt").model), expected, atol=1e-4, rtol=0
    )


def test_a_prompt_of_the_library_has_its_logits(peft, transformers, base, tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    expected = made_by_the_library(peft, transformers, base[0], config, tmp_path / "theirs")
    peft_format.convert(tmp_path / "theirs", base[1], tmp_path / "ours" / "adapter.pt")
    ours = logits_of_ours(hub.load(tmp_path / "ours" / "adapter.pt").model)
    torch.testing.assert_close(ours, expected[:, 5:], atol=1e-4, rtol=0)


def test_weights_in_a_bin_are_found(peft, transformers, base, tmp_path):
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], fan_in_fan_out=True)
    expected = made_by_the_library(peft, transformers, base[0], config, tmp_path / "theirs")
    from safetensors.torch import load_file

    torch.save(load_file(tmp_path / "theirs" / peft_format.WEIGHTS), tmp_path / "theirs" / "adapter_model.bin")
    (tmp_path / "theirs" / peft_format.WEIGHTS).unlink()
    ours = logits_of_ours(peft_format.read(tmp_path / "theirs", base[1]))
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_an_exported_folder_can_be_read_by_others_and_names_its_base(base, tmp_path):
    path = untrained_adapter(base, tmp_path)
    peft_format.export(path, tmp_path / "named", "gpt2-medium")
    peft_format.export(path, tmp_path / "unnamed")
    for folder, name in (("named", "gpt2-medium"), ("unnamed", "ours")):  # the base is in ours/base.pt
        config = json.loads((tmp_path / folder / peft_format.CONFIG).read_text())
        assert config["base_model_name_or_path"] == name
        assert {file.stat().st_mode & 0o777 for file in (tmp_path / folder).iterdir()} == {0o666 & ~files.umask()}
    with toy.refused("named"):
        peft_format.export(path, tmp_path / "named")


def untrained_adapter(base, folder):
    untuned, dictionary = checkpoints.read_causal_lm(base[1])
    options = {**untuned.cfg, "peft": "lora", "lora_rank": 2, "peft_base": str(base[1])}
    model = checkpoints.new_model(CausalLanguageModel, options, dictionary)
    checkpoints.write_causal_lm(folder / "adapter.pt", model)
    return str(folder / "adapter.pt")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"task_type": "SEQ_CLS"}, "task_type SEQ_CLS"),
        ({"bias": "all"}, "bias all"),
        ({"lora_bias": True}, "lora_bias true"),
        ({"modules_to_save": ["wte"]}, 'modules_to_save ["wte"]'),
        ({"rank_pattern": {"c_attn": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"c_attn": 2}}, "alpha_pattern"),
        ({"use_qalora": True}, "use_qalora true"),
        ({"loftq_config": {"loftq_bits": 4}}, "loftq_config"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"not_invented_yet": 1}, "not_invented_yet 1"),
        ({"use_dora": True, "use_rslora": True}, "use_dora together with use_rslora"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights pissa_niter_4"),
        ({"target_modules": ["c_attn", "wte"]}, "target_modules wte"),
        ({"target_modules": ["c_attn", "lm_head"]}, "target_modules lm_head"),
        ({"target_modules": ["c_attn", "c_fc"]}, "target_modules ["),
        ({"target_modules": None}, "target_modules null"),
        ({"target_modules": ["_attn"]}, "target_modules _attn"),
        ({"exclude_modules": ["0.attn.c_attn"]}, "target_modules ["),
        ({"exclude_modules": 3}, "exclude_modules 3"),
        ({"r": 7}, "r 7"),
        ({"r": 10**9}, "r 1000000000"),
        ({"r": "x"}, "r x"),
        ({"lora_alpha": -1}, "lora_alpha -1"),
        ({"lora_alpha": None}, "lora_alpha null"),
        ({"lora_alpha": True}, "lora_alpha true"),
        ({"lora_alpha": "16"}, "lora_alpha 16"),
        ({"lora_alpha": 0}, "lora_alpha 0"),
    ],
    ids=str,
)
def test_an_adapter_that_does_not_fit_is_named(base, tmp_path, change, words):
    peft_format.export(untrained_adapter(base, tmp_path), tmp_path / "folder")
    config = tmp_path / "folder" / peft_format.CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with toy.refused(config, *words.replace(" together with ", " ").rstrip(" [").split(" ", 1)):
        peft_format.convert(tmp_path / "folder", base[1], tmp_path / "out" / "x.pt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tensor", [torch.full((2, 16), torch.nan), torch.tensor(1.0)], ids=["NaN", "a number"])
def test_tensors_that_are_no_finite_matrices_are_named_before_anything_is_written(base, tmp_path, tensor):
    peft_format.export(untrained_adapter(base, tmp_path), tmp_path / "folder")
    file = tmp_path / "folder" / peft_format.WEIGHTS
    tensors = files.read_tensors(file)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    files.safetensors().save_file({**tensors, name: tensor}, file)
    with toy.refused(file, "lora_A.weight"):
        peft_format.convert(tmp_path / "folder", base[1], tmp_path / "out" / "x.pt")
    assert not (tmp_path / "out").exists()


def test_a_base_of_another_kind_is_named(base, tmp_path):
    peft_format.export(untrained_adapter(base, tmp_path), tmp_path / "folder")
    other = toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt")
    with toy.refused(other, "char_lm"):
        peft_format.convert(tmp_path / "folder", other, tmp_path / "out" / "x.pt")


def test_modules_to_save_are_named_by_their_key_and_not_by_a_tensor(peft, transformers, base, tmp_path):
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], modules_to_save=["lm_head"])
    made_by_the_library(peft, transformers, base[0], config, tmp_path / "theirs")
    with toy.refused(peft_format.CONFIG, "modules_to_save"):
        peft_format.read(tmp_path / "theirs", base[1])


def test_a_folder_without_the_files_is_named(base, tmp_path):
    with toy.refused("adapter_config.json"):
        peft_format.convert(tmp_path / "folder", base[1], tmp_path / "out" / "x.pt")


def test_folders_are_created_and_checkpoints_with_another_tokenizer_are_not_changed(base, tmp_path):
    untuned, dictionary = checkpoints.read_causal_lm(base[1])
    options = {**untuned.cfg, "peft": "lora", "lora_rank": 2, "peft_base": str(base[1])}
    path = tmp_path / "lora" / "adapter.pt"
    checkpoints.write_causal_lm(path, checkpoints.new_model(CausalLanguageModel, options, dictionary))
    adapters.merge_checkpoint(str(path), str(tmp_path / "new" / "merged.pt"))
    assert checkpoints.read_causal_lm(tmp_path / "new" / "merged.pt")
    other = checkpoints.new_model(CausalLanguageModel, SIZE, TokenDictionary(Characters("abc")))
    checkpoints.write_causal_lm(tmp_path / "other" / "a.pt", other)
    before = {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()}
    with toy.refused("b.pt", "a.pt"):
        adapters.merge_checkpoint(str(path), str(tmp_path / "other" / "b.pt"))
    with toy.refused("b.pt", "a.pt"):
        checkpoints.write_causal_lm(tmp_path / "other" / "b.pt", untuned)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()}


@pytest.mark.parametrize("symbols", [0, 1])
def test_an_adapter_with_symbols_that_its_base_lacks_is_not_exported(base, tmp_path, symbols):
    untuned, dictionary = checkpoints.read_causal_lm(base[1])
    for number in range(symbols):
        dictionary.add_symbol(f"<|sep{number}|>")
    options = {**untuned.cfg, "vocab_size": len(dictionary), "peft": "lora", "peft_base": str(base[1])}
    checkpoints.write_causal_lm(
        tmp_path / "adapter.pt", checkpoints.new_model(CausalLanguageModel, options, dictionary)
    )
    if symbols:
        with toy.refused("adapter.pt", "301", "300", "--separator"):
            peft_format.export(tmp_path / "adapter.pt", tmp_path / "folder")
    else:
        peft_format.export(tmp_path / "adapter.pt", tmp_path / "folder")
    assert (tmp_path / "folder").exists() != bool(symbols)


def test_a_base_that_was_moved_is_named_to_compare_its_symbols(base, tmp_path):
    state = adapters.adapter_state(untrained_adapter(base, tmp_path))
    state["task_state"] = {"separator": "TL;DR:"}
    peft_format.check_symbols("a.pt", state, "gone.pt")
    state["task_state"] = {"separator": "<|sep|>"}
    with toy.refused("gone.pt", "--base"):
        peft_format.check_symbols("a.pt", state, "gone.pt")
    peft_format.check_symbols("a.pt", state, base[1])


def test_a_tuned_model_is_not_exported_but_its_merge_is_named(adapter, tmp_path):
    with toy.refused("--peft", "scripts/merge_peft.py"):
        hub.export(adapter[0], tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.pt", "-o", "b.pt", "--base-name", "gpt2"],
        ["--import", "folder", "--base", "c.pt", "--export", "other", "-o", "b.pt", "--base-name", "gpt2"],
        ["--import", "folder", "--base", "c.pt", "-o", "b.pt", "--export", "other"],
    ],
)
def test_flags_without_effect_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["merge_peft.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(toy.ROOT / "scripts" / "merge_peft.py"), run_name="__main__")
    assert stopped.value.code == 2 and "error: --" in capsys.readouterr().err


def test_an_interrupted_merge_has_no_traceback(monkeypatch, tmp_path):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "merge_checkpoint", interrupted)
    (tmp_path / "adapter.pt").touch()
    monkeypatch.setattr("sys.argv", ["merge_peft.py", str(tmp_path / "adapter.pt"), "-o", str(tmp_path / "merged.pt")])
    with pytest.raises(SystemExit, match="interrupted"):
        runpy.run_path(str(toy.ROOT / "scripts" / "merge_peft.py"), run_name="__main__")


def test_a_method_that_the_library_lacks_is_named(base, tmp_path):
    untuned, dictionary = checkpoints.read_causal_lm(base[1])
    options = {**untuned.cfg, "peft": "last_layer", "peft_base": str(base[1])}
    model = checkpoints.new_model(CausalLanguageModel, options, dictionary)
    checkpoints.write_causal_lm(tmp_path / "last.pt", model)
    with toy.refused("last.pt", "last_layer"):
        peft_format.export(str(tmp_path / "last.pt"), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
