"""scripts/sweep.py on a toy grid: tables, drawings, and what a second call does."""

import csv
import json
import signal
import time

import pytest
import toy

pytestmark = pytest.mark.slow

SWEEP = toy.ROOT / "scripts" / "sweep.py"
GRID = """
title: toy
base: >-
  {data} --user-dir plugins --cpu --task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta
  --encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 --tokens-per-sample 32 --batch-size 8
  --optimizer fused_adamw --lr 1e-3 --max-update 4 --num-workers 0 --no-epoch-checkpoints --log-interval 1
seeds: [1, 2]
axes:
  --encoder-attention-heads: [2, 4]
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    path = tmp_path_factory.mktemp("my grids") / "toy.yaml"
    path.write_text(GRID)
    return path


def sweep(grid, output, data, *more):
    return toy.finish(start(grid, output, data, *more), timeout=400)


def start(grid, output, data, *more, **options):
    return toy.start_cli([SWEEP, grid, "-o", output, "--data", data, "--jobs", 2, *more], **options)


@pytest.fixture(scope="module")
def swept(grid, toy_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with blanks") / "out put"
    done = sweep(grid, folder, toy_data)
    assert done.status == 0, done.text
    return folder, done


def test_results_in_three_formats_and_a_drawing(swept):
    folder, done = swept
    table = (folder / "results.md").read_text()
    assert len(table.splitlines()) == 4 and table in done.out
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["encoder-attention-heads"], row["seed"]) for row in rows] == [
        ("2", "1"), ("4", "1"), ("2", "2"), ("4", "2"),
    ]  # fmt: skip
    results = json.loads((folder / "results.json").read_text())
    assert results["cells"][0]["nats"]["values"] == [float(rows[0]["nats"]), float(rows[2]["nats"])]
    assert 0 < results["cells"][0]["bits"]["mean"] < 7 and results["cells"][0]["parameters"]["mean"] > 1000
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {
        "curves.png", "results.csv", "results.json", "results.md", "runs",
    }  # fmt: skip


def test_finished_runs_are_not_done_again(swept, grid, toy_data):
    folder, first = swept
    logs = {path: path.read_text() for path in folder.glob("runs/*/log")}
    again = toy.finish(start(grid, folder, toy_data, real=True), timeout=400)
    assert again.status == 0 and "4 runs, 4 of them done already" in again.out
    assert len(logs) == 4 and all(path.read_text() == text for path, text in logs.items())


def test_another_command_is_refused_until_forced(swept, grid, toy_data, tmp_path):
    folder = toy.copy_folder(swept[0], tmp_path / "copy")
    refused = sweep(grid, folder, toy_data, "--", "--lr", "2e-3")
    refused.refuses("--force")
    assert str(folder / "runs") in refused.errors[0]
    forced = sweep(grid, folder, toy_data, "--seeds", 1, "--force", "--", "--lr", "2e-3")
    assert forced.status == 0, forced.text
    assert json.loads((folder / "runs" / "encoder-attention-heads=2_seed=1" / "run.json").read_text())["finished"]


def test_runs_of_other_data_are_refused_until_forced(grid, toy_data, tmp_path):
    data, only = toy.copy_folder(toy_data, tmp_path / "data"), ("--seeds", 1, "--jobs", 2)
    assert sweep(grid, tmp_path / "out", data, *only).status == 0
    results = (tmp_path / "out" / "results.json").read_text()
    (data / "valid.bin").write_bytes((data / "valid.bin").read_bytes()[::-1])
    sweep(grid, tmp_path / "out", data, *only).refuses("--force", data, "files")
    assert (tmp_path / "out" / "results.json").read_text() == results


def test_a_dry_run_prints_the_commands_and_writes_no_file(grid, toy_data, tmp_path):
    done = sweep(grid, tmp_path / "none", toy_data, "--dry-run")
    lines = done.out.splitlines()
    assert len(lines) == 4 and all(line.startswith("fairseq-train ") for line in lines)
    assert lines[0].endswith(
        "--log-format json --save-dir " + str(tmp_path / "none/runs/encoder-attention-heads=2_seed=1")
    )
    assert not (tmp_path / "none").exists()


def test_an_interrupted_run_resumes_from_its_checkpoint(grid, toy_data, tmp_path):
    long = ["--max-update", 150, "--save-interval-updates", 25, "--keep-interval-updates", 1]
    more = ["--seeds", 1, "--jobs", 1, "--", *long]
    process = start(grid, tmp_path / "out", toy_data, *more)
    folder = tmp_path / "out" / "runs" / "encoder-attention-heads=2_seed=1"
    until = time.monotonic() + 120
    while not (folder / "checkpoint_last.pt").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stopped = toy.finish(process)
    assert stopped.status == 1 and stopped.err.strip().splitlines()[-1].startswith("interrupted")
    assert not json.loads((folder / "run.json").read_text())["finished"]
    done = sweep(grid, tmp_path / "out", toy_data, *more)
    assert done.status == 0, done.text
    log = (folder / "log").read_text()
    assert "Loaded checkpoint" in log and log.count("$ fairseq-train") == 2
    assert json.loads((tmp_path / "out" / "results.json").read_text())["cells"][0]["updates"]["mean"] == 150


def test_a_run_that_fails_is_named_in_one_line(grid, tmp_path):
    done = sweep(grid, tmp_path / "out", tmp_path / "no data")
    done.refuses(tmp_path / "no data")
    assert done.errors[0].startswith("error: encoder-attention-heads=")


def test_a_file_in_place_of_the_folder_is_a_one_line_error(grid, tmp_path):
    (tmp_path / "out").touch()
    done = sweep(grid, tmp_path / "out", tmp_path)
    done.refuses(tmp_path / "out")
