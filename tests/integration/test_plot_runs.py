"""scripts/plot_runs.py on the output of real fairseq-train runs: one interrupted, two seeds, three log formats."""

import json
import shutil

import pytest
import toy

from plugins.analysis.runs import groups
from plugins.analysis.runs import logs as training_logs

pytestmark = pytest.mark.slow

SCRIPT = toy.ROOT / "scripts" / "plot_runs.py"


@pytest.fixture(scope="module")
def runs(toy_data, tmp_path_factory):
    """Two seeds: one interrupted at update 4 of 6, with its log in two formats, and one with --log-file."""
    folder = tmp_path_factory.mktemp("runs")
    often = ["--validate-interval-updates", 2, "--save-interval-updates", 2, "--seed"]

    def train(seed, updates, *more):
        words = toy.train_arguments(toy_data, folder / f"small_seed{seed}", *often, seed, *more, updates=updates)
        done = toy.run_cli([word for word in words if word != "--no-epoch-checkpoints"])
        assert done.status == 0, done.text
        return done.out

    logs = [train(1, 4), train(1, 6, "--log-format", "json")]
    (folder / "small_seed1" / "train.log").write_text("".join(logs))
    (folder / "small_seed2").mkdir()
    train(2, 6, "--log-format", "json", "--log-file", folder / "small_seed2" / "fairseq.log")
    return folder


def test_an_interrupted_run_and_another_seed_are_averaged(runs, tmp_path):
    (tmp_path / "nothing here").mkdir()
    done = toy.run_cli([SCRIPT, *sorted(runs.iterdir()), tmp_path / "nothing here", "-o", tmp_path / "out"])
    assert done.status == 0, done.text
    assert f"skipped: {tmp_path / 'nothing here'}: no log of fairseq-train" in done.err
    (configuration,) = json.loads((tmp_path / "out" / "runs.json").read_text())["configurations"]
    assert configuration["name"] == "small" and [run["seed"] for run in configuration["runs"]] == [1, 2]
    for run in configuration["runs"]:
        assert run["read_from"] == "log" and run["valid"]["updates"] == [2, 4, 6]
        assert run["train"]["updates"] == [1, 2, 3, 4, 5, 6] and 0 < min(run["train"]["values"]) < 8
    assert configuration["valid"]["updates"] == [2, 4, 6] and min(configuration["valid"]["standard_errors"]) > 0
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_checkpoints_agree_with_the_log(runs, tmp_path):
    for checkpoint in (runs / "small_seed2").glob("*.pt"):
        shutil.copy(checkpoint, tmp_path)
    logged, saved = (training_logs.read_run(folder) for folder in (runs / "small_seed2", tmp_path))
    assert (logged.source, saved.source) == ("log", "checkpoints")
    (updates, losses), (saved_updates, saved_losses) = (groups.curve_of(r, "loss", "valid") for r in (logged, saved))
    assert saved_updates.tolist() == updates.tolist() == [2, 4, 6]
    assert saved_losses == pytest.approx(losses, abs=6e-4)
    assert groups.seed_of(saved) == 2


def test_no_losses_at_all_is_one_line(tmp_path):
    done = toy.run_cli([SCRIPT, tmp_path, "-o", tmp_path / "out"])
    done.refuses(tmp_path)
    assert not done.out and not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", ["--evaluation", "-o"])
def test_mistakes_are_one_line_before_anything_is_drawn(tmp_path, given):
    (tmp_path / "run.log").write_text('{"epoch": 1, "loss": "5.1", "num_updates": "10"}\n')
    (tmp_path / "e.json").write_text("{}")
    folder = [] if given == "-o" else ["-o", tmp_path / "out"]
    done = toy.run_cli([SCRIPT, tmp_path / "run.log", *folder, given, tmp_path / "e.json"])
    done.refuses("e.json")
    assert not (tmp_path / "out").exists()
