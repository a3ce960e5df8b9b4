"""The real command lines at toy size: training, resuming, validating, fine-tuning, errors."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import toy

import plugins
from plugins import locks
from plugins.compat.precision import cpu_has_bfloat16

pytestmark = pytest.mark.slow
AT_ONCE = 2
BEFORE, UPDATES = (
    {"baseline": 27, "zero_clap": 31},
    33,
)  # an epoch has 29 updates: interruptions in the first and second


def run_all(commands):
    """Run {name: arguments, or (arguments, options)} a few at a time, and return {name: outcome}."""

    def run(command):
        arguments, options = command if isinstance(command, tuple) else (command, {})
        return toy.run_cli(arguments, **options)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(commands, pool.map(run, commands.values()), strict=True))


def variant_run(data, folder, variant, updates):
    return toy.train_arguments(data, folder / variant, model=toy.flags_of(variant), updates=updates)


@pytest.fixture(scope="session")
def runs(toy_data, tmp_path_factory):
    """The folder of finished runs, one for each variant."""
    folder = tmp_path_factory.mktemp("runs")
    outcomes = run_all({name: variant_run(toy_data, folder, name, UPDATES) for name in toy.VARIANTS})
    for name, outcome in outcomes.items():
        assert outcome.status == 0, f"{name}: {outcome.err[-2000:]}"
    return folder, outcomes


def read(path):
    return torch.load(path, map_location="cpu")


def differences(a, b, where=""):
    """Return the places where two nested structures differ, tensors compared bit by bit."""
    if torch.is_tensor(a):
        return [] if torch.equal(a, b) else [where]
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        return [d for k in a for d in differences(a[k], b[k], f"{where}.{k}")]
    if isinstance(a, list | tuple):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{where}[{i}]")]
    return [] if a == b else [where]


def values(outcome, name, kind="train_inner"):
    return [float(x) for x in re.findall(rf"\| {kind} \|.*?\b{name}[ =]([\d.e+-]+)", outcome.text)]


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_each_variant_trains_and_gets_better(runs, variant):
    losses = values(runs[1][variant], "loss")
    assert len(losses) == UPDATES
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_perplexity_has_digits_and_beta_is_logged_for_clap(runs, variant):
    text = runs[1][variant].text
    assert re.search(r"\| valid \|.*\bppl \d+\.\d{3,}", text)
    assert bool(re.search(r"\| train_inner \|.*\bbeta=[\d.]+,", text)) == ("clap" in variant)


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_a_checkpoints_folder_is_all_that_using_it_needs(runs, variant):
    folder = runs[0] / variant
    assert {"checkpoint_last.pt", "dict.txt", "sentencepiece.bpe.model"} <= {path.name for path in folder.iterdir()}
    assert not [path.name for path in folder.iterdir() if path.name.endswith((".part", ".tmp"))]
    assert len(plugins.hub.load(folder / "checkpoint_last.pt").fill_mask("the river <mask> a garden", topk=3)) == 3


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_a_checkpoint_stores_its_whole_architecture(runs, variant):
    saved = read(runs[0] / variant / "checkpoint_last.pt")["cfg"]["model"]
    expected = {"head": "clap", "positions": "learned", "mask_embedding": "learned", **toy.VARIANTS[variant]}
    assert {name: saved[name] for name in expected} == expected
    assert saved["normalize_embeddings"] == ("clap" in variant)


def test_beta_is_0_dimensional_in_a_file(runs):
    assert read(runs[0] / "zero_clap" / "checkpoint_last.pt")["model"]["encoder.lm_head.beta"].shape == ()


@pytest.fixture(scope="session")
def later(runs, toy_data, tmp_path_factory):
    """The commands that start from a finished run, run together."""
    folder, _ = runs
    new = tmp_path_factory.mktemp("later")
    alibi = folder / "alibi" / "checkpoint_last.pt"
    common = [
        toy_data, "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "clap_masked_lm", "--tokens-per-sample", 32,
        "--batch-size", 8, "--num-workers", 0,
    ]  # fmt: skip
    bare = [
        "fairseq-train", *common, "--criterion", "clap_masked_lm", "--arch", "clap_roberta", "--encoder-layers", 2,
        "--optimizer", "fused_adamw", "--lr", 1e-3, "--max-update", 2,
    ]  # fmt: skip
    twice = [*bare, "--finetune-from-model", new / "inherit" / "checkpoint_last.pt", "--save-dir", new / "twice"]
    bare += ["--finetune-from-model", alibi]
    finished = folder / "zero_clap" / "checkpoint_last.pt"
    validate = ["fairseq-validate", *common, "--omit-mask", "--path", finished, "--valid-subset", "valid"]
    interrupted = run_all({name: variant_run(toy_data, new, name, updates) for name, updates in BEFORE.items()})
    outcomes = run_all({
        "baseline": [*variant_run(toy_data, new, "baseline", UPDATES), "--num-workers", 1],  # the others have none
        "zero_clap": (variant_run(toy_data, new, "zero_clap", UPDATES), {"real": True}),  # with another hash seed
        "validate": (validate, {"real": True}),
        "inherit": [*bare, "--save-dir", new / "inherit"],
        "finished": variant_run(toy_data, folder, "alibi", UPDATES),
        "contradict": [*bare, "--save-dir", new / "contradict", "--positions", "learned"],
    })  # fmt: skip
    outcomes |= run_all({"inherit twice": twice})
    return new, interrupted, outcomes


@pytest.mark.parametrize("variant", BEFORE)
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does_bit_for_bit(runs, later, variant):
    new, interrupted, outcomes = later
    assert interrupted[variant].status == 0
    assert outcomes[variant].status == 0, outcomes[variant].err[-2000:]
    assert len(values(outcomes[variant], "loss")) == UPDATES - BEFORE[variant]
    ours, reference = read(new / variant / "checkpoint_last.pt"), read(runs[0] / variant / "checkpoint_last.pt")
    assert differences(ours["model"], reference["model"]) == []
    assert differences(ours["last_optimizer_state"], reference["last_optimizer_state"]) == []
    assert ours["optimizer_history"][-1]["num_updates"] == UPDATES


def test_a_finished_run_is_left_as_it_is(runs, later):
    outcome, file = later[2]["finished"], runs[0] / "alibi" / "checkpoint_last.pt"
    assert outcome.status == 0 and values(outcome, "loss") == [] and "nothing to train" in outcome.text
    assert read(file)["optimizer_history"][-1]["num_updates"] == UPDATES


def test_validating_gives_the_loss_of_the_end_of_training(runs, later):
    outcome = later[2]["validate"]
    assert outcome.status == 0, outcome.err[-2000:]
    (loss,) = re.findall(r"\| valid \|.*\bloss ([\d.]+)", outcome.text)[-1:]
    assert float(loss) == pytest.approx(values(runs[1]["zero_clap"], "loss", "valid")[-1], abs=1e-3)


def test_fine_tuning_inherits_what_was_not_given_and_passes_it_on(later):
    new, _, outcomes = later
    for name, folder in (("inherit", "inherit"), ("inherit twice", "twice")):
        assert outcomes[name].status == 0, outcomes[name].err[-2000:]
        saved = read(new / folder / "checkpoint_last.pt")["cfg"]["model"]
        assert (saved["positions"], saved["head"], saved["encoder_embed_dim"]) == ("alibi", "roberta", 32)


def test_a_contradicting_flag_is_one_line_that_names_both(runs, later):
    later[2]["contradict"].refuses("--positions", "learned", "alibi", runs[0] / "alibi" / "checkpoint_last.pt")
    assert not list((later[0] / "contradict").glob("*.pt"))


# Hydra

YAML = """
# @package _group_
common: {user_dir: USER_DIR, cpu: true, seed: 1, log_format: simple, log_interval: 1}
checkpoint: {save_dir: made/here, no_epoch_checkpoints: true}
dataset: {batch_size: 8, num_workers: 0}
optimization: {max_update: 3, lr: [0.001]}
task: {_name: clap_masked_lm, data: data, tokens_per_sample: 32, omit_mask: true}
criterion: {_name: clap_masked_lm}
optimizer: {_name: fused_adamw, adam_betas: "(0.9, 0.98)", weight_decay: 0.01}
lr_scheduler: {_name: polynomial_decay, warmup_updates: 1, total_num_update: 3}
model:
  _name: clap_roberta
  encoder_layers: 2
  encoder_embed_dim: 32
  encoder_ffn_embed_dim: 64
  encoder_attention_heads: 4
  positions: alibi
  initial_beta: 1
"""


@pytest.fixture
def hydra_train(toy_data, tmp_path):
    """A function that runs ``fairseq-hydra-train`` with further arguments in a folder with plugins and data."""
    (tmp_path / "plugins").symlink_to(toy.ROOT / "plugins")
    toy.copy_folder(toy_data, tmp_path / "data")
    (tmp_path / "config").mkdir()

    def run(*arguments, user_dir=str(toy.ROOT / "plugins")):
        (tmp_path / "config" / "toy.yaml").write_text(YAML.replace("USER_DIR", user_dir))
        command = ["fairseq-hydra-train", "--config-dir", tmp_path / "config", "--config-name", "toy", *arguments]
        return toy.run_cli(command, cwd=tmp_path)

    return run


@pytest.mark.parametrize("user_dir", [str(toy.ROOT / "plugins"), "'${hydra:runtime.cwd}/plugins'"])
def test_hydra_resolves_paths_against_the_start_directory(hydra_train, tmp_path, user_dir):
    outcome = hydra_train(user_dir=user_dir)
    assert outcome.status == 0, outcome.text[-3000:]
    saved = read(tmp_path / "made" / "here" / "checkpoint_last.pt")
    assert saved["cfg"]["model"]["mask_embedding"] == "zero"
    assert (tmp_path / "made" / "here" / "dict.txt").exists()


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="needs a CPU with AVX512-BF16 or AMX")
def test_hydra_trains_in_mixed_precision(hydra_train, tmp_path):
    """The weights differ from those of float32 by the rounding of products; they are stored in float32."""
    weights = {}
    for precision in ("none", "bf16"):
        outcome = hydra_train(f"++task.mixed_precision={precision}", f"checkpoint.save_dir={precision}")
        assert outcome.status == 0, outcome.text[-3000:]
        saved = read(tmp_path / precision / "checkpoint_last.pt")
        weights[precision] = saved["model"]["encoder.sentence_encoder.layers.0.fc1.weight"]
    assert weights["bf16"].dtype == torch.float32
    assert not torch.equal(weights["none"], weights["bf16"])
    torch.testing.assert_close(weights["none"], weights["bf16"], rtol=0, atol=0.004)  # 3 updates of 0.001, and decay


def test_hydra_refuses_options_before_anything_is_written(hydra_train, tmp_path):
    hydra_train("common.fp16=true", "common.amp=true").refuses("--fp16", "--amp")
    assert not (tmp_path / "made").exists()


# Errors


@pytest.fixture(scope="session")
def failures(toy_data, runs, tmp_path_factory):
    """All runs that fail, run together: {name: (folder, outcome)}."""
    folder = tmp_path_factory.mktemp("failures")

    def data(name):
        return toy.copy_folder(toy_data, folder / f"data {name}")

    empty, nodict, foreign = data("empty"), data("nodict"), data("foreign")
    (empty / "train.bin").write_bytes(b"")
    (nodict / "dict.txt").unlink()
    lines = (foreign / "dict.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (foreign / "dict.txt").write_text("".join([lines[1], lines[0], *lines[2:]]), encoding="utf-8")
    cut = folder / "cut.pt"
    content = (runs[0] / "alibi" / "checkpoint_last.pt").read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    alibi = ["--positions", "alibi", "--head", "roberta"]
    start = ["--finetune-from-model", runs[0] / "alibi" / "checkpoint_last.pt"]

    def train(name, source=toy_data, *more, **options):
        return toy.train_arguments(source, folder / name, *more, **options)

    commands = {
        "empty": train("empty", empty),
        "nodict": train("nodict", nodict),
        "foreign": train("foreign", foreign, *start, model=alibi),
        "long": train("long", toy_data, "--max-positions", 16),
        "heads": train("heads", toy_data, "--encoder-attention-heads", 5),
        "fp16": train("fp16", toy_data, "--fp16"),
        "formats": train("formats", toy_data, "--amp", "--mixed-precision", "bf16"),
        "launched": (train("launched"), {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}),
        "spawned": train("spawned", toy_data, "--distributed-world-size", 2),
        "sharded": train("sharded", toy_data, "--ddp-backend", "fully_sharded"),
        "cut": train("cut", toy_data, "--finetune-from-model", cut),
        "selfmask": train("selfmask", toy_data, "--mask-prob", 0),
        "nodata": train("nodata", folder / "nowhere"),
    }
    outcomes = run_all(commands)
    return {name: (folder / name, outcome) for name, outcome in outcomes.items()}


@pytest.mark.parametrize(
    "name, named",
    [
        ("empty", ["data empty/train.bin"]),
        ("nodict", ["data nodict/dict.txt"]),
        ("foreign", ["dict.txt", "alibi/checkpoint_last.pt"]),
        ("long", [16, "--tokens-per-sample"]),
        ("heads", ["--encoder-attention-heads 5", "--encoder-embed-dim 32"]),
        ("fp16", ["--fp16"]),
        ("formats", ["--amp", "--mixed-precision bf16"]),
        ("launched", ["WORLD_SIZE", 2, "MASTER_ADDR"]),
        ("spawned", ["--distributed-world-size", 2]),
        ("sharded", ["--ddp-backend", "fully_sharded"]),
        ("cut", ["cut.pt"]),
        ("selfmask", ["--mask-prob 0", "--self-mask-prob"]),
        ("nodata", ["nowhere/dict.txt"]),
    ],
)
def test_an_impossible_run_ends_with_one_line_and_writes_no_files(failures, name, named):
    folder, outcome = failures[name]
    outcome.refuses(*named)
    assert not folder.exists() or list(folder.iterdir()) == []


# Two processes on a CPU


def test_two_gloo_processes_share_the_work_of_one_epoch(toy_data, runs, tmp_path):
    command = toy.train_arguments(
        toy_data, tmp_path / "out", "--max-epoch", 1, "--max-update", 0, "--distributed-world-size", 2,
        "--distributed-no-spawn", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp",
        "--distributed-init-method", f"file://{tmp_path}/meeting-point", model=toy.flags_of("zero_clap"),
    )  # fmt: skip
    processes = [toy.start_cli([*command, "--distributed-rank", rank], GLOO_SOCKET_IFNAME="lo") for rank in (0, 1)]
    outcomes = [toy.finish(process) for process in processes]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes[0].text[-3000:]
    saved = read(tmp_path / "out" / "checkpoint_last.pt")
    assert saved["optimizer_history"][-1]["num_updates"] == 15  # 29 batches of 8, two at a time
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(runs[0] / "zero_clap"))


def test_a_second_run_in_a_folder_is_refused_before_it_writes(toy_data, tmp_path):
    with locks.lock(tmp_path / "run"):
        outcome = toy.run_cli(toy.train_arguments(toy_data, tmp_path / "run"))
        assert outcome.status == 1
        assert [f"process {os.getpid()}" in line and "--save-dir" in line for line in outcome.errors] == [True]
        assert [path.name for path in (tmp_path / "run").iterdir()] == [locks.NAME]
