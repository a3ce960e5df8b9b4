"""Models with rotary positions, by the real command lines: resumed, and fine-tuned on longer inputs with scaling."""

import json
import subprocess
import sys

import pytest
import torch
import toy

pytestmark = pytest.mark.slow
BLOCK, FACTOR = 16, 4
MODELS = {"chars": "block_size", "encoder": "max_positions"}
YARN = ("--position-scaling", "yarn", "--position-scaling-factor", FACTOR)
DYNAMIC = ("--position-scaling", "dynamic")


def train(kind, data, save_dir, *more, updates=4, length=BLOCK):
    """The command line of a toy run of a character LM or of a masked LM with rotary positions."""
    if kind == "encoder":
        size = () if "--finetune-from-model" in more else ("--positions", "rotary")
        options = ("--tokens-per-sample", length, "--sample-break-mode", "none", *more)
        return toy.train_arguments(data, save_dir, *options, model=size, updates=updates)
    size = ["--arch", "char_lm", "--decoder-layers", 2, "--decoder-attention-heads", 2, "--decoder-embed-dim", 16]
    size += [] if "--finetune-from-model" in more else ["--positions", "rotary"]
    return ["fairseq-train", data, "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "char_lm", "--criterion",
            "style_lm", *size, "--block-size", length, "--batch-size", 8, "--warmup-updates", 2, "--lr-period-updates",
            100, "--max-update", updates, "--save-dir", save_dir, *more]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, toy_data):
    """Runs of both kinds of models: whole, interrupted and resumed, fine-tuned, and the fine-tuning resumed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("\n".join(toy.sentences(60, 1)) + "\n")
    for kind in MODELS:
        data = folder / "text.txt" if kind == "chars" else toy_data
        run = {name: folder / f"{kind}-{name}" for name in ("whole", "resumed", "tuned", "again", "dynamic")}
        longer = {"length": FACTOR * BLOCK}
        tune = ("--finetune-from-model", run["whole"] / "checkpoint_last.pt")
        for command in (
            train(kind, data, run["whole"]),
            train(kind, data, run["resumed"], updates=2),
            train(kind, data, run["resumed"]),
            train(kind, data, run["tuned"], *tune, *YARN, **longer),
            train(kind, data, run["again"], *tune, *YARN, updates=2, **longer),
            train(kind, data, run["again"], *tune, *YARN, **longer),
            train(kind, data, run["dynamic"], *tune, *DYNAMIC, updates=2, **longer),
        ):
            outcome = toy.run_cli(command)
            assert outcome.status == 0, f"{command}: {outcome.text[-2000:]}"
    return folder


def read(folder, name):
    return torch.load(folder / name / "checkpoint_last.pt", map_location="cpu")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("whole, resumed", [("whole", "resumed"), ("tuned", "again")])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(folder, kind, whole, resumed):
    expected, found = (read(folder, f"{kind}-{name}")["model"] for name in (whole, resumed))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("kind, longest", MODELS.items())
@pytest.mark.parametrize(
    "name, scaling", [("whole", ("none", 1)), ("tuned", ("yarn", FACTOR)), ("dynamic", ("dynamic", 1))]
)
def test_a_checkpoint_records_its_scaling_and_its_trained_length(folder, kind, longest, name, scaling):
    options = read(folder, f"{kind}-{name}")["cfg"]["model"]
    assert (str(options["position_scaling"]), options["position_scaling_factor"]) == scaling
    assert options["trained_length"] == BLOCK
    assert options[longest] == (BLOCK if name == "whole" else FACTOR * BLOCK)


@pytest.mark.parametrize("kind", MODELS)
def test_fine_tuned_models_are_compared_in_trained_lengths(folder, kind, tmp_path):
    names, text = ["whole", "tuned", "dynamic"], tmp_path / "text.txt"
    text.write_text("\n".join(toy.sentences(100, 2)) + "\n")
    checkpoints = [folder / f"{kind}-{name}" for name in names]
    options = ["--text", text, "--lengths", "1x", "4x", "--windows", 3, "--stride", 4, "-o", tmp_path / "out"]
    outcome = toy.run_cli([toy.ROOT / "scripts/long_context.py", *checkpoints, *options])
    assert outcome.status == 0, outcome.text[-2000:]
    results = json.loads((tmp_path / "out" / "long_context.json").read_text())["results"]
    assert list(results) == [f"{kind}-{name}" for name in names]
    assert all([row["times"] for row in rows] == [1, 4] for rows in results.values())


@pytest.mark.parametrize("mode", ["read", "train"])
@pytest.mark.parametrize("kind", ["clap_roberta_tiny", "char_lm_small"])
def test_the_benchmark_measures_the_memory_of_both_models(kind, mode):
    command = [sys.executable, toy.ROOT / "benchmarks" / "long_context.py", "--peak-of", kind, "alibi", "64", mode]
    peak = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    assert 50 < float(peak) < 5000
