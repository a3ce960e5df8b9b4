"""``--peft`` in a registered model: its base, and the words of a prompt."""

import os
from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.models import MODEL_REGISTRY
from omegaconf import OmegaConf
from peft_models import build, make_base, save

from plugins.models import tuning
from plugins.peft import PeftConfig


def test_the_base_is_the_first_place_that_exists(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_last.pt").touch()
    (tmp_path / "x.pt").touch()
    places = [None, "", "${checkpoint.finetune_from_model}", str(tmp_path / "gone.pt")]
    assert tuning.find_base([*places, str(tmp_path / "x.pt")], "lora") == str(tmp_path / "x.pt")
    found = tuning.find_base([str(tmp_path / "run"), str(tmp_path / "x.pt")], "lora")
    assert found == str(tmp_path / "run" / "checkpoint_last.pt")
    assert tuning.find_base([os.path.relpath(tmp_path / "x.pt")], "lora") == str(tmp_path / "x.pt")
    with toy.refused(tmp_path / "gone.pt", "--peft lora", "--peft-base"):
        tuning.find_base(places, "lora")
    with toy.refused("--peft lora", "--finetune-from-model"):
        tuning.find_base(places[:3], "lora")


def resolved(state=None, source=None, **options):
    cfg = OmegaConf.structured(PeftConfig(**options))
    OmegaConf.set_struct(cfg, False)
    cfg.finetune_from_model = options.get("finetune_from_model")
    tuning.resolve(cfg, state, source)
    return cfg


def test_an_adapter_is_trained_further_with_its_own_options_and_base(tmp_path):
    (tmp_path / "base.pt").touch()
    stored = {
        "peft": "lora",
        "lora_rank": 3,
        "lora_alpha": 5.0,
        "lora_targets": "a",
        "peft_base": str(tmp_path / "base.pt"),
    }
    state = {"cfg": {"model": stored}}
    cfg = resolved(state, "adapter.pt")
    assert (cfg.peft, cfg.lora_rank, cfg.lora_alpha, cfg.lora_targets) == ("lora", 3, 5.0, "a")
    assert cfg.peft_base == str(tmp_path / "base.pt")
    with toy.refused("--lora-rank 4", "adapter.pt", 3):
        resolved(state, "adapter.pt", lora_rank=4)
    stored["peft_base"] = str(tmp_path / "gone.pt")
    with toy.refused(tmp_path / "gone.pt"):
        resolved(state, "adapter.pt")
    assert resolved(state, "adapter.pt", peft_base=str(tmp_path / "base.pt")).peft_base == str(tmp_path / "base.pt")


def test_a_checkpoint_without_an_adapter_is_the_base(tmp_path):
    (tmp_path / "x.pt").touch()
    for stored in ({}, {"peft": "none"}, {"peft": None}):
        cfg = resolved({"cfg": {"model": stored}}, str(tmp_path / "x.pt"), peft="last_layer")
        assert cfg.peft_base == str(tmp_path / "x.pt")
    assert resolved({"cfg": {"model": {}}}, str(tmp_path / "x.pt")).peft_base is None


def test_a_base_that_is_an_adapter_or_of_another_architecture_is_refused(tmp_path):
    path = make_base(tmp_path, "causal_lm")
    tuned, cfg = build("causal_lm", finetune_from_model=str(path), peft="last_layer")
    adapter = save(tmp_path / "adapter.pt", tuned, cfg)
    with toy.refused(adapter, "scripts/merge_peft.py"):
        build("causal_lm", peft="last_layer", peft_base=str(adapter))
    with toy.refused(path):
        build("causal_lm", peft="last_layer", peft_base=str(path), decoder_layers=3)


@pytest.mark.parametrize("tokens, refused", [(15, False), (16, True)])
def test_a_prompt_leaves_room_for_text(tmp_path, tokens, refused):
    path = str(make_base(tmp_path, "causal_lm"))
    options = {"finetune_from_model": path, "peft": "prompt", "prompt_tokens": tokens}
    if refused:
        with toy.refused("--prompt-tokens 16", 16):
            build("causal_lm", **options)
    else:
        assert len(build("causal_lm", **options)[0].decoder.transformer.prompt) == 15


def task_with(tokens):
    dictionary = SimpleNamespace(encode=lambda text: torch.tensor(tokens, dtype=torch.long))
    return SimpleNamespace(source_dictionary=dictionary)


def test_the_words_of_a_prompt_give_its_length_and_are_not_stored(tmp_path):
    assert tuning.tokens_of("a b", task_with([5, 6])) == [5, 6]
    with toy.refused("--prompt-words 'x'"):
        tuning.tokens_of("x", task_with([]))
    model, cfg = build("causal_lm", seed=3)
    path = save(tmp_path / "x.pt", model, cfg)
    given = {"peft": "prompt", "peft_base": str(path)}
    for options, length in (({"prompt_words": "a b"}, 2), ({"prompt_words": "a b", "prompt_tokens": 3}, 3)):
        own, cfg = build("causal_lm", seed=3)
        cfg.update({**given, **options})
        tuning.tune(own, cfg, task_with([5, 6]))
        prompt = own.decoder.transformer.prompt.weight
        assert torch.equal(prompt, own.decoder.transformer.wte.weight[[5, 6, 5][:length]])
        assert (cfg.prompt_tokens, cfg.prompt_words) == (length, None)


def test_without_words_a_prompt_has_24_vectors(tmp_path):
    path = str(make_base(tmp_path, "clap_roberta with alibi"))
    model, cfg = build("clap_roberta with alibi", finetune_from_model=path, peft="prompt")
    assert cfg.prompt_tokens == len(model.encoder.sentence_encoder.prompt) == 24


def test_words_for_a_masked_lm_need_the_tokenizer_of_its_data(tmp_path, toy_data):
    task = toy.make_task(toy_data)
    expected = task.source_dictionary.encode_line(
        task.bpe.encode("the river"), append_eos=False, add_if_not_exist=False
    ).tolist() if hasattr(task, "bpe") else None  # fmt: skip
    found = tuning.tokens_of("the river", SimpleNamespace(source_dictionary=task.source_dictionary, cfg=task.cfg))
    assert len(found) >= 2 and found == (expected or found)
    assert task.source_dictionary.string(found).replace(" ", "").replace("▁", " ").strip() == "the river"
    with toy.refused(tmp_path, "--prompt-words", "--prompt-tokens"):
        nowhere = SimpleNamespace(source_dictionary=task.source_dictionary, cfg=SimpleNamespace(data=str(tmp_path)))
        tuning.tokens_of("the river", nowhere)


@pytest.mark.parametrize("name, base", [("clap_roberta with alibi", "clap_roberta"), ("causal_lm", "causal_lm"),
                                        ("char_lm", "char_lm")])  # fmt: skip
def test_a_model_does_not_start_from_a_checkpoint_of_its_subclass(name, base, tmp_path, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY, "mine", type("Mine", (MODEL_REGISTRY[base],), {}))
    path = make_base(tmp_path, name)
    build(name, finetune_from_model=str(path))
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"]["_name"] = "mine"
    torch.save(state, path)
    with toy.refused(path, "--arch mine"):
        build(name, finetune_from_model=str(path))
