"""Adapters in the peft library's files: equal logits on transformers' GPT-2, both directions."""

import json
import runpy
import shutil

import pytest
import torch
import toy
from peft_models import train

from plugins import hub
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.hub import adapters, checkpoints, gpt2, peft_format

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
    model = checkpoints.new_model(checkpoints.CausalLanguageModel, options, untuned.decoder.dictionary)
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


def test_what_the_library_saves_is_imported_with_equal_logits(peft, transformers, base, adapter, tmp_path):
    path, expected = adapter
    peft_format.export(str(path), tmp_path / "exported")
    load_theirs(peft, transformers, base[0], tmp_path / "exported").save_pretrained(tmp_path / "theirs")
    peft_format.convert(tmp_path / "theirs", base[1], tmp_path / "back" / "adapter.pt")
    model = hub.load(tmp_path / "back" / "adapter.pt").model
    torch.testing.assert_close(logits_of_ours(model), expected, atol=1e-5, rtol=0)
    original, back = (torch.load(p)["model"] for p in (path, tmp_path / "back" / "adapter.pt"))
    assert original.keys() == back.keys()
    assert all(torch.equal(original[name], back[name]) for name in original)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"peft_type": "LOHA"}, "adapter_config.json: peft_type LOHA is not LORA"),
        ({"bias": "all"}, 'adapter_config.json: bias "all" is not what --peft does'),
        ({"rank_pattern": {"c_attn": 2}}, "adapter_config.json: rank_pattern"),
        ({"use_dora": True, "use_rslora": True}, "adapter_config.json: use_dora together with use_rslora"),
        ({"alora_invocation_tokens": [1]}, "adapter_config.json: alora_invocation_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, 'adapter_config.json: init_lora_weights "pissa_niter_4" is not'),
        ({"r": 7}, "adapter_model.safetensors: not an adapter of"),
    ],
)
def test_an_adapter_that_does_not_fit_is_named(base, tmp_path, change, words):
    untuned, dictionary = checkpoints.read_causal_lm(base[1])
    options = {**untuned.cfg, "peft": "lora", "lora_rank": 2, "peft_base": str(base[1])}
    model = checkpoints.new_model(checkpoints.CausalLanguageModel, options, dictionary)
    checkpoints.write_causal_lm(tmp_path / "adapter.pt", model)
    peft_format.export(str(tmp_path / "adapter.pt"), tmp_path / "folder")
    config = tmp_path / "folder" / peft_format.CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(UserError, match=words):
        peft_format.convert(tmp_path / "folder", base[1], tmp_path / "out" / "x.pt")
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "folder")
    with pytest.raises(UserError, match="adapter_config.json"):
        peft_format.convert(tmp_path / "folder", base[1], tmp_path / "out" / "x.pt")


def test_folders_are_made_and_checkpoints_with_another_tokenizer_are_left_alone(base, tmp_path):
    untuned, dictionary = checkpoints.read_causal_lm(base[1])
    options = {**untuned.cfg, "peft": "lora", "lora_rank": 2, "peft_base": str(base[1])}
    path = tmp_path / "lora" / "adapter.pt"
    checkpoints.write_causal_lm(path, checkpoints.new_model(checkpoints.CausalLanguageModel, options, dictionary))
    adapters.merge_checkpoint(str(path), str(tmp_path / "new" / "merged.pt"))
    assert checkpoints.read_causal_lm(tmp_path / "new" / "merged.pt")
    other = checkpoints.new_model(checkpoints.CausalLanguageModel, SIZE, TokenDictionary(Characters("abc")))
    checkpoints.write_causal_lm(tmp_path / "other" / "a.pt", other)
    before = {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()}
    with pytest.raises(UserError, match="b.pt: a.pt in this folder has another tokenizer"):
        adapters.merge_checkpoint(str(path), str(tmp_path / "other" / "b.pt"))
    with pytest.raises(UserError, match="b.pt: a.pt in this folder has another tokenizer"):
        checkpoints.write_causal_lm(tmp_path / "other" / "b.pt", untuned)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.pt", "-o", "b.pt", "--base-model", "gpt2"],
        ["a.pt", "--export", "folder", "--base", "c.pt"],
        ["--import", "folder", "--base", "c.pt", "-o", "b.pt", "--export", "other"],
    ],
)
def test_flags_that_would_do_nothing_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["merge_peft.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(toy.ROOT / "scripts" / "merge_peft.py"), run_name="__main__")
    assert stopped.value.code == 2 and "error: --" in capsys.readouterr().err


def test_an_interrupted_merge_has_no_traceback(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "merge_checkpoint", interrupted)
    monkeypatch.setattr("sys.argv", ["merge_peft.py", "adapter.pt", "-o", "merged.pt"])
    with pytest.raises(SystemExit, match="interrupted"):
        runpy.run_path(str(toy.ROOT / "scripts" / "merge_peft.py"), run_name="__main__")
