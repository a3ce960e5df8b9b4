"""Orders of planted label errors: what is counted, and how it is summarized."""

import json

import numpy as np
import pytest

from plugins.diagnostics.datasets import Rows
from plugins.diagnostics.planted import Planted, Planting
from plugins.glue import label_benchmark as benchmark
from plugins.jobs import Resources

N = 240


@pytest.fixture(scope="module")
def rows():
    labels = np.arange(N) % 2
    draw = np.random.default_rng(0)
    texts = [[f"{('bad', 'good')[k]} {draw.integers(9)} x{i}" for i, k in enumerate(labels)]]
    return Rows(("t",), texts, labels, ["no", "yes"], np.zeros(N, int), ["train"], [str(i) for i in range(N)])


def test_each_kind_rate_and_seed_is_planted_once(rows):
    found = benchmark.plantings(rows, ["uniform", "pair"], [0.1, 0.2], 2)
    assert [(one.kind, one.rate, one.number) for one in found] == [
        (kind, rate, number) for kind in ("uniform", "pair") for rate in (0.1, 0.2) for number in (1, 2)
    ]
    assert (found[0].given != rows.labels).mean() == pytest.approx(0.1, abs=0.02)
    assert (found[0].given != found[1].given).any()
    (second,) = benchmark.plantings(rows, ["uniform"], [0.1], 1, first=2)
    assert second.name == found[1].name and (second.given == found[1].given).all()


def test_linear_models_find_the_errors_first(rows, monkeypatch):
    planted = benchmark.plantings(rows, ["uniform"], [0.1], 1)
    found = benchmark.train(rows, planted, 3, None, Resources())
    assert found.labels is rows.labels and len(set(found.folds)) == 3
    assert [values.shape for values in found.logits] == [(1, N, 2)]
    np.testing.assert_allclose(np.exp(found.logits[0]).sum(-1), 1, atol=1e-4)
    results = benchmark.measure(found)
    errors = int((planted[0].given != rows.labels).sum())
    by_order = {row["order"]: row for row in results}
    assert list(by_order) == [*benchmark.CLEANLAB, "PVI", "ranks", "random", benchmark.LOOP, benchmark.ERRING]
    for row in results:
        assert (row["errors"], row["kind"], row["rate"], row["planting"]) == (errors, "uniform", 0.1, 1)
        assert row["found_100"] == row["curve"][99] and row["found_200"] == row["curve"][199] <= errors
        assert row["precision_100"] == row["found_100"] / 100 and len(row["curve"]) == 200
        assert np.isnan(row["average_precision"]) == (row["order"] in (benchmark.LOOP, benchmark.ERRING))
    assert by_order["PVI"]["found_100"] == errors > by_order["random"]["found_100"]
    assert by_order["PVI"]["average_precision"] > 0.95 and by_order["PVI"]["accuracy"] > 0.95


def outcome(order, kind, precision, errors=30):
    return {
        "kind": kind, "rate": 0.1, "planting": 1, "errors": errors, "accuracy": 0.9, "order": order, "found_100": 1,
        "found_200": 2, "precision_100": precision / 2, "precision_200": precision, "average_precision":
        float("nan") if order in (benchmark.LOOP, benchmark.ERRING) else precision, "curve": [0, 1, precision],
    }  # fmt: skip


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The summary, the drawing's arguments and the folder of results of two kinds."""
    drawn = []
    monkeypatch.setattr(benchmark.diagnosis_figures, "precision", lambda *given: drawn.append(given))
    scores = {"self_confidence": (0.5, 0.1), "normalized_margin": (0.25, 0.5), "PVI": (0.5, 0.5), "random": (0, 0)}
    scores |= {benchmark.LOOP: (1.0, 0.5), benchmark.ERRING: (0.5, 0.25), "ranks": (0.25, 0.25)}
    scores |= dict.fromkeys(set(benchmark.CLEANLAB) - set(scores), (0.0, 0.0))
    results = [outcome(order, kind, value) for order, values in scores.items() for kind, value in zip("ab", values)]  # noqa: B905
    return benchmark.write(tmp_path / "out", results, "the command"), drawn, tmp_path / "out"


def test_ratios_are_to_the_best_order_of_cleanlab_overall_and_of_each_kind(written):
    summary, drawn, folder = written
    assert summary["cleanlab_best"] == "normalized_margin"  # .375 over both kinds
    assert summary["ratio_to_cleanlab_best_order"] == pytest.approx(
        {benchmark.LOOP: 2, benchmark.ERRING: 1, "ranks": 2 / 3, "PVI": 4 / 3}
    )
    assert summary["ratio_to_cleanlab_best_of_each_kind"] == pytest.approx(
        {benchmark.LOOP: 1.5, benchmark.ERRING: 0.75, "ranks": 0.5, "PVI": 1}
    )
    assert json.loads((folder / "summary.json").read_text())["command"] == "the command"
    assert len((folder / "results.csv").read_text().splitlines()) == 21
    assert "curve" not in (folder / "results.csv").read_text().splitlines()[0]


def test_curves_are_means_over_kinds_and_plantings(written):
    _, ((path, curves, errors, _),), folder = written
    assert path == folder / "precision.png" and errors == 30
    assert set(curves) == {benchmark.LOOP, benchmark.ERRING, "ranks", "normalized_margin", "random"}
    assert curves[benchmark.LOOP].tolist() == [0, 1, 0.75]


def test_tables_are_ordered_by_the_share_found(written):
    lines = (written[2] / "results.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[0] == "| order | errors in 100 | errors in 200 | average precision |"
    assert table[2] == f"| {benchmark.LOOP} | 37.5 % ± 12.5 | 75.0 % ± 25.0 |  |"
    assert table[3] == "| PVI | 25.0 % ± 0.0 | 50.0 % ± 0.0 | 0.500 |"
    assert any(line.startswith("| a 10 % | ") for line in table) and f"{benchmark.LOOP} 2.00" in lines[-1]


def test_models_of_a_checkpoint_are_trained_as_requested(rows, monkeypatch):
    called = []

    def fake(name):
        def run(cells, setting, *resources):
            called.append((name, [cell.name for cell in cells], len(resources)))
            return {cell.name: type("R", (), {"held_out": [None, np.zeros((1, N, 2))]}) for cell in cells}

        return run

    for name in ("frozen", "stacked", "cross_fitting"):
        monkeypatch.setattr(getattr(benchmark, name), "run", fake(name))
    planted = [Planting("uniform", 0.1, 1, rows.labels)]
    for options in ({"fixed": True}, {"together": True}, {}):
        found = benchmark.train(rows, planted, 3, "setting", Resources(), **options)
        assert isinstance(found, Planted) and found.logits[0].shape == (1, N, 2)
    names = ["uniform-0.1-1"]
    assert called == [("frozen", names, 0), ("stacked", names, 0), ("cross_fitting", names, 1)]
