"""Causal LMs by the real command lines: a text, a GPT-2 folder and back, example configs, errors."""

import json
import math
import re

import pytest
import torch
import toy
from fairseq import tasks
from fairseq.trainer import Trainer
from hydra_configs import composed, resolved
from omegaconf import OmegaConf

from plugins import hub

pytestmark = pytest.mark.slow
MODEL = ["--arch", "causal_lm_tiny", "--decoder-layers", 2, "--decoder-attention-heads", 2, "--decoder-embed-dim", 16,
         "--block-size", 24]  # fmt: skip
CONFIGS = sorted((toy.ROOT / "examples" / "causal_lm" / "config").glob("*.yaml"))


def train(data, save_dir, *more, updates=4):
    """The options that make the model small; all others are the task's defaults."""
    return ["fairseq-train", data, "--user-dir", toy.ROOT / "plugins", "--task", "causal_lm", "--max-update", updates,
            "--save-dir", save_dir, "--log-format", "simple", "--log-interval", 1, *more]  # fmt: skip


def succeed(command):
    outcome = toy.run_cli(command)
    assert outcome.status == 0, outcome.text[-2000:]
    return outcome


def script(name, *arguments):
    return toy.run_cli([toy.ROOT / "scripts" / name, *arguments])


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(toy.sentences(120)) + "\n")
    return path


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    """The folder of a run that was interrupted after two updates and resumed, and the outcomes of both parts."""
    folder = tmp_path_factory.mktemp("run")
    command = train(text, folder, *MODEL, "--pieces", 320, updates=2)
    first = succeed(command)
    return folder, first, succeed(train(text, folder, "--arch", "causal_lm"))


def test_a_run_resumes_without_repeating_options(run):
    _, first, second = run
    assert "Loaded checkpoint" not in first.text and "Loaded checkpoint" in second.text
    assert re.findall(r"num_updates=(\d+)", second.text) == ["3", "4"]
    losses = [float(x) for x in re.findall(r"train_inner.* nats=([\d.]+)", first.text)]
    assert losses[0] == pytest.approx(math.log(321), rel=0.03)  # pieces and the end: a guess


def test_its_folder_is_all_that_is_needed(run, text):
    folder, *_ = run
    lm = hub.load(folder)
    assert lm.decode(lm.encode(text.read_text())) == text.read_text()
    outcome = script("sample.py", folder, "--prompt", "the river", "--length", 8)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == "the river" + lm.sample("the river", 8) + "\n"


def test_evaluation_counts_every_token_once(run, text):
    folder, *_ = run
    paths = ["--user-dir", toy.ROOT / "plugins", "--path", folder / "checkpoint_last.pt"]
    outcome = succeed(["fairseq-eval-lm", text, *paths, "--batch-size", 4, "--cpu"])
    lm, end = hub.load(folder / "checkpoint_last.pt"), int(len(text.read_text()) * 0.9)
    tokens = [lm.dictionary.eos(), *lm.encode(text.read_text()[end:]).tolist()]
    count, bits = re.search(r"Evaluated ([\d,]+) tokens.*?Loss \(base 2\): ([\d.]+)", outcome.text, re.S).groups()
    assert int(count.replace(",", "")) == len(tokens) - 1
    assert float(bits) == pytest.approx(lm.loss(tokens) / math.log(2), abs=1e-3)


@pytest.fixture(scope="module")
def imported(tmp_path_factory, text):
    """A GPT-2's folder, its checkpoint made by the script, and a run that fine-tunes it."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("hf")
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train([str(text)], vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    size = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 24, "bos_token_id": 0, "eos_token_id": 0}
    config = transformers.GPT2Config(vocab_size=bpe.get_vocab_size(), **size)
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "gpt2")
    bpe.save_model(str(folder / "gpt2"))
    said = script("import_hf.py", folder / "gpt2", "-o", folder / "base" / "model.pt")
    assert said.status == 0, said.text
    more = ["--arch", "causal_lm", "--finetune-from-model", folder / "base" / "model.pt"]
    succeed(train(text, folder / "run", *more, updates=2))
    return folder


def test_an_imported_gpt2_is_fine_tuned_and_exported(imported):
    transformers = pytest.importorskip("transformers")
    outcome = script("import_hf.py", "--export", imported / "run", "-o", imported / "back")
    assert outcome.status == 0, outcome.text
    assert re.fullmatch(rf"{imported / 'back'}: [\d,]+ parameters, [\d,]+ symbols\n", outcome.out)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(imported / "back").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(imported / "back")
    before, ours = hub.load(imported / "base" / "model.pt"), hub.load(imported / "run")
    ids = tokenizer("the river watches", return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = theirs(ids).logits[0]
    torch.testing.assert_close(ours.logits("the river watches"), logits, atol=1e-4, rtol=0)
    assert not torch.equal(before.logits("the river watches"), logits)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_example_config_trains(path, imported, text, tmp_path):
    own = [f"task.data={text}", f"task.valid_data={text}", f"checkpoint.save_dir={tmp_path}", "dataset.batch_size=2",
           "common.cpu=true", "optimization.update_freq=[1]"]  # fmt: skip
    if path.stem == "small_finetune":
        own.append(f"checkpoint.finetune_from_model={imported / 'base' / 'model.pt'}")
    else:
        sizes = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 24}
        own += [f"model.{name}={value}" for name, value in sizes.items()] + ["task.pieces=320"]
    cfg = resolved(OmegaConf.merge(composed(path), OmegaConf.from_dotlist(own)))
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    batches = trainer.get_train_iterator(epoch=1).next_epoch_itr(shuffle=False)
    trainer.begin_epoch(1)
    log = trainer.train_step([next(batches)])
    assert trainer.get_num_updates() == 1 and math.isfinite(log["loss"])


def test_failures_are_one_line_errors(run, text, tmp_path):
    folder, *_ = run
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gptj"}))
    script("import_hf.py", tmp_path).refuses("gptj", "gpt2")
    script("import_hf.py", text.parent).refuses("config.json")
    script("sample.py", folder, "--style", "drama").refuses(folder)
