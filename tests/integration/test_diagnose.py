"""scripts/diagnose.py and the scripts that read its output by their real command lines, at toy size."""

import csv
import json

import numpy as np
import pytest
import toy

pytestmark = pytest.mark.slow


def script(name, *arguments, timeout=400):
    return toy.run_cli([toy.ROOT / "scripts" / f"{name}.py", *arguments], timeout=timeout)


@pytest.fixture(scope="module")
def world(toy_data, tmp_path_factory):
    """A pretrained toy model, and 48 + 12 rows of two texts with a duplicate and a third column."""
    folder = tmp_path_factory.mktemp("diagnose")
    (folder / "model").mkdir()
    toy.save_masked_lm(folder / "model", toy_data)
    texts = toy.sentences(60)
    rows = [f"{a}\t{b}\t{'ab'[i % 2]}\t{'x' if i < 20 else 'y'}" for i, (a, b) in
            enumerate(zip(texts, reversed(texts), strict=True))]  # fmt: skip
    rows[2] = rows[0]
    for name, part in (("train", rows[:48]), ("dev", rows[48:])):
        (folder / f"{name}.tsv").write_text("sentence1\tsentence2\tlabel\tkind\n" + "".join(r + "\n" for r in part))
    return folder


@pytest.fixture(scope="module")
def diagnosed(world):
    (checkpoint,) = (world / "model").glob("*.pt")
    words = ["--data", world / "train.tsv", world / "dev.tsv", "--checkpoint", checkpoint, "--folds", 2,
             "--seeds", 1, 2, "--epochs", 2, "--inputs", "full", "first", "--slices", "kind", "--lr", 1e-3,
             "--batch-size", 8, "--cpu", "--cache-dir", world / "cache", "-o", world / "out", "--jobs", 2]  # fmt: skip
    outcome = script("diagnose", *words)
    assert outcome.status == 0, outcome.err[-3000:]
    return words, outcome


def test_everything_is_derived_from_the_runs(world, diagnosed):
    summary = json.loads((world / "out" / "summary.json").read_text())
    assert (summary["rows"], summary["folds"], summary["seeds"]) == (48, 2, 2)
    assert set(summary["inputs"]) == {"full", "first"} and len(summary["epochs"]) == 2
    assert set(summary["slices"]) == {"class", "length", "kind"} and summary["valid"]["rows"] == 12
    rows = list(csv.DictReader((world / "out" / "diagnosis.csv").open()))
    assert rows[2]["duplicate_of"] == "0" and rows[0]["fold"] == rows[2]["fold"]
    bits = np.mean([float(row["PVI"]) for row in rows])
    assert bits == pytest.approx(summary["V"], abs=1e-6)
    names = {path.name for path in (world / "out" / "training_dynamics").iterdir()}
    assert names >= {"dynamics_epoch_0.jsonl", "dynamics_epoch_1.jsonl", "td_metrics.jsonl", "held_out_map.csv"}
    assert {p.stem for p in (world / "out" / "figures").iterdir()} >= {"information", "classes", "map", "epochs"}


def test_every_row_is_trained_on_only_by_the_other_fold(world, diagnosed):
    for seed in (1, 2):
        folder = world / "out" / "runs" / "full"
        trained = [~np.isnan(np.load(folder / f"fold{k}_seed{seed}" / "logits" / "train_epoch_2.npy")[:, 0])
                   for k in (1, 2)]  # fmt: skip
        held = [~np.isnan(np.load(folder / f"fold{k}_seed{seed}" / "logits" / "held_out_epoch_2.npy")[:, 0])
                for k in (1, 2)]  # fmt: skip
        assert (trained[0] == ~held[0]).all() and (trained[1] == held[0]).all()


def test_a_second_call_trains_nothing(world, diagnosed):
    words, _ = diagnosed
    logs = {path: path.stat().st_mtime_ns for path in (world / "out" / "runs").rglob("train.log")}
    assert len(logs) == 8
    outcome = script("diagnose", *words)
    assert outcome.status == 0, outcome.err[-2000:]
    assert logs == {path: path.stat().st_mtime_ns for path in (world / "out" / "runs").rglob("train.log")}


def test_diagnosing_the_arrays_gives_the_same_result(world, diagnosed):
    outcome = script("diagnose", "--logits", world / "out" / "probabilities.npz", "-o", world / "again", "--no-figures")
    assert outcome.status == 0, outcome.err[-2000:]
    first, second = (json.loads((world / name / "summary.json").read_text()) for name in ("out", "again"))
    assert second["V_calibrated"] == pytest.approx(first["V_calibrated"], abs=1e-5)


def test_diagnosing_the_table_and_the_training_dynamics(world, diagnosed):
    first = json.loads((world / "out" / "summary.json").read_text())
    for name, given in (("table", world / "out" / "diagnosis.csv"), ("dynamics", world / "out")):
        outcome = script("diagnose", "--probabilities", given, "-o", world / name)
        assert outcome.status == 0, outcome.err[-2000:]
        found = json.loads((world / name / "summary.json").read_text())
        assert found["rows"] == 48 and any("fold" in line for line in found["warnings"])
        assert name != "table" or found["V"] == pytest.approx(first["V"], abs=1e-5)
    assert (world / "dynamics" / "figures" / "map.png").exists()


def test_heads_on_fixed_features_need_no_runs(world):
    """All inputs, a model of the empty input, and a learning curve."""
    (checkpoint,) = (world / "model").glob("*.pt")
    (world / "list.txt").write_text("the\n")
    inputs = ["full", "first", "second", "shuffled", "length", "overlap", "start:2"]
    inputs += [f"{kind}:{world / 'list.txt'}" for kind in ("words", "without", "masked")]
    outcome = script("diagnose", "--data", world / "train.tsv", world / "dev.tsv", "--checkpoint", checkpoint,
                     "--frozen", "--folds", 2, "--seeds", 1, 2, "--epochs", 2, "--inputs", *inputs, "--null", "model",
                     "--sizes", 0.25, 0.5, 0.75, "--cpu", "-o", world / "frozen")  # fmt: skip
    assert outcome.status == 0, outcome.err[-3000:]
    summary = json.loads((world / "frozen" / "summary.json").read_text())
    assert len(summary["inputs"]) == 10 and len(summary["sizes"]["rows"]) == 4
    assert not (world / "frozen" / "runs").exists()
    drawn = {path.stem for path in (world / "frozen" / "figures").iterdir()}
    assert drawn == {"information", "classes", "stability", "map", "map_held_out", "epochs", "learning_curve"}


def test_mistakes_are_one_line_errors(world, tmp_path):
    for words, named in (
        (["--data", world / "none.tsv", "--checkpoint", world / "train.tsv"], "none.tsv"),
        (["--data", world / "train.tsv", "--checkpoint", world / "none.pt"], "none.pt"),
        (["--probabilities", world / "train.tsv"], "H_yb"),
    ):
        outcome = script("diagnose", *words, "-o", tmp_path / "out")
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert outcome.status != 0 and len(lines) == 1 and named in lines[0]


def test_a_small_benchmark_of_label_errors(world, tmp_path):
    outcome = script("benchmark_label_errors", "--data", world / "train.tsv", "--kinds", "uniform", "--rates", 0.2,
                     "--plantings", 2, "--folds", 2, "-o", tmp_path / "bench")  # fmt: skip
    assert outcome.status == 0, outcome.err[-2000:]
    summary = json.loads((tmp_path / "bench" / "summary.json").read_text())
    assert {row["order"] for row in summary["orders"]} >= {"review loop", "ranks", "random", "self_confidence"}
    again = script("benchmark_label_errors", "--planted", tmp_path / "bench" / "planted.npz", "-o", tmp_path / "again")
    assert again.status == 0, again.err[-2000:]
    assert json.loads((tmp_path / "again" / "summary.json").read_text())["kinds"] == summary["kinds"]


def test_a_benchmark_of_label_errors_with_heads_on_fixed_features(world, tmp_path):
    (checkpoint,) = (world / "model").glob("*.pt")
    outcome = script("benchmark_label_errors", "--data", world / "train.tsv", "--kinds", "pair", "--rates", 0.2,
                     "--plantings", 1, "--folds", 2, "--checkpoint", checkpoint, "--frozen", "--epochs", 1, "--cpu",
                     "-o", tmp_path / "bench")  # fmt: skip
    assert outcome.status == 0, outcome.err[-2000:]
    assert not (tmp_path / "bench" / "runs").exists()
    with np.load(tmp_path / "bench" / "planted.npz") as file:
        assert file["logits"].shape[:2] == (1, 1) and np.isfinite(file["logits"]).all()
