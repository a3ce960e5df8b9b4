"""Variants of a training command: their arguments, the rows of what ran and of what did not, and the tables."""

import csv
import json
import sys

import pytest
import toy

from plugins.errors import UserError
from plugins.planning import measuring

ADAM = ["d", "--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--adam-eps=1e-8", "--lr", "1"]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("baseline", ["d", "--batch-size", "8"], ["d", "--batch-size", "8"]),
        ("checkpoint", ["d"], ["d", "--checkpoint-activations"]),
        ("mixed", ["d"], ["d", "--mixed-precision", "bf16"]),
        ("adafactor", ADAM, ["d", "--lr", "1", "--optimizer", "adafactor"]),
        ("adamw_8bit", ADAM[:5], ["d", "--adam-betas", "(0.9, 0.98)", "--optimizer", "adamw_8bit"]),
        ("adam", ["--optimizer=sgd", "d"], ["d", "--optimizer", "adam"]),
        ("accumulate4", ["--batch-size", "8", "--update-freq", "2", "d"],
         ["--batch-size", "2", "d", "--update-freq", "4"]),
        ("accumulate4", ["d", "--max-tokens", "512"], ["d", "--max-tokens", "128", "--update-freq", "4"]),
        ("lora", ["--peft-base", "b"], ["--peft-base", "b", "--peft", "lora"]),
        ("lora", ["--finetune-from-model", "b"], ["--finetune-from-model", "b", "--peft", "lora"]),
    ],
)  # fmt: skip
def test_a_variant_changes_its_own_options(tmp_path, name, given, expected):
    before = list(given)
    assert measuring.arguments_of(given, name, tmp_path) == expected
    assert given == before


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [
        ("accumulate4", ["d"], ("--batch-size", "--max-tokens")),
        ("accumulate4", ["--batch-size", "6"], ("--batch-size 6",)),
        ("accumulate4", ["--batch-size", "x"], ("--batch-size x",)),
        ("lora", ["d"], ("--peft-base", "baseline")),
    ],
)
def test_a_variant_that_the_command_cannot_have_is_refused(tmp_path, name, given, named):
    with toy.refused(*named):
        measuring.arguments_of(given, name, tmp_path)


def test_lora_is_applied_to_the_model_of_the_baseline(tmp_path):
    base = tmp_path / "baseline" / "checkpoint_last.pt"
    base.parent.mkdir()
    base.touch()
    assert measuring.arguments_of(["d"], "lora", tmp_path) == ["d", "--peft-base", str(base), "--peft", "lora"]


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("Traceback:\n  File x\nValueError: bad\n", "ValueError: bad"),
        ("usage: x\nfairseq-train: error: unknown --x\n", "unknown --x"),
        ("error: first\nand more", "first"),
        ("plugins.errors.UserError: no text", "no text"),
        ("some warning\nlast words\n\n", "last words"),
        ("", "exit status 3"),
    ],
)
def test_the_reason_is_the_last_error_on_one_line(errors, reason):
    assert measuring.reason_of(errors, 3) == reason


@pytest.mark.parametrize(
    ("command", "variants", "updates", "named"),
    [
        ([], ["baseline"], 3, "fairseq-train"),
        (["python"], ["baseline"], 3, "python"),
        (["fairseq-train"], ["baseline"], 2, "--updates 2"),
        (["fairseq-train"], ["what"], 3, "--variants what"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_runs(
    tmp_path, monkeypatch, command, variants, updates, named
):
    monkeypatch.setattr(measuring, "run", None)
    with toy.refused(named):
        measuring.measure(command, variants, updates, 1, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_each_variant_has_its_median_run_or_its_reason(tmp_path, monkeypatch):
    sizes, calls = iter([30, 10, 20, 1, 2, 3]), []

    def run(name, arguments, updates, folder, saves):
        calls.append((name, arguments, updates, saves))
        if name == "fp16":
            raise UserError("no GPU")
        return {"variant": name, "process": next(sizes)}

    monkeypatch.setattr(measuring, "run", run)
    found = measuring.measure(
        ["bin/fairseq-train", "d", "--peft-base", "b"], ["baseline", "fp16", "lora"], 3, 3, tmp_path
    )
    assert found == [{"variant": "baseline", "process": 20}, {"variant": "fp16", "reason": "no GPU"},
                     {"variant": "lora", "process": 2}]  # fmt: skip
    assert calls[0] == ("baseline", ["d", "--peft-base", "b"], 3, True)
    assert not any(saves for name, *_, saves in calls if name != "baseline")  # the base of lora alone


def test_the_baseline_is_saved_for_lora_only(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "run", lambda *given: {"process": 1, "saves": given[-1]})
    assert measuring.measure(["fairseq-train"], ["baseline"], 3, 1, tmp_path) == [{"process": 1, "saves": False}]


def test_a_variant_runs_with_returned_memory_and_then_as_usual(tmp_path, monkeypatch):
    calls = []

    def start(command, output, settings):
        calls.append((command, settings))
        return {"weights": 1, "optimizer": 2, "beyond_state": 4, "process": 10 * len(calls), "tokens_per_second": 7.0}

    monkeypatch.setattr(measuring, "start", start)
    found = measuring.run("adam", ["d"], 5, tmp_path, saves=True)
    assert found == {"variant": "adam", "weights": 1, "optimizer": 2, "peak": 7, "process": 10,
                     "tokens_per_second": 7.0, "process_usual": 20}  # fmt: skip
    (first, settings), (second, usual) = calls
    assert settings["MALLOC_ARENA_MAX"] == "1" and usual == {}
    assert first[1:] == ["-m", "plugins.planning.worker", str(tmp_path / "adam.json"), "d", "--save-dir",
                         str(tmp_path / "adam"), "--max-update", "5", "--disable-validation", "--log-format", "json",
                         "--no-save"]  # fmt: skip
    assert second == [*first[:-1], "--no-epoch-checkpoints"]
    measuring.run("adam", ["d"], 5, tmp_path, saves=False)
    assert calls[3][0][-1] == "--no-save"


def test_a_worker_sees_the_settings_and_this_package_and_its_failure_is_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    output = tmp_path / "out.json"
    write = f"import json, os; json.dump(dict(os.environ), open({str(output)!r}, 'w'))"
    found = measuring.start([sys.executable, "-c", write], output, {"MALLOC_ARENA_MAX": "1"})
    assert found["MALLOC_ARENA_MAX"] == "1" and found["PYTHONPATH"] == f"{toy.ROOT}:/elsewhere"
    with toy.refused("no text"):
        measuring.start([sys.executable, "-c", f"{write}; exit('error: no text')"], output, {})
    with toy.refused("exit status 0"):  # the result of an earlier run does not count
        measuring.start([sys.executable, "-c", ""], output, {})


def test_the_table_has_mebibytes_predicted_and_measured(tmp_path):
    sizes = {part: (n + 1) << 20 for n, part in enumerate(measuring.PARTS)}
    row = {"variant": "baseline", **sizes, "predicted_weights": 3 << 19, "process_usual": 2.25 * (1 << 30),
           "tokens_per_second": 1234.5, "loss": 2.0}  # fmt: skip
    lines = measuring.markdown([row, {"variant": "fp16", "reason": "no GPU"}]).splitlines()
    assert lines[2] == ("| baseline | 1.5 / 1.0 | - / 2.0 | - / 3.0 | - / 4.0 | - / 5.0 | - / 6.0 | 2,304.0 | 1,234 "
                        "| 2.0000 |")  # fmt: skip
    assert lines[3].startswith("| fp16 | no GPU |") and lines[3].count("|") == lines[2].count("|")
    measuring.write([row, {"variant": "fp16", "reason": "no GPU"}], {"machine": "m"}, tmp_path)
    assert json.loads((tmp_path / "memory.json").read_text())["machine"] == "m"
    assert json.loads((tmp_path / "memory.json").read_text())["rows"][1] == {"variant": "fp16", "reason": "no GPU"}
    with open(tmp_path / "memory.csv") as file:
        assert [line["reason"] for line in csv.DictReader(file)] == ["", "no GPU"]
    assert lines[2] in (tmp_path / "memory.md").read_text()
