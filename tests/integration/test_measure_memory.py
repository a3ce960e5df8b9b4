"""scripts/measure_memory.py: predicted beside measured on real runs, and a row for what cannot run."""

import csv
import json
import subprocess
import sys

import pytest
import toy

pytestmark = pytest.mark.slow
SCRIPT = [sys.executable, toy.ROOT / "scripts" / "measure_memory.py"]
SIZE = ["--decoder-layers", 8, "--decoder-embed-dim", 256, "--decoder-attention-heads", 4, "--block-size", 64]
EXACT = ("weights", "gradients", "optimizer")


def run(*words):
    """Run the script; return its outcome."""
    command = [str(word) for word in (*SCRIPT, *words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=toy.ROOT)
    return toy.Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    (folder / "text.txt").write_text("\n".join(toy.sentences(400)) + "\n")
    train = ["fairseq-train", folder / "text.txt", "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "char_lm"]
    train += ["--arch", "char_lm_nano", *SIZE, "--batch-size", 32, "--num-workers", 0]
    names = ["baseline", "mixed", "checkpoint", "accumulate4", "fp16", "lora"]
    outcome = run("--variants", *names, "--updates", 3, "-o", folder / "out", "--", *train)
    assert outcome.status == 0, outcome.text[-3000:]
    rows = json.loads((folder / "out" / "memory.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == names and outcome.out.count("\n") == len(names) + 2
    with open(folder / "out" / "memory.csv") as file:
        assert [row["variant"] for row in csv.DictReader(file)] == names
    return {row["variant"]: row for row in rows}


def test_the_process_is_predicted_within_a_tenth(measured):
    for name in ("baseline", "mixed", "checkpoint", "accumulate4", "lora"):
        row = measured[name]
        assert row["predicted_process"] == pytest.approx(row["process"], rel=0.1), name
        assert row["predicted_peak"] == pytest.approx(row["peak"], rel=0.1), name


def test_the_state_is_predicted_exactly(measured):
    for name in ("baseline", "checkpoint", "accumulate4"):
        for part in EXACT:
            assert measured[name][f"predicted_{part}"] == pytest.approx(measured[name][part], rel=1e-3), (name, part)


def test_variants_save_what_they_should(measured):
    base = measured["baseline"]
    assert measured["checkpoint"]["activations"] < 0.3 * base["activations"]
    assert measured["accumulate4"]["peak"] < 0.7 * base["peak"]
    assert measured["lora"]["optimizer"] < 0.1 * base["optimizer"]
    for name in ("checkpoint", "accumulate4"):  # dropout is 0
        assert measured[name]["loss"] == pytest.approx(base["loss"], rel=1e-3)


def test_the_speed_and_the_process_are_also_measured_with_the_usual_malloc(measured):
    for name in ("baseline", "checkpoint"):
        assert measured[name]["process_usual"] != measured[name]["process"] and measured[name]["tokens_per_second"] > 0


def test_variants_that_cannot_run_have_a_row_with_the_reason(measured):
    toy.names(measured["fp16"]["reason"], "--fp16")


def test_bad_requests_end_in_one_line(tmp_path):
    for words, named in (
        (["--variants", "magic", "--", "fairseq-train", "x"], "magic"),
        (["--updates", 2, "--", "fairseq-train", "x"], "--updates"),
        (["--", "echo", "x"], "echo"),
    ):
        run("-o", tmp_path / "out", *words).refuses(named)
