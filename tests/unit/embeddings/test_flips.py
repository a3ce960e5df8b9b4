"""The study of reversed comparisons: its cases, data, scores and table."""

import json

import numpy as np
import pytest
import toy

from plugins.embeddings import flips
from plugins.embeddings.flips import Case


def ratings(path):
    rows = [{"text": f"text {i}", "score": i} for i in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_each_method_has_each_share_and_the_clean_data_is_trained_on_once():
    found = flips.cases([0, 0.1, 0.2], 3)
    assert len(found) == 3 + 4 * 2 * 3
    assert len({case.name for case in found}) == len(found)
    assert {case.share for case in found if case.method == "largest"} == {0.1, 0.2}


def test_the_corrected_loss_is_given_the_share(tmp_path):
    given = {method: flips.job(Case(method, 0.3, 1), tmp_path, [], 5).command for method in ("random", flips.CORRECTED)}
    assert "--flip-rate" not in given["random"]
    assert given[flips.CORRECTED][given[flips.CORRECTED].index("--flip-rate") + 1] == "0.3"
    assert given["random"][1] == given[flips.CORRECTED][1]  # the same data


def test_the_clearest_comparisons_of_training_are_reversed_and_validation_is_clean(tmp_path):
    case = Case("largest", 0.2, 1)
    flips.write_data(tmp_path, [case], ratings(tmp_path / "a"), ratings(tmp_path / "b"), 1, 4)
    number = lambda text: int(text.split()[1])  # noqa: E731
    gaps = {}
    for name in (flips.TRAIN, flips.VALID):
        rows = [json.loads(line) for line in (tmp_path / case.data / name).open()]
        gaps[name] = np.array([number(row["chosen"]) - number(row["rejected"]) for row in rows])
    assert (gaps[flips.TRAIN] < 0).mean() == pytest.approx(0.2, abs=0.02)
    assert gaps[flips.TRAIN].min() < -5 and gaps[flips.TRAIN].max() < -gaps[flips.TRAIN].min() + 1
    assert (gaps[flips.VALID] > 0).all()


def test_comparisons_whose_gaps_are_equal_are_refused(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"chosen": f"a{i}", "rejected": f"b{i}"}) + "\n" for i in range(9)))
    with toy.refused("c.jsonl", "margins"):
        flips.write_data(tmp_path, [Case("largest", 0.2, 1)], str(path), ratings(tmp_path / "b"), 1, 4)
    assert not list(tmp_path.rglob(flips.TRAIN))


def test_accuracy_scale_and_margin_of_scores():
    found = flips.evaluate(np.array([1.0, 3.0, 2.0]), np.array([[1, 0], [1, 2], [0, 2]]))
    assert found == pytest.approx({"accuracy": 2 / 3, "scale": 0.816496580927726, "margin": 2 / 3})


def test_every_line_starts_at_the_clean_data(tmp_path):
    results = {case: {"accuracy": 0.5 + case.seed / 10, "scale": 1.0, "margin": 0.1} for case in flips.cases([0.2], 2)}
    found = flips.records(results)
    lines = flips.table(found).splitlines()
    assert len(lines) == 2 + 4 * 2
    assert lines[2] == "| random | 0 | 0.650 ± 0.071 | 1.000 ± 0.000 | 0.100 ± 0.000 |"
    flips.draw(tmp_path / "flips.png", found)
    assert (tmp_path / "flips.png").read_bytes()[:4] == b"\x89PNG"


def test_names_of_runs_and_their_data():
    named = {case: (case.name, case.data, case.which) for case in
             (Case("largest", 0.25, 3), Case(flips.CORRECTED, 0.1, 2), Case("random", 0, 2))}  # fmt: skip
    assert list(named.values()) == [
        ("largest-0.25-seed3", "largest-0.25-seed3", "largest"),
        ("random-corrected-0.1-seed2", "random-0.1-seed2", "random"), ("none-seed2", "none", "random"),
    ]  # fmt: skip
    assert [case.seed for case in flips.cases([], 3)] == [1, 2, 3]


def test_a_run_trains_on_its_data_and_is_scored_on_clean_ones(tmp_path):
    job = flips.job(Case("largest", 0.3, 2), tmp_path, ["--cpu"], 5)
    folder = tmp_path / "largest-0.3-seed2"
    assert job.command == ("fairseq-train", str(folder), "--cpu", "--seed", "2", "--max-update", "5")
    assert (job.name, job.updates, job.finish.valid) == ("largest-0.3-seed2", 5, str(folder / "valid.jsonl"))
    assert job.key() != flips.job(Case("largest", 0.3, 2), tmp_path, ["--cpu"], 5, ["other data"]).key()


def test_rows_are_sorted_by_method_share_and_seed():
    results = {
        Case("random", 0.2, 2): {"accuracy": 1},
        Case("random", 0.2, 1): {"accuracy": 2},
        Case("random", 0, 1): {"accuracy": 3},
    }
    found = flips.records(results)
    assert [(row["method"], row["share"], row["seed"], row["accuracy"]) for row in found[:3]] == [
        ("random", 0, 1, 3), ("random", 0.2, 1, 2), ("random", 0.2, 2, 1),
    ]  # fmt: skip
    assert [row["method"] for row in found[3:]] == list(flips.METHODS[1:])
    assert flips.values(found, "random", 0.2, "accuracy").tolist() == [2, 1]


def test_curves_are_means_with_standard_errors_over_seeds(monkeypatch):
    asked = []
    monkeypatch.setattr(flips.figures, "bands", lambda path, panels, *rest: asked.append(panels))
    results = {case: {"accuracy": 0.5 + case.seed / 10, "scale": 1.0, "margin": 0.1} for case in flips.cases([0.2], 2)}
    flips.draw("x.png", flips.records(results))
    [panels] = asked
    assert list(panels) == list(flips.LABELS.values()) and list(panels[flips.LABELS["scale"]]) == list(flips.METHODS)
    shares, means, errors = panels[flips.LABELS["accuracy"]]["largest"]
    assert (
        shares.tolist() == [0, 0.2] and means == pytest.approx([0.65, 0.65]) and errors == pytest.approx([0.05, 0.05])
    )
    flips.draw("x.png", [row for row in flips.records(results) if row["seed"] == 1])
    assert asked[1][flips.LABELS["accuracy"]]["random"][2].tolist() == [0, 0]
