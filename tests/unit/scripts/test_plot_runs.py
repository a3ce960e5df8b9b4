"""scripts/plot_runs.py on logs written here; tests/integration has it read those of real runs."""

import functools
import json

import pytest
import toy


@pytest.fixture
def command(run_script):
    return functools.partial(run_script, "plot_runs")


def write_log(folder, losses, seed=1, lr=0.1, every=10):
    """Write the log of a run with a loss every so many updates, in training and half a bit more in validation."""
    folder.mkdir(parents=True)
    options = {"_name": None, "common": {"seed": seed}, "optimization": {"lr": [lr]}}
    lines = [f"2026-01-31 12:00:00 | INFO | fairseq_cli.train | {options}"]
    for number, loss in enumerate(losses, start=1):
        at = number * every
        lines.append(f'x | INFO | train_inner | {{"epoch": 1, "loss": "{loss}", "num_updates": "{at}"}}')
        lines.append(f'x | INFO | valid | {{"epoch": 1, "valid_loss": "{loss + 0.5}", "valid_num_updates": "{at}"}}')
    (folder / "train.log").write_text("\n".join(lines))
    return folder


def test_configurations_are_averaged_over_their_seeds(command, tmp_path, capsys):
    runs = [write_log(tmp_path / f"wide_seed{seed}", [4, 2 + seed], seed) for seed in (1, 2)]
    runs.append(write_log(tmp_path / "narrow", [5, 4, 3], lr=0.2))
    empty = tmp_path / "empty"
    empty.mkdir()
    command(*runs, empty, "-o", tmp_path / "out")
    shown = json.loads((tmp_path / "out" / "runs.json").read_text())
    wide, narrow = shown["configurations"]
    assert (wide["name"], [run["seed"] for run in wide["runs"]]) == ("wide", [1, 2])
    assert wide["train"] == {"updates": [10, 20], "values": [4, 3.5], "standard_errors": [0, 0.5]}
    assert wide["valid"]["values"] == [4.5, 4.0] and narrow["valid"]["values"] == [5.5, 4.5, 3.5]
    assert list(shown["skipped"]) == [str(empty)]
    said = capsys.readouterr()
    assert f"skipped: {empty}: no log of fairseq-train" in said.err
    assert "wide: 2 runs, last loss: train 3.5000, valid 4.0000" in said.out
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_that_ended_early_is_named(command, tmp_path, capsys):
    runs = [write_log(tmp_path / f"a_seed{seed}", [4, 3, 2][:seed], seed) for seed in (2, 3)]
    command(*runs, "-o", tmp_path / "out")
    assert f"a: train ends at update 20, where {runs[0]} does" in capsys.readouterr().err


def test_seeds_that_logged_at_different_updates_are_not_averaged(command, tmp_path, capsys):
    runs = [write_log(tmp_path / f"a_seed{seed}", [4], seed, every=seed) for seed in (2, 3)]
    command(*runs, write_log(tmp_path / "b", [4, 3], lr=0.2), "-o", tmp_path / "out")
    assert "a: its runs have loss (train) at no common update: not drawn" in capsys.readouterr().err
    with toy.refused("loss"):
        command(*runs, "-o", tmp_path / "out")


def test_bars_need_no_runs(command, tmp_path):
    speeds = {"rows": [{"contestant": "a", "characters_per_second": {"median": 5, "min": 4, "max": 8}}]}
    (tmp_path / "speed.json").write_text(json.dumps(speeds))
    scores = {"nearest_is_asked": {"50": {"mean": 0.7, "standard_error": 0.1, "n": 4}}}
    for seed, name in ((1, "wide"), (2, "wide"), (1, "narrow")):
        judged = {"checkpoint": f"runs/{name}_seed{seed}", "styles": ["x"], "sees_the_future": False, "chance": 0.5,
                  "model_has_these_styles": True, "options": {"window": 50},
                  "judges": {"svm": {"consistency": {"given": scores}}}}  # fmt: skip
        (tmp_path / f"{name}{seed}.json").write_text(json.dumps(judged))
    found = sorted(tmp_path.glob("*[12].json"))
    command("--speed", tmp_path / "speed.json", "--evaluation", *found, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["consistency.png", "runs.json", "speed.png"]
    shown = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert shown["consistency"]["configurations"] == ["narrow", "wide"]
    assert shown["consistency"]["series"]["with the style given"]["values"] == [0.7, 0.7]
    with toy.refused(found[0]):
        command("--evaluation", found[0], found[0], "-o", tmp_path / "out")


def test_runs_without_losses_or_metric_are_an_error(command, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    with toy.refused(tmp_path / "a", tmp_path / "b", error=SystemExit):
        command(tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    with toy.refused("--metric bleu", "epoch", "loss", "num_updates", error=SystemExit):
        command(write_log(tmp_path / "c", [4, 3]), "--metric", "bleu", "-o", tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))
    with pytest.raises(SystemExit):
        command()
    assert "name the folder of at least one run" in capsys.readouterr().err
