"""Adapters through fairseq's own trainer: what is saved, resumed and evaluated, and errors.

Training runs in this process, because importing fairseq takes longer than a toy run.
"""

import logging

import hydra_configs
import peft_models
import pytest
import torch
import toy
from fairseq import checkpoint_utils, options
from fairseq.logging import metrics
from fairseq_cli import train as fairseq_train

from plugins import hub, peft
from plugins.hub import adapters

pytestmark = pytest.mark.slow
METHODS = {
    "lora": ["--peft", "lora", "--lora-rank", 2, "--lora-dropout", 0.1],
    "prompt": ["--peft", "prompt", "--prompt-tokens", 3],
    "last_layer": ["--peft", "last_layer"],
}
DECODER = ["--decoder-layers", 2, "--decoder-attention-heads", 2, "--decoder-embed-dim", 16, "--block-size", 24,
           "--dropout", 0.1]  # fmt: skip
ENCODER = ["--encoder-layers", 2, "--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 32,
           "--encoder-attention-heads", 2, "--max-positions", 40]  # fmt: skip
SIZES = {"char_lm": DECODER, "causal_lm": DECODER, "clap_roberta": ENCODER}
CASES = [(model, method) for model in SIZES for method in METHODS]
BEFORE, UPDATES = 2, 4


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(toy.sentences(60, 1)) + "\n")
    return path


@pytest.fixture(scope="module")
def train(text, toy_data):
    def run(model, save_dir, *more, updates=UPDATES):
        """Train as ``fairseq-train`` does, in this process."""
        data = toy_data if model == "clap_roberta" else text
        arguments = [data, "--cpu", "--arch", model, "--batch-size", 8, "--max-update", updates,
                     "--optimizer", "fused_adamw", "--lr", 0.01, "--lr-scheduler", "fixed", "--save-dir", save_dir,
                     "--no-epoch-checkpoints", "--num-workers", 0, "--seed", 1, "--disable-validation",
                     "--validate-interval-updates", 0, "--save-interval-updates", 0, "--save-interval", 1]  # fmt: skip
        if model == "clap_roberta":
            arguments += ["--task", "clap_masked_lm", "--criterion", "clap_masked_lm", "--tokens-per-sample", 32]
        elif model == "causal_lm":
            arguments += ["--task", model, "--criterion", model, "--vocabulary", "char"]
        else:
            arguments += ["--task", model, "--criterion", "style_lm"]
        parser = options.get_training_parser()
        args = options.parse_args_and_arch(parser, [*map(str, arguments), *map(str, more)])
        metrics.reset()
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        fairseq_train.main(fairseq_train.convert_namespace_to_omegaconf(args))
        return save_dir / "checkpoint_last.pt"

    return run


@pytest.fixture(scope="module")
def bases(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {model: train(model, folder / model, *sizes, updates=2) for model, sizes in SIZES.items()}


@pytest.fixture(scope="module")
def runs(bases, train, tmp_path_factory):
    """{(model, method): (checkpoint of a run, that of one that was interrupted and resumed)}."""
    folder, found = tmp_path_factory.mktemp("tuned"), {}
    for model, method in CASES:
        start = ["--finetune-from-model", bases[model], *METHODS[method]]
        whole = train(model, folder / f"{model}-{method}", *start)
        train(model, folder / f"{model}-{method}-resumed", *start, updates=BEFORE)
        found[model, method] = whole, train(model, folder / f"{model}-{method}-resumed", *start)
    return found


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request, runs, bases):
    model, method = request.param
    whole, resumed = runs[request.param]
    return peft_models.SimpleNamespace(model=model, method=method, base=bases[model], path=whole, resumed=resumed)


def read(path):
    return torch.load(path, map_location="cpu")


def test_a_checkpoint_contains_the_adapter_its_optimizer_state_and_its_base(case):
    saved, base = read(case.path), read(case.base)
    tuned = {name: tensor for name, tensor in saved["model"].items() if name != peft.IDENTITY}
    assert bytes(saved["model"][peft.IDENTITY].tolist()) == peft.fingerprint(base["model"])
    assert saved["cfg"]["model"]["peft_base"] == str(case.base)
    moments = [state["exp_avg"] for state in saved["last_optimizer_state"]["state"].values()]
    assert sorted(t.numel() for t in tuned.values()) == sorted(t.numel() for t in moments)
    if case.method != "last_layer":
        assert sum(t.numel() for t in tuned.values()) < sum(t.numel() for t in base["model"].values()) / 10


def test_a_resumed_run_ends_where_an_uninterrupted_one_does_bit_for_bit(case):
    ours, reference = read(case.resumed), read(case.path)
    assert ours["optimizer_history"][-1]["num_updates"] == UPDATES
    assert ours["model"].keys() == reference["model"].keys()
    for name, tensor in reference["model"].items():
        assert torch.equal(ours["model"][name], tensor), name
    for key, state in reference["last_optimizer_state"]["state"].items():
        assert torch.equal(ours["last_optimizer_state"]["state"][key]["exp_avg_sq"], state["exp_avg_sq"])


def test_fairseq_and_the_hub_load_it_with_its_base_and_merge_it(case, tmp_path):
    model, _ = adapters.load_with_task(str(case.path))
    model.eval()
    tokens = torch.tensor([[0, 5, 6, 7, 8, 9]])
    expected = peft_models.logits(model, tokens)
    with peft.disabled(model):
        base, _ = adapters.load_with_task(str(case.base))
        torch.testing.assert_close(peft_models.logits(base, tokens), peft_models.logits(model, tokens))
    assert torch.equal(hub_model(case.path)(tokens)[0], expected)
    target = tmp_path / "merged.pt"
    if case.method == "prompt":
        with toy.refused("checkpoint_last.pt", "prompt"):
            adapters.merge_checkpoint(str(case.path), str(target))
        assert not list(tmp_path.iterdir())
        return
    adapters.merge_checkpoint(str(case.path), str(target))
    torch.testing.assert_close(hub_model(target)(tokens)[0], expected, rtol=1e-4, atol=1e-5)
    assert read(target)["cfg"]["model"]["peft"] == "none"


def hub_model(path):
    return hub.load(str(path)).model.eval()


def test_a_merged_model_can_be_tuned_again(runs, train, tmp_path):
    adapters.merge_checkpoint(str(runs["char_lm", "last_layer"][0]), str(tmp_path / "merged.pt"))
    again = train("char_lm", tmp_path / "again", "--finetune-from-model", tmp_path / "merged.pt", *METHODS["lora"])
    assert read(again)["cfg"]["model"]["tie_embeddings"] is False


def test_an_adapter_is_tuned_on_without_naming_the_method_again(runs, bases, train, tmp_path):
    path = runs["char_lm", "lora"][0]
    again = read(train("char_lm", tmp_path / "again", "--finetune-from-model", path))
    assert again["cfg"]["model"]["lora_rank"] == 2
    assert again["cfg"]["model"]["peft_base"] == str(bases["char_lm"])


def test_a_prompt_is_initialized_from_the_rows_of_words(bases, train, tmp_path):
    save_dir = tmp_path / "run"
    path = train("char_lm", save_dir, "--finetune-from-model", bases["char_lm"], "--peft", "prompt",
                 "--prompt-words", "the river", "--lr", 0.0, updates=1)  # fmt: skip
    saved, model = read(path), hub.load(str(bases["char_lm"]))
    words = model.dictionary.encode("the river")
    table = read(bases["char_lm"])["model"]["decoder.transformer.wte.weight"]
    assert torch.equal(saved["model"]["decoder.transformer.prompt.weight"], table[words])
    assert saved["cfg"]["model"]["prompt_tokens"] == 9
    tuned = hub.load(str(path))
    assert tuned.block_size == 24 - 9
    learned, plain = tuned.logits("follows"), model.logits("the riverfollows")[-7:]
    torch.testing.assert_close(learned, plain, rtol=1e-4, atol=1e-5)
    assert tuned.sample("follows", 30, temperature=0) is not None


def test_the_log_counts_trained_parameters(bases, train, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train("char_lm", tmp_path / "run", "--finetune-from-model", bases["char_lm"], *METHODS["prompt"], updates=1)
    (line,) = [r.getMessage() for r in caplog.records if "trainable params" in r.getMessage()]
    total = sum(p.numel() for p in hub.load(str(bases["char_lm"])).model.parameters()) + 48
    assert f"trainable params: 48 || all params: {total:,} || trainable%: {4800 / total:.4f}" in line


YAML = """
# @package _group_
common: {user_dir: USER_DIR, cpu: true, seed: 1}
checkpoint: {save_dir: SAVE_DIR, finetune_from_model: BASE, no_epoch_checkpoints: true}
dataset: {batch_size: 8, num_workers: 0, disable_validation: true}
optimization: {max_update: 4, lr: [0.01], clip_norm: CLIP}
optimizer: {_name: fused_adamw, OPTIONS}
lr_scheduler: {_name: fixed}
"""
PARTS = {
    "char_lm": "task: {_name: char_lm, data: TEXT}\ncriterion: {_name: style_lm}\n",
    "causal_lm": "task: {_name: causal_lm, data: TEXT}\ncriterion: {_name: causal_lm}\n",
    "clap_roberta": "task: {_name: clap_masked_lm, data: FOLDER, tokens_per_sample: 32}\ncriterion: {_name: "
    "clap_masked_lm}\n",
}


def config_of(case, save_dir, text, toy_data):
    """Return the text of a YAML file with the options of a case's command line."""
    flags = iter(map(str, METHODS[case.method]))
    options = "".join(f", {flag[2:].replace('-', '_')}: {value}" for flag, value in zip(flags, flags, strict=True))
    content = YAML + PARTS[case.model] + f"model: {{_name: {case.model}{options}}}\n"
    places = {"USER_DIR": toy.ROOT / "plugins", "SAVE_DIR": save_dir, "BASE": case.base, "TEXT": text}
    # what the tasks of decoders add to a command line
    betas = "(0.9,0.95)" if case.model == "causal_lm" else "(0.9,0.99)"
    recipe = f'adam_betas: "{betas}", adam_eps: 1.0e-8, weight_decay: 0.1'
    decoder = case.model != "clap_roberta"
    places |= {"FOLDER": toy_data, "CLIP": float(decoder), "OPTIONS": recipe if decoder else "weight_decay: 0.0"}
    for name, place in places.items():
        content = content.replace(name, str(place))
    return content


def test_hydra_trains_the_same(case, text, toy_data, tmp_path):
    """Composed as ``fairseq-hydra-train`` does, in this process."""
    path = tmp_path / "tune.yaml"
    path.write_text(config_of(case, tmp_path / "run", text, toy_data))
    metrics.reset()
    fairseq_train.main(hydra_configs.resolved(hydra_configs.composed(path)))
    ours, reference = (read(p)["model"] for p in (tmp_path / "run" / "checkpoint_last.pt", case.path))
    assert ours.keys() == reference.keys()
    assert all(torch.equal(ours[name], reference[name]) for name in ours)


def test_the_program_of_hydra_trains_it(runs, bases, text, toy_data, tmp_path):
    case = peft_models.SimpleNamespace(model="char_lm", method="lora", base=bases["char_lm"])
    (tmp_path / "tune.yaml").write_text(config_of(case, "run", text, toy_data))
    outcome = toy.run_cli(["fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "tune"], cwd=tmp_path)
    assert outcome.status == 0, outcome.text[-3000:]
    assert "trainable params: " in outcome.text
    ours, reference = (read(p)["model"] for p in (tmp_path / "run" / "checkpoint_last.pt", runs["char_lm", "lora"][0]))
    assert all(torch.equal(ours[name], reference[name]) for name in reference)


@pytest.mark.parametrize(
    "options, named",
    [
        (["--peft", "lora"], ["--peft lora", "--finetune-from-model"]),
        (["--lora-rank", 4], ["--lora-rank", "--peft lora", "--peft none"]),
        (["--finetune-from-model", "LORA", "--peft", "prompt"], ["--peft prompt", "LORA", "lora"]),
        (["--finetune-from-model", "BASE", "--peft", "lora", "--lora-targets", "attn.c_attn,wte"],
         ["--lora-targets", "wte", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
        (["--finetune-from-model", "BASE", "--peft", "last_layer", "--peft-blocks", 3], ["--peft-blocks", 2]),
        (["--finetune-from-model", "BASE", "--peft", "prompt", "--prompt-tokens", 24], ["--prompt-tokens 24"]),
        (["--finetune-from-model", "BASE", "--peft", "lora", "--peft-base", "gone.pt"], ["gone.pt"]),
        (["--finetune-from-model", "BASE", "--peft", "lora", "--peft-base", "LORA"], ["LORA"]),
    ],
)  # fmt: skip
def test_impossible_options_are_refused_before_training(runs, bases, train, tmp_path, options, named):
    paths = {"BASE": bases["char_lm"], "LORA": runs["char_lm", "lora"][0]}
    with toy.refused(*(paths.get(name, name) for name in named)):
        train("char_lm", tmp_path / "run", *(paths.get(option, option) for option in options))
    assert not list(tmp_path.glob("**/*.pt"))


def test_a_base_that_has_moved_can_be_named_and_another_is_refused(runs, bases, train, tmp_path):
    path, moved = runs["char_lm", "lora"][0], tmp_path / "moved.pt"
    state = read(path)
    state["cfg"]["model"]["peft_base"] = "/nowhere/base.pt"
    torch.save(state, path.with_name("orphan.pt"))
    orphan = str(path.with_name("orphan.pt"))
    with toy.refused("/nowhere/base.pt", "--peft-base"):
        adapters.load_with_task(orphan)
    with toy.refused("/nowhere/base.pt", "--peft-base"):
        train("char_lm", tmp_path / "further", "--finetune-from-model", orphan)
    moved.write_bytes(bases["char_lm"].read_bytes())
    adapters.load_with_task(orphan, str(moved))
    assert hub.load(orphan, base=str(moved)).block_size == 24
    other = train("char_lm", tmp_path / "other", *SIZES["char_lm"], "--seed", 2, updates=1)
    with toy.refused("--peft-base", error=peft.WrongBase):
        adapters.load_with_task(orphan, str(other))
