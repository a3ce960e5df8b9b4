"""Tables of many runs, and the files of a call."""

from dataclasses import replace

import pytest
import torch

from plugins.data.glue import specs
from plugins.glue import cards, plan, report, runs, session

OWN = replace(specs.SPECS["RTE"], name="mood")


def result(score, collapsed=False, metric="accuracy"):
    values = {metric: score, "loss": 0.5, "samples": 10, "runtime": 1.0}
    return {"score": score, "collapsed": collapsed, "valid": {"valid": values}, "baseline": {"valid": {metric: 0.5}},
            "epochs": 1, "train_loss": 0.5, "train_seconds": 1.0, "train_samples": 9, "updates": 3,
            "checkpoint": f"RTE/{score}/checkpoint_best.pt"}  # fmt: skip


def cell(task="RTE", scores=(0.1, 0.9, 0.2), lr=1e-5, spec=None, **options):
    planned = plan.plan([task], list(range(1, 1 + len(scores))), {"lr": [lr]}, {})
    results = {run: result(score, **options) for run, score in zip(planned, scores, strict=True)}
    return results, {task: spec or specs.SPECS[task]}


def test_tables_show_the_median_of_the_seeds_and_not_their_mean():
    by_task = report.cells(*cell())
    (row,) = report.official_table(by_task)[1:]
    assert row == ["RTE", "accuracy", "20.0", "10.0-90.0", "50.0", "0/3", "1e-05", "16", "1 2 3"]
    table = report.paper_table(by_task, 12.345)
    column = table[0].index("RTE")
    assert [line[column] for line in table[1:]] == ["20.0", "10.0-90.0", "50.0", "0/3"]
    assert table[1][1] == "12.3"


def test_the_cell_with_the_best_median_is_shown():
    """The other cell has the best run, and the best mean."""
    low, specs_of = cell(scores=(0.1, 0.2, 1.0), lr=1e-5)
    high, _ = cell(scores=(0.3, 0.3, 0.3), lr=1e-4)
    (row,) = report.official_table(report.cells(low | high, specs_of))[1:]
    assert row[2] == "30.0" and row[6] == "0.0001"


def test_failed_runs_are_counted_and_warned_of():
    first, specs_of = cell(scores=(0.5,), collapsed=True)
    second = cell(scores=(0.5, 0.6))[0]
    by_task = report.cells(second | first, specs_of)
    assert report.official_table(by_task)[1][5] == "1/2"
    (warning,) = report.warnings(by_task)
    assert "RTE" in warning and "1 of 2" in warning
    assert report.warnings(report.cells(second, specs_of)) == []


def test_one_run_has_no_range():
    assert report.official_table(report.cells(*cell(scores=(0.5,))))[1][3] == report.NONE


@pytest.mark.parametrize(
    ("task", "metric", "bits", "expected"),
    [("clap_masked_lm", "loss", 3.0, 8.0), ("masked_lm", "loss", 1.5, 2.8284271), ("glue", "loss", 3.0, None),
     ("clap_masked_lm", "accuracy", 3.0, None), ("clap_masked_lm", "loss", None, None)],
)  # fmt: skip
def test_the_perplexity_of_pretraining_is_two_to_the_bits(tmp_path, task, metric, bits, expected):
    cfg = {"task": {"_name": task}, "checkpoint": {"best_checkpoint_metric": metric}}
    torch.save({"model": {}, "cfg": cfg, "extra_state": {"val_loss": bits}}, tmp_path / "x.pt")
    found = report.pretraining_perplexity(tmp_path / "x.pt")
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_card_names_glue_or_the_users_own_data():
    (best,) = report.cells(*cell())["RTE"]
    assert "datasets: [glue]" in cards.model_card(best, "base.pt")
    (best,) = report.cells(*cell("mood", spec=OWN))["mood"]
    card = cards.model_card(best, "base.pt")
    assert "glue]" not in card and "GLUE" not in card and "datasets: [mood]" in card


@pytest.mark.parametrize(("task", "spec", "published"), [("RTE", None, True), ("mood", OWN, False)])
def test_the_published_table_is_written_only_for_its_tasks(tmp_path, monkeypatch, capsys, task, spec, published):
    results, specs_of = cell(task, spec=spec)
    torch.save({"model": {}}, tmp_path / "base.pt")
    setting = runs.Setting(tmp_path, tmp_path / "base.pt", tmp_path / "out", specs_of, {}, True, None, False)
    monkeypatch.setattr(session, "write_task", lambda *_: None)
    session.finish(results, setting, "python run_glue.py")
    for text in ((tmp_path / "out" / "results.md").read_text(), capsys.readouterr().out):
        assert ("PPL" in text) == published and "accuracy" in text
    row = runs.read_json_if_any(tmp_path / "out" / "results.json")["runs"][0]
    assert plan.FineTuning.from_row(row) == next(iter(results))
