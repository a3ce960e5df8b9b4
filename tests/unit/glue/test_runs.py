"""Many runs: which ones a second call repeats."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import toy

from plugins.data.glue import dataset
from plugins.data.glue import specs as glue_specs
from plugins.files import write_json
from plugins.glue import plan, predict, runs
from plugins.jobs import Resources, process
from plugins.jobs.job import Note

HEADER = "index\tsentence1\tsentence2\tlabel\n"


@pytest.fixture
def setting(toy_data, tmp_path):
    """A checkpoint, and RTE with two rows in each split."""
    (tmp_path / "pretrained").mkdir()
    folder = toy.save_masked_lm(tmp_path / "pretrained", toy_data)
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    for split in ("train", "dev"):
        write_rows(tmp_path / "glue", split, "entailment")
    return runs.RunSetting(
        tmp_path / "glue", folder / "checkpoint_best.pt", tmp_path / "out", {"RTE": glue_specs.SPECS["RTE"]},
        {"RTE": ["--glue-task", "RTE"]}, True, None, False,
    )  # fmt: skip


def write_rows(glue, split, label):
    text = HEADER + "0\tthe river\ta garden\tnot_entailment\n" + f"1\tthe river\tthe river\t{label}\n"
    (glue / "RTE" / f"{split}.tsv").write_text(text)


@pytest.fixture
def trained(monkeypatch):
    """The command lines of the runs to train; nothing is trained."""
    commands = []

    def train(command, log, *_):
        commands.append(command)
        torch.save({"model": {}}, log.parent / runs.BEST)
        log.write_text("$ fairseq-train\n| INFO | done training in 1.0 seconds\n")

    monkeypatch.setattr(process, "run", train)
    monkeypatch.setattr(runs, "evaluate", lambda *_: {"score": 1.0})
    return commands


def do(setting, **given):
    planned = plan.plan(["RTE"], [1], given, {})
    return runs.do_all(planned, setting, Resources(cpu=True))


def test_a_finished_run_is_not_repeated_if_its_files_move(setting, trained, tmp_path, monkeypatch, capsys):
    do(setting)
    do(replace(setting, cache=str(tmp_path / "cache")))
    toy.copy_folder(tmp_path / "glue", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    do(replace(setting, glue_dir=tmp_path / "elsewhere", output=(tmp_path / "out").relative_to(tmp_path)))
    assert len(trained) == 1
    assert "run again" not in capsys.readouterr().err


def other_labels(setting):
    write_rows(setting.glue_dir, "train", "not_entailment")


def other_validation(setting):
    write_rows(setting.glue_dir, "dev", "not_entailment")


def other_spec(setting):
    setting.specs["RTE"] = replace(setting.specs["RTE"], labels=("not_entailment", "entailment"))


def other_start(setting):
    os.utime(setting.checkpoint, (1, 1))


@pytest.mark.parametrize(
    "change, what", [(other_labels, "data"), (other_validation, "data"), (other_spec, "data"), (other_start, "start")]
)
def test_a_run_with_other_inputs_is_repeated_and_logged(setting, trained, capsys, change, what):
    do(setting)
    change(setting)
    do(setting)
    assert len(trained) == 2
    line = capsys.readouterr().err.splitlines()[-2]
    assert line.startswith(f"RTE/lr2e-05_b16_s1 is run again: other {what} (") and line.endswith(") than before")


def test_a_run_with_changed_options_is_repeated(setting, trained, capsys):
    do(setting)
    do(setting, epochs=3)
    assert len(trained) == 2
    assert "other options (--max-epoch 10, now 3) than before" in capsys.readouterr().err


def finished(setting, task, seed):
    """A row of results.json, and the checkpoint that it names."""
    (run,) = plan.plan([task], [seed], {}, {})
    path = setting.output / run.name / runs.BEST
    path.parent.mkdir(parents=True)
    torch.save({"model": {}, "task_state": {"spec": glue_specs.SPECS[task].plain()}}, path)
    return {**run.as_row(), "score": 0.5, "checkpoint": f"{run.name}/{runs.BEST}"}


def test_other_tasks_of_earlier_calls_are_kept_while_their_runs_exist(setting):
    rows = [finished(setting, "CoLA", 1), finished(setting, "CoLA", 2), finished(setting, "RTE", 1)]
    (setting.output / rows[1]["checkpoint"]).unlink()
    content = {"checkpoint": str(setting.checkpoint), "runs": rows}
    write_json(setting.output / runs.RESULTS, content)
    results, specs = runs.of_other_tasks(setting)
    assert {run.name: result["score"] for run, result in results.items()} == {"CoLA/lr1e-05_b16_s1": 0.5}
    assert specs == {"CoLA": glue_specs.SPECS["CoLA"]}
    write_json(setting.output / runs.RESULTS, content | {"checkpoint": "another"})
    assert runs.of_other_tasks(setting) == ({}, {})


def test_other_tasks_of_another_checkpoint_with_the_same_path_are_left_out(setting):
    """MNLI has started from it, and RTE from MNLI."""
    rows = [finished(setting, "CoLA", 1), finished(setting, "MNLI", 1),
            finished(setting, "MRPC", 1) | {"intermediate": "MNLI"}]  # fmt: skip
    write_json(setting.output / runs.RESULTS, {"checkpoint": str(setting.checkpoint), "runs": rows})
    for row, start in zip(rows, ([1, 2], [1, 2], [3, 4]), strict=True):
        folder = (setting.output / row["checkpoint"]).parent
        if row["task"] == "CoLA":
            start = runs.fingerprint(setting.checkpoint)
        Note({"start": start}, True, {}).write(folder)
    assert [run.task for run in runs.of_other_tasks(setting)[0]] == ["CoLA"]


def test_the_first_call_has_no_results_of_other_tasks(setting):
    assert runs.of_other_tasks(setting) == ({}, {})


def test_two_tasks_of_the_same_name_are_an_error(setting, tmp_path):
    glue = tmp_path / "glue"
    own = glue / "own.yaml"
    own.write_text("{name: RTE, files: {train: RTE/train.tsv, valid: RTE/dev.tsv}, text: sentence1, label: label, "
                   "labels: [entailment, not_entailment], metrics: [accuracy]}")  # fmt: skip
    assert list(runs.choose_tasks(glue, ["RTE", "rte"])[0]) == ["RTE"]
    with toy.refused("own.yaml", "RTE"):
        runs.choose_tasks(glue, ["RTE", str(own)])


def epoch(number, wall):
    values = {"epoch": number, "train_nll": "0.5", "train_train_wall": str(wall), "train_num_updates": str(10 * number)}
    return f"{toy.LOG_PREFIX}train | {json.dumps(values)}\n"


def test_training_time_is_that_of_all_epochs_also_before_an_interruption():
    lines = ["$ fairseq-train\n", epoch(1, 3), "$ fairseq-train\n", epoch(2, 4)]
    found = runs.from_log(lines)
    assert (found["train_seconds"], found["epochs"], found["updates"]) == (7, 2, 20)


def test_epochs_logged_as_0_seconds_are_timed_by_the_whole_training():
    lines = ["$ fairseq-train\n", epoch(1, 0), "| INFO | done training in 0.8 seconds\n"]
    assert runs.from_log(lines)["train_seconds"] == 0.8


def test_the_last_epochs_share_counts():
    """The share of the most frequent prediction of the last validation, not the largest."""
    lines = [toy.valid_line(1, 2).replace('"epoch"', '"valid_top_class_share": "0.995", "epoch"'),
             toy.valid_line(2, 2).replace('"epoch"', '"valid_top_class_share": "0.625", "epoch"')]  # fmt: skip
    assert runs.from_log(lines)["last_share"] == 0.625


@pytest.fixture
def evaluated(monkeypatch, tmp_path):
    """A function that evaluates a run of a task whose model predicts these classes, {split: (N,)}, of (N,) targets."""

    def evaluate(task, labels, predicted, targets, share=0.5):
        def answers(model, glue_dir, split, *_):
            outputs = np.eye(3, dtype=np.float32)[predicted[split]]
            return predict.Answers(
                specs[task], np.arange(len(outputs)).astype(str), outputs, np.array(targets[split]), 0.5
            )

        specs = glue_specs.SPECS
        (run,) = plan.plan([task], [1], {}, {})
        for name, fake in (("slim", lambda folder: None), ("move", lambda *_: None)):
            monkeypatch.setattr(runs, name, fake)
        monkeypatch.setattr(runs.hub, "load", lambda path: None)
        monkeypatch.setattr(predict, "answers", answers)
        (tmp_path / runs.LOG).write_text(
            toy.valid_line(1, 2).replace('"epoch"', f'"valid_top_class_share": "{share}", "epoch"')
        )
        setting = runs.RunSetting(tmp_path, tmp_path, tmp_path, specs, {}, True, None, False)
        return runs.evaluate(run, setting, runs.TrainingRows(np.array(labels), len(labels), 0), tmp_path)

    return evaluate


MIXED, ONE_CLASS = [0, 1, 2, 0], [1, 1, 1, 1]
SPLITS = ("valid", "valid_mismatched")


@pytest.mark.parametrize(
    ("matched", "mismatched", "share", "collapsed"),
    [
        (MIXED, MIXED, 0.5, False),
        (ONE_CLASS, MIXED, 0.5, True),
        (MIXED, ONE_CLASS, 0.5, True),
        (MIXED, MIXED, 0.99, True),  # in the last epoch
    ],
)
def test_a_run_has_collapsed_if_it_predicts_one_class_on_any_split(evaluated, matched, mismatched, share, collapsed):
    predicted = dict(zip(SPLITS, (matched, mismatched), strict=True))
    found = evaluated("MNLI", [0, 1, 2], predicted, dict.fromkeys(SPLITS, MIXED), share)
    assert found["collapsed"] is collapsed


def test_the_majority_is_that_of_the_training_labels(evaluated):
    """Class 0 in training; the targets are mostly class 1."""
    found = evaluated("RTE", [0, 0, 0, 1], {"valid": [0, 1, 0, 1]}, {"valid": [1, 1, 1, 0]})
    assert found["baseline"]["valid"]["accuracy"] == 0.25
    assert (found["score"], found["train_samples"]) == (0.25, 4)


def test_a_job_can_be_sent_to_another_machine(setting):
    """submitit pickles it, its evaluation included."""
    (run,) = plan.plan(["RTE"], [1], {}, {})
    tokenizer = dataset.FolderTokenizer(str(setting.checkpoint.parent))
    job = runs.job(run, setting, setting.checkpoint, tokenizer)
    sent = pickle.loads(pickle.dumps(job))
    assert sent == job and sent.finish.func is runs.evaluate
    assert sent.finish.args[2].labels.tolist() == [1, 0]  # entailment is class 0
