"""Tables of many runs, and the files of a call."""

from dataclasses import replace

import pytest
import torch
import toy

from plugins.data.glue import specs
from plugins.files import write_json
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
    setting = runs.RunSetting(tmp_path, tmp_path / "base.pt", tmp_path / "out", specs_of, {}, True, None, False)
    monkeypatch.setattr(session, "write_task", lambda *_: None)
    session.finish(results, setting, "python run_glue.py")
    for text in ((tmp_path / "out" / "results.md").read_text(), capsys.readouterr().out):
        assert ("PPL" in text) == published and "accuracy" in text
    row = runs.read_json_if_any(tmp_path / "out" / "results.json")["runs"][0]
    assert plan.FineTuning.from_row(row) == next(iter(results))


def test_an_interruption_after_the_results_and_another_call_that_ends_meanwhile_lose_nothing(tmp_path, monkeypatch):
    results, specs_of = cell("RTE")
    torch.save({"model": {}}, tmp_path / "base.pt")
    setting = runs.RunSetting(tmp_path, tmp_path / "base.pt", tmp_path / "out", specs_of, {}, True, None, False)
    (other,) = plan.plan(["SST-2"], [1], {}, {})
    (tmp_path / "out" / other.name).mkdir(parents=True)
    state = {"model": {}, "task_state": {"spec": specs.SPECS["SST-2"].plain()}}
    torch.save(state, tmp_path / "out" / other.name / runs.BEST)

    def meanwhile(checkpoint):
        row = other.as_row() | next(iter(cell("SST-2")[0].values())) | {"checkpoint": f"{other.name}/{runs.BEST}"}
        write_json(tmp_path / "out" / runs.RESULTS, {"checkpoint": str(checkpoint), "runs": [row]})

    monkeypatch.setattr(report, "pretraining_perplexity", meanwhile)
    monkeypatch.setattr(session, "write_task", toy.raising(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        session.finish(results, setting, "python run_glue.py")
    rows = runs.read_json_if_any(tmp_path / "out" / "results.json")["runs"]
    assert sorted({row["task"] for row in rows}) == ["RTE", "SST-2"]


def test_a_regression_has_its_losses_after_the_metrics_which_are_not_percents():
    results, specs_of = cell("STS-B", scores=(0.25, 0.75))
    for outcome, loss in zip(results.values(), (1.5, 2.5), strict=True):
        values = {"pearson": outcome["score"], "spearmanr": 0.5, "combined_score": 0.5}
        outcome["valid"]["valid"] = values | {"mse": loss, "published_loss": 0.125}
        outcome["baseline"] = {"valid": {"mse": 3.0}}
    rows = report.official_table(report.cells(results, specs_of))[1:]
    names = [*specs.SPECS["STS-B"].metrics, "mse", "published_loss"]
    assert [row[1] for row in rows] == names
    assert rows[names.index("pearson")][2:5] == ["50.0", "25.0-75.0", report.NONE]
    assert rows[names.index("mse")][2:5] == ["2.000", "1.500-2.500", "3.000"]
    table = report.paper_table(report.cells(results, specs_of), None)
    column = table[0].index("STS-B ↓")
    assert [line[column] for line in table[1:3]] == ["0.125", "0.125-0.125"] and table[1][1] == report.NONE
    assert table[1][table[0].index("CoLA")] == report.NONE


def test_the_mismatched_split_is_a_row_of_its_own():
    results, specs_of = cell("MNLI", scores=(0.5,))
    for outcome in results.values():
        outcome["valid"]["valid_mismatched"] = {"accuracy": 0.25}
        outcome["baseline"]["valid_mismatched"] = {"accuracy": 0.125}
    rows = report.official_table(report.cells(results, specs_of))[1:]
    assert [(row[0], row[2], row[4]) for row in rows] == [("MNLI", "50.0", "50.0"), ("MNLI mismatched", "25.0", "12.5")]


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (float("nan"), "–"), (0.25, "0.2"), (1, "1.0")])
def test_a_number_has_its_decimals_or_is_a_dash(value, text):
    assert report.number(value, 1) == text


def test_every_run_is_a_line_of_comma_separated_values():
    results, specs_of = cell(scores=(0.5, 0.75))
    lines = report.as_csv(results, specs_of).splitlines()
    assert lines[0] == (
        "task,split,lr,batch_size,seed,intermediate,collapsed,loss,accuracy,mse,published_loss,"
        "majority_accuracy,majority_mse,majority_published_loss"
    )
    assert lines[1:] == [f"RTE,valid,1e-05,16,{seed},,0,0.5,{score},,,0.5,," for seed, score in ((1, 0.5), (2, 0.75))]


def test_the_best_run_has_the_highest_score_and_the_card_names_it():
    (found,) = report.cells(*cell())["RTE"]
    run, best = found.best
    assert (run.seed, best["score"], found.score) == (2, 0.9, 0.2)
    card = cards.model_card(found, "base.pt")
    assert "| accuracy | 0.9000 | 0.2000 | 0.1000-0.9000 | 0.5000 |" in card
    assert "- name: 0.9\n" in card and "value: 0.900000" in card and "seed 2." in card and "`base.pt`" in card
    assert "Labels: 0: entailment, 1: not_entailment." in card and "0 of 3 runs" in card
