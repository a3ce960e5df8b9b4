"""Character models by the real command lines: training, resuming, evaluating, styles, errors."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import toy

pytestmark = pytest.mark.slow
AT_ONCE = 2
BLOCK, BATCH = 24, 8
BEFORE, UPDATES = 7, 14  # an epoch has 12 updates: the interruption and the end are in different ones
MODEL = ["--arch", "style_char_lm_nano", "--decoder-layers", 2, "--decoder-attention-heads", 2,
         "--decoder-embed-dim", 16, "--block-size", BLOCK, "--dropout", 0.1]  # fmt: skip


def run_all(commands, real=()):
    def run(name):
        return toy.run_cli(commands[name], real=name in real)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(commands, pool.map(run, commands), strict=True))


def train(data, save_dir, *more, updates=UPDATES):
    """The options that make the model small; all others are the task's defaults."""
    return ["fairseq-train", data, "--user-dir", toy.ROOT / "plugins", "--task", "char_lm", *MODEL, "--batch-size",
            BATCH, "--max-update", updates, "--lr-period-updates", 100, "--warmup-updates", 2, "--save-dir", save_dir,
            "--log-interval", 1, "--log-format", "simple", *more]  # fmt: skip


def read(path):
    return torch.load(path, map_location="cpu")


def logged(outcome, name, kind):
    return [float(x) for x in re.findall(rf"\| {kind} \|.*?\b{name}[ =]([\d.e+-]+)", outcome.text)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two styles, as files, as folders, and as JSONL."""
    folder = tmp_path_factory.mktemp("corpus")
    for style, seed in (("drama", 1), ("novel", 2)):
        (folder / "folders" / style).mkdir(parents=True)
        lines = toy.sentences(24, seed)
        for name in (folder / f"{style}.txt", folder / "folders" / style / "one.txt"):
            name.write_text("\n".join(lines) + "\n")
        with open(folder / "records.jsonl", "a") as file:
            file.writelines(json.dumps({"genre": style, "body": line + "\n"}) + "\n" for line in lines)
    return folder


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    """Finished runs, and one that was interrupted and resumed: (folder, outcomes, what was evaluated)."""
    folder = tmp_path_factory.mktemp("runs")
    files = f"{corpus / 'drama.txt'}:{corpus / 'novel.txt'}"
    commands = {
        "whole": train(files, folder / "whole", "--style-from", "file"),
        "resumed": train(files, folder / "resumed", "--style-from", "file", updates=BEFORE),
        "folder": train(corpus / "folders", folder / "folder", "--style-from", "folder", updates=2),
        "jsonl": train(corpus / "records.jsonl", folder / "jsonl", "--style-from", "jsonl", "--style-key", "genre",
                       "--jsonl-key", "body", updates=2),
        "bytes": train(corpus / "drama.txt", folder / "bytes", "--unit", "byte", "--test-fraction", 0.1, updates=2),
    }  # fmt: skip
    outcomes = run_all(commands)
    for name, outcome in outcomes.items():
        assert outcome.status == 0, f"{name}: {outcome.text[-2000:]}"
    common = ["--user-dir", toy.ROOT / "plugins", "--cpu", "--path"]
    checkpoint = folder / "whole" / "checkpoint_last.pt"
    later = {
        "resumed": train(files, folder / "resumed", "--style-from", "file"),
        "validate": ["fairseq-validate", files, *common, checkpoint, "--task", "char_lm"],
        "eval_lm": ["fairseq-eval-lm", files, *common, checkpoint],
        "context": ["fairseq-eval-lm", files, *common, checkpoint, "--context-window", 8],
        "other text": ["fairseq-validate", corpus / "folders" / "novel", *common, checkpoint, "--task", "char_lm",
                       "--valid-fraction", 1, "--style-from", "folder"],
        "test split": ["fairseq-eval-lm", corpus / "drama.txt", *common, folder / "bytes" / "checkpoint_last.pt"],
        "finetune": train(corpus / "novel.txt", folder / "finetune", "--finetune-from-model", checkpoint, updates=1),
    }  # fmt: skip
    return folder, outcomes, run_all(later, real=["eval_lm"])


def test_training_lowers_the_loss_and_logs_bits_nats_and_perplexity(runs):
    outcome = runs[1]["whole"]
    losses = logged(outcome, "loss", "train_inner")
    assert len(losses) == UPDATES
    assert losses[-1] < losses[0]
    (bits,), (nats,), (perplexity,) = (logged(outcome, name, "valid") for name in ("bpc", "nats", "ppl"))
    assert nats == pytest.approx(bits * 0.693147, rel=1e-4)
    assert perplexity == pytest.approx(2.718282**nats, rel=1e-4)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does_bit_for_bit(runs):
    folder, _, later = runs
    assert later["resumed"].status == 0, later["resumed"].text[-2000:]
    ours, reference = (read(folder / name / "checkpoint_last.pt") for name in ("resumed", "whole"))
    assert ours["optimizer_history"][-1]["num_updates"] == UPDATES
    for name, tensor in reference["model"].items():
        assert torch.equal(ours["model"][name], tensor), name


def test_the_checkpoint_contains_the_characters_and_the_styles(runs):
    saved = read(runs[0] / "whole" / "checkpoint_last.pt")
    assert saved["task_state"]["styles"] == ["drama", "novel"]
    assert saved["task_state"]["dictionary"]["characters"][:4] == ["\n", " ", ".", "a"]
    assert saved["cfg"]["model"]["num_styles"] == 2
    assert saved["cfg"]["model"]["vocab_size"] == len(saved["task_state"]["dictionary"]["characters"])


@pytest.mark.parametrize("kind", ["folder", "jsonl"])
def test_styles_come_from_folders_and_from_records_too(runs, kind):
    assert read(runs[0] / kind / "checkpoint_last.pt")["task_state"]["styles"] == ["drama", "novel"]


@pytest.mark.parametrize("program, words", [("validate", r"\| valid \|.*\bloss ([\d.]+)"),
                                            ("eval_lm", r"Loss \(base 2\): ([\d.]+)")])  # fmt: skip
def test_evaluating_gives_the_loss_of_the_end_of_training(runs, program, words):
    outcome = runs[2][program]
    assert outcome.status == 0, outcome.text[-2000:]
    found = float(re.findall(words, outcome.text)[-1])
    assert found == pytest.approx(logged(runs[1]["whole"], "loss", "valid")[-1], abs=2e-4)


def test_all_of_the_validation_text_is_evaluated_with_and_without_context(runs):
    characters = len("\n".join(toy.sentences(24, 1)) + "\n") + len("\n".join(toy.sentences(24, 2)) + "\n")
    for program in ("eval_lm", "context"):
        outcome = runs[2][program]
        assert outcome.status == 0, outcome.text[-2000:]
        (count,) = re.findall(r"Evaluated ([\d,]+) tokens", outcome.text)
        assert abs(int(count) - (characters / 10 - 2)) <= 2


def test_a_checkpoint_can_be_validated_on_another_text(runs):
    outcome = runs[2]["other text"]
    assert outcome.status == 0, outcome.text[-2000:]
    assert logged(outcome, "loss", "valid")


def test_the_test_split_is_evaluated_where_there_is_one(runs):
    outcome = runs[2]["test split"]
    assert outcome.status == 0, outcome.text[-2000:]
    assert re.search(r"drama.txt test \d+ examples", outcome.text)


def test_fine_tuning_keeps_characters_and_styles(runs):
    folder, _, later = runs
    assert later["finetune"].status == 0, later["finetune"].text[-2000:]
    ours, reference = (read(folder / name / "checkpoint_last.pt") for name in ("finetune", "whole"))
    assert ours["task_state"] == reference["task_state"]


YAML = """
# @package _group_
common: {user_dir: USER_DIR, cpu: true, seed: 1, log_format: simple, log_interval: 1}
checkpoint: {save_dir: made/here, no_epoch_checkpoints: true}
dataset: {batch_size: 8, num_workers: 0}
optimization: {max_update: 3, lr: [0.001], clip_norm: 1.0}
task: {_name: char_lm, data: "drama.txt:novel.txt", style_from: file}
criterion: {_name: style_lm}
optimizer: {_name: fused_adamw, adam_betas: "(0.9, 0.99)", weight_decay: 0.1}
lr_scheduler: {_name: cosine, warmup_updates: 1, min_lr: 0.0001}
model: {_name: char_lm, decoder_layers: 2, decoder_attention_heads: 2, decoder_embed_dim: 16, block_size: 24}
"""


def test_hydra_trains_it(corpus, tmp_path):
    for name in ("drama.txt", "novel.txt"):
        (tmp_path / name).write_bytes((corpus / name).read_bytes())
    (tmp_path / "toy.yaml").write_text(YAML.replace("USER_DIR", str(toy.ROOT / "plugins")))
    outcome = toy.run_cli(["fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "toy"], cwd=tmp_path)
    assert outcome.status == 0, outcome.text[-3000:]
    assert read(tmp_path / "made" / "here" / "checkpoint_last.pt")["task_state"]["styles"] == ["drama", "novel"]


@pytest.fixture(scope="module")
def failures(corpus, runs, tmp_path_factory):
    """Every run that cannot work: {name: (folder, outcome)}."""
    folder = tmp_path_factory.mktemp("failures")
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes(b"caf\xe9\n" * 100)
    (folder / "short.txt").write_text("abc" * 20)
    (folder / "known.txt").write_text("abc\n" * 99)
    (folder / "unseen.txt").write_text("abc\n" * 99 + "abÆ\n")
    (folder / "unlabelled.jsonl").write_text('{"text": "abc", "style": "x"}\n{"text": "abc"}\n')
    checkpoint = runs[0] / "whole" / "checkpoint_last.pt"

    def run(name, *more):
        return train(folder / name, folder / "out" / name, *more)

    commands = {
        "missing": run("missing.txt"),
        "empty": run("empty.txt"),
        "latin": run("latin.txt"),
        "short": run("short.txt"),
        "unseen": run("known.txt", "--valid-data", folder / "unseen.txt"),
        "unlabelled": run("unlabelled.jsonl", "--style-from", "jsonl"),
        "finetune": run("unseen.txt", "--finetune-from-model", checkpoint, "--valid-fraction", 0.5),
        "validate": ["fairseq-validate", folder / "unseen.txt", "--user-dir", toy.ROOT / "plugins", "--cpu",
                     "--task", "char_lm", "--path", checkpoint, "--valid-fraction", 1, "--style-from", "none",
                     "--data-cache", folder / "cache"],
        "split": run("../" + folder.name + "/unseen.txt", "--valid-subset", "dev"),
    }  # fmt: skip
    return folder, run_all(commands)


@pytest.mark.parametrize(
    "name, named",
    [
        ("missing", ["missing.txt"]),
        ("empty", ["empty.txt"]),
        ("latin", ["latin.txt", "0xe9", 3, "--unit byte"]),
        ("short", ["short.txt", 60, 6, 25]),
        ("unseen", ["unseen.txt", "'Æ'", "U+00C6", 399]),
        ("unlabelled", ["unlabelled.jsonl:2", "'style'", "--style-key"]),
        ("finetune", ["unseen.txt", "whole/checkpoint_last.pt"]),
        ("validate", ["unseen.txt", "'Æ'", "whole/checkpoint_last.pt"]),
        ("split", ["'dev'"]),
    ],
)
def test_a_run_with_invalid_options_ends_with_one_line_and_no_checkpoint(failures, name, named):
    folder, outcomes = failures
    outcomes[name].refuses(*named)
    assert list(folder.glob("out/**/*.pt")) == []
    assert list(folder.glob("out/**/*.part")) == []
