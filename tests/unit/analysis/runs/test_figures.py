"""The figures of scripts/plot_runs.py: what is drawn, and the numbers behind it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import toy

from plugins.analysis.runs import figures, groups
from plugins.analysis.runs.logs import INNER, TRAIN, VALID, LoggedRecord, LoggedRun


def run(path="runs/base_seed1", seed=1, updates=(10, 20), stages=(INNER, VALID), name="loss", values=(3.0, 2.0)):
    records = [
        LoggedRecord(stage, {"num_updates": float(at), name: value})
        for stage in stages for at, value in zip(updates, values, strict=True)
    ]  # fmt: skip
    return LoggedRun(Path(path), records, {"common": {"seed": seed}, "checkpoint": {"save_dir": path}}, "log")


@pytest.fixture
def drawn(monkeypatch):
    calls = []
    monkeypatch.setattr(figures.plots, "band_panels", lambda *given: calls.append(given))
    monkeypatch.setattr(figures.plots, "bars", lambda *given: calls.append(given))
    return calls


def test_a_loss_is_drawn_in_training_and_validation_with_its_mean_over_seeds(drawn):
    found = groups.group([run(seed=1), run("runs/base_seed2", 2, values=(5.0, 4.0))])
    (entry,) = figures.loss_curves("a.png", found, "loss", None)
    ((path, panels, title, axis, note, decimals),) = drawn
    assert (path, list(panels), axis, decimals) == ("a.png", ["training", "validation"], "loss, as logged (bits)", 2)
    assert title == "base: the validation loss (bits) falls to 3.00 after 20 updates" and "2 seeds" in note
    x, mean, error = panels["validation"]["base"]
    assert (x.tolist(), mean.tolist(), error.tolist()) == ([10, 20], [4, 3], pytest.approx([1, 1]))
    assert entry["name"] == "base" and entry[VALID] == {
        "updates": [10, 20],
        "values": [4, 3],
        "standard_errors": [1, 1],
    }
    first, second = entry["runs"]
    assert (first["path"], first["seed"], first["read_from"]) == ("runs/base_seed1", 1, "log")
    assert second[TRAIN] == {"updates": [10, 20], "values": [5, 4]}
    assert figures.summary([entry], "loss") == ["base: 2 runs, last loss: train 3.0000, valid 3.0000"]


def test_a_metric_that_may_rise_has_no_conclusion(drawn):
    found = groups.group([run(name="f1", stages=(VALID,))])
    figures.loss_curves("a.png", found, "f1", None)
    figures.loss_curves("a.png", found, "f1", "my title")
    (_, panels, title, axis, note, decimals), (*_, given, _, _, _) = drawn
    assert (list(panels), title, axis, decimals) == (["validation"], "f1 of each run", "f1", 3)
    assert given == "my title" and note.startswith("one run each")


@pytest.mark.parametrize(("counts", "words"), [((1, 1), "one run each"), ((2, 2), "2 seeds"), ((1, 3), "1 to 3 seeds")])
def test_the_note_counts_the_seeds(counts, words):
    assert words in figures._note([groups.Configuration("a", (None,) * count) for count in counts])


def test_a_metric_without_a_curve_is_named(drawn):
    with toy.refused("--metric f1", "loss, num_updates"):
        figures.loss_curves("a.png", groups.group([run()]), "f1", None)
    apart = groups.group([run(seed=1), run("runs/base_seed2", 2, updates=(11, 21))])
    with toy.refused("--metric loss", "seeds"):
        figures.loss_curves("a.png", apart, "loss", None)
    assert drawn == []


def test_the_shortest_run_is_reported(drawn, capsys):
    long, short = run(seed=1), run("runs/base_seed2", 2, updates=(10, 15))
    figures.loss_curves("a.png", groups.group([long, short]), "loss", None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("update 15" in line and "runs/base_seed2" in line for line in lines)
    figures.loss_curves("a.png", groups.group([run(seed=1), run("runs/base_seed2", 2)]), "loss", None)
    assert capsys.readouterr().err == ""


def test_a_stage_without_a_common_update_is_reported(drawn, capsys):
    one, two = run(seed=1), run("runs/base_seed2", 2, updates=(11, 21), stages=(VALID,))
    two.records[:0] = run(updates=(10, 20), stages=(INNER,)).records
    figures.loss_curves("a.png", groups.group([one, two]), "loss", None)
    assert "loss (valid)" in capsys.readouterr().err and list(drawn[0][1]) == ["training"]


def test_runs_that_cannot_be_read_are_skipped_and_reported(tmp_path, capsys):
    (tmp_path / "good.log").write_text(toy.valid_line(5, "4"))
    bad = tmp_path / "none.log"
    found, skipped = figures.read_runs([tmp_path / "good.log", bad])
    assert [c.name for c in found] == ["good"] and list(skipped) == [str(bad)]
    assert str(bad) in capsys.readouterr().err
    with toy.refused(bad):
        figures.read_runs([bad])
    assert figures.read_runs([]) == ([], {})


def evaluation(path, checkpoint, chance=0.5, window=200, mean=0.75):
    score = {"nearest_is_asked": {str(window): {"mean": mean, "standard_error": 0.125, "n": 4}}}
    content = {"checkpoint": str(checkpoint), "options": {"window": window}, "styles": ["a", "b"], "chance": chance,
               "model_has_these_styles": True, "sees_the_future": False,
               "judges": {"svm": {"consistency": {"real": score}}}}  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def test_evaluations_are_named_after_their_configurations(drawn, tmp_path):
    files = [
        evaluation(tmp_path / "1.json", tmp_path / "base_seed1" / "checkpoint_best.pt"),
        evaluation(tmp_path / "2.json", tmp_path / "other_seed1", mean=0.5),
    ]
    called = [groups.Configuration("mine", (run(str(tmp_path / "base_seed1")),))]
    found = figures.consistency("a.png", files, called, "svm")
    ((path, names, series, _, label, note, line),) = drawn
    assert (path, names, line) == ("a.png", ["mine", "other"], (0.5, "chance")) and "svm" in note and "200" in note
    assert {name: values.tolist() for name, (values, _) in series.items()} == {"real text": [0.75, 0.5]}
    expected = {"values": [0.75, 0.5], "errors": [[0.125, 0.125], [0.125, 0.125]]}
    assert found == {"judge": "svm", "configurations": ["mine", "other"], "series": {"real text": expected}}


def test_different_chance_levels_have_no_line(drawn, tmp_path):
    files = [
        evaluation(tmp_path / f"{i}.json", tmp_path / f"run{i}", chance=chance) for i, chance in enumerate((0.5, 0.25))
    ]
    figures.consistency("a.png", files, [], "svm")
    assert drawn[0][-1] is None


def test_two_evaluations_of_one_checkpoint_and_an_absent_judge_are_named(drawn, tmp_path):
    files = [evaluation(tmp_path / f"{i}.json", tmp_path / "same") for i in range(2)]
    with toy.refused(files[0], files[1]):
        figures.consistency("a.png", files, [], "svm")
    with toy.refused("bayes", files[0]):
        figures.consistency("a.png", files[:1], [], "bayes")


def test_speeds_are_drawn_with_their_range(drawn, tmp_path):
    row = {"contestant": "cached", "tokens_per_second": {"median": 5, "min": 4, "max": 8}}
    (tmp_path / "s.json").write_text(json.dumps({"rows": [row]}))
    found = figures.speed("a.png", tmp_path / "s.json")
    series = {"tokens per second": {"values": [5], "errors": [[1], [3]]}}
    assert found == {"contestants": ["cached"], "series": series} and drawn[0][:2] == ("a.png", ["cached"])


def test_a_summary_leaves_out_what_is_missing():
    entry = {"name": "a", "runs": [1], TRAIN: {"values": [2.0, math.nan]}, VALID: {"values": [1.5]}}
    assert figures.summary([entry], "ppl") == ["a: 1 run, last ppl: valid 1.5000"]
    assert np.isnan(entry[TRAIN]["values"][-1])
