"""Logs and checkpoints of fairseq-train, as it writes them."""

import os
import time
from collections import OrderedDict

import pytest
import torch
import toy
from toy import LOG_PREFIX
from toy import inner_line as inner
from toy import valid_line as valid

from plugins.analysis.runs import curves as runs
from plugins.analysis.runs import logs
from plugins.analysis.runs.logs import INNER, TRAIN, VALID, LoggedRecord


def test_values_are_numbers_without_the_prefix_of_their_stage():
    record = logs.parse_line(valid(80, "300.125"))
    assert record == LoggedRecord("valid", {"epoch": 1.0, "ppl": 300.125, "num_updates": 80.0})
    assert record.updates == 80


def test_a_value_that_is_not_a_number_is_skipped():
    line = LOG_PREFIX + 'train | {"epoch": 2, "train_loss": "None", "train_ppl": "inf", "train_num_updates": "5"}'
    assert logs.parse_line(line).values == {"epoch": 2.0, "ppl": float("inf"), "num_updates": 5.0}


@pytest.mark.parametrize(
    "line",
    [
        "",
        LOG_PREFIX + "fairseq_cli.train | training on 1 devices",
        LOG_PREFIX + 'fairseq_cli.train | {"common": {"seed": 1}}',
        LOG_PREFIX + 'valid | {"epoch": 1, "valid_ppl": "30',
        'train_inner: {"loss": "1"}',
        LOG_PREFIX + "fairseq_cli.train | Stopping training due to num_updates: 80 >= max_update: 80",
        LOG_PREFIX + "train_inner | epoch 001:     50 / 400 loss=5.1, ppl=34.3",  # cut off before the updates
        "epoch 001 | valid on 'valid' subset:  40%|####      | 2/5 [00:00<00:00, 11.1it/s]",
        LOG_PREFIX + 'train_inner | {"num_updates": "inf"}',
        LOG_PREFIX + 'train_inner | {"num_updates": "nan"}',
    ],
)
def test_other_lines_are_not_records(line):
    assert logs.parse_line(line) is None


@pytest.mark.parametrize("prefix", ["", LOG_PREFIX + "train | "])
def test_a_record_may_contain_an_object(prefix):
    record = logs.parse_line(prefix + '{"epoch": 1, "x": {"a": 1}, "train_num_updates": "5"}')
    assert record == LoggedRecord(TRAIN, {"epoch": 1.0, "num_updates": 5.0})


def test_a_resumed_run_replaces_the_updates_it_repeats():
    first = [inner(5, "10"), valid(8, "400"), inner(10, "20"), inner(15, "30")]  # stopped after the checkpoint at 8
    again = [inner(10, "21"), inner(15, "31"), valid(16, "300")]
    records = logs.read_log(first + again)
    assert runs.curve(records, "wps", INNER)[1].tolist() == [10, 21, 31]
    assert runs.curve(records, "ppl")[0].tolist() == [8, 16]


def test_parameter_counts_are_read_from_the_log():
    line = LOG_PREFIX + "fairseq_cli.train | num. shared model params: 1,234,567 (num. trained: 1,000)"
    assert logs.count_parameters(["", line]) == 1_234_567
    assert logs.count_parameters([""]) is None


HYDRA = "[2026-01-31 12:00:00,123]"
SIMPLE = "epoch 001:     50 / 400 loss=5.25, ppl=38.1, num_updates=50, lr=0.0005, wall=9"
JSON = '{"epoch": 1, "update": 0.125, "loss": "5.25", "num_updates": "50"}'


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (LOG_PREFIX + "train_inner | " + SIMPLE, INNER),
        (LOG_PREFIX + "valid1 | epoch 001 | valid on 'valid1' subset | loss 5.25 | wps 9 | num_updates 50", "valid1"),
        (LOG_PREFIX + "train | epoch 001 | loss 5.25 | wps 9 | num_updates 50 | wall 0", TRAIN),
        (HYDRA + "[train_inner][INFO] - " + JSON, INNER),
        (HYDRA + '[test][INFO] - {"epoch": 1, "test_loss": "5.25", "test_num_updates": "50"}', "test"),
        (JSON, INNER),  # --log-file
        ('{"epoch": 1, "valid_loss": "5.25", "valid_num_updates": "50"}', VALID),
        (SIMPLE, INNER),
        ("epoch 001:  12%|#2       | 50/400 [00:05<00:35, 10.0it/s, loss=5.25, ppl=38.1, num_updates=50]", INNER),
    ],
)
def test_every_format_of_fairseq_is_read(line, stage):
    record = logs.parse_line(line + "\n")
    assert (record.stage, record.updates, record.values["loss"]) == (stage, 50, 5.25)


def test_a_log_file_that_repeats_each_line_gives_it_once():
    # fairseq adds the file once more every epoch, and from then on each line appears twice, three times, ...
    assert len(logs.read_log([inner(5), inner(10), inner(10), inner(15), inner(15), inner(15)])) == 3


# Options


def start(options):
    return LOG_PREFIX + f"fairseq_cli.train | {options}\n"


def test_the_options_of_the_last_start_are_read():
    lines = [start({"_name": None, "common": {"seed": 1}}), inner(5), start({"_name": None, "common": {"seed": 2}})]
    assert logs.read_options(lines) == {"_name": None, "common": {"seed": 2}}


def test_options_may_contain_a_namespace_infinity_and_unquoted_choices():
    line = start("{'_name': None, 'model': Namespace(arch='x', sizes=[1, 2]), 'max': inf, 'a': none, 'b': two-fold}")
    found = logs.read_options([line])
    known = {"_name": None, "model": {"arch": "x", "sizes": [1, 2]}, "a": "none", "b": "two-fold"}
    assert found == known | {"max": float("inf")}


@pytest.mark.parametrize("line", ["", start("{'_name': None, 'common': {"), start("{'_name': run('x')}"),
                                  start("{'_name': " + "-" * 10_000 + "1}"), start("{'_name': a" + ".a" * 10_000 + "}"),
                                  start("{'_name': 1" + "+1" * 10_000 + "}")])  # fmt: skip
def test_options_that_are_cut_off_or_no_plain_data_are_none(line):
    assert logs.read_options([line]) is None


@pytest.mark.parametrize(
    "line",
    [' {"a": }' * 50_000 + "x", '{"a": } ' * 50_000 + "x",
     "num_updates " + "epoch 1: " * 50_000, "num_updates epoch 1: " + "1" * 200_000,
     "epoch 1 | loss num_updates " + "a" * 200_000, start("{'_name'}") * 5_000 + "x",
     "fairseq_cli.train | {'_name'}" * 20_000 + "x"],
    ids=["json", "json at the start", "progress", "digits", "pairs", "options", "options without a space"],
)  # fmt: skip
def test_a_hostile_line_takes_linear_time(line):
    begin = time.process_time()
    logs.parse_line(line)
    logs.read_options([line])
    assert time.process_time() - begin < 5  # quadratic: minutes


# Folders


def save(path, updates, train=3.0, valid=4.0, validated=True):
    meter = {"val": None, "round": 5}
    meters = {
        "train": [(10, "loss", "AverageMeter", meter | {"sum": torch.tensor(2 * train), "count": 2})],
        "valid": [(10, "loss", "AverageMeter", meter | {"sum": 99, "count": 9})],  # of all validations of the epoch
    }
    extra = {"metrics": OrderedDict(meters), "val_loss": valid if validated else None}
    history = [{"num_updates": updates - 1}, {"num_updates": updates}]
    state = {"model": {}, "cfg": {"common": {"seed": 7}}, "extra_state": extra, "optimizer_history": history}
    torch.save(state, path)


def test_a_run_is_read_from_its_log(tmp_path):
    (tmp_path / "train.log").write_text(start({"_name": None, "common": {"seed": 3}}) + valid(8, "4"))
    run = logs.read_run(tmp_path)
    assert (run.source, run.options["common"]["seed"], run.records[0].values["ppl"]) == ("log", 3, 4.0)
    assert logs.read_run(tmp_path / "train.log").records == run.records


def test_a_truncated_last_line_is_ignored(tmp_path):
    whole = "".join(f"| train_inner | epoch 001: {n} / 400 loss=5.1, num_updates={n}\n" for n in (100, 200, 300))
    (tmp_path / "train.log").write_text(whole + "| train_inner | epoch 001: 400 / 400 loss=5.1, num_updates=4")
    assert [record.updates for record in logs.read_run(tmp_path).records] == [100, 200, 300]


def test_the_logs_of_an_interrupted_run_are_joined_by_their_age(tmp_path):
    for age, name, lines in ((100, "z.log", [valid(8, "400"), valid(16, "300")]), (50, "a.log", [valid(16, "299")])):
        (tmp_path / name).write_text("".join(lines))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert runs.curve(logs.read_run(tmp_path).records, "ppl")[1].tolist() == [400, 299]


def test_a_run_without_a_log_is_read_from_its_checkpoints(tmp_path):
    save(tmp_path / "checkpoint_1_50.pt", 50, 3.0, 4.0)
    save(tmp_path / "checkpoint_2_100.pt", 100, 2.0, 3.5)
    save(tmp_path / "checkpoint_last.pt", 120, 1.5, 3.5, validated=False)
    (tmp_path / "checkpoint_best.pt").write_bytes(b"half of one")
    run = logs.read_run(tmp_path)
    assert run.source == "checkpoints" and run.options == {"common": {"seed": 7}}
    assert [a.tolist() for a in runs.curve(run.records, "loss", TRAIN)] == [[50, 100, 120], [3, 2, 1.5]]
    assert [a.tolist() for a in runs.curve(run.records, "loss", VALID)] == [[50, 100], [4, 3.5]]


def test_options_missing_in_the_log_are_read_from_a_checkpoint(tmp_path):
    (tmp_path / "train.log").write_text(valid(8, "4"))
    save(tmp_path / "checkpoint_last.pt", 8)
    state = torch.load(tmp_path / "checkpoint_last.pt")
    torch.save(state | {"cfg": {"common": {"seed": 8}}}, tmp_path / "checkpoint_1_4.pt")
    os.utime(tmp_path / "checkpoint_1_4.pt", (1e9, 1e9))
    run = logs.read_run(tmp_path)
    assert run.source == "log" and run.options == {"common": {"seed": 7}}


def test_a_folder_with_neither_is_an_error_that_explains_how_to_keep_a_log(tmp_path):
    (tmp_path / "notes.log").write_text("nothing of fairseq's\n")
    with toy.refused("--log-file"):
        logs.read_run(tmp_path)
    with toy.refused():
        logs.read_run(tmp_path / "nowhere")


def test_trained_parameters_are_counted_apart():
    line = LOG_PREFIX + "fairseq_cli.train | num. shared model params: 1,234,567 (num. trained: 1,000)"
    assert logs.count_parameters([line], trained=True) == 1000


def stored(**changes):
    meters = [(1, "loss", "AverageMeter", {"sum": 6.0, "count": 3}), (2, "wps", "TimeMeter", {"n": 5}),
              (3, "odd", "AverageMeter", {"sum": float("nan"), "count": 1}),
              (4, "none", "AverageMeter", {"sum": 0.0, "count": 0})]  # fmt: skip
    state = {"optimizer_history": [{"num_updates": 3}, {"num_updates": 7}],
             "extra_state": {"metrics": {"train": meters}, "val_loss": 2.5}, "cfg": None}  # fmt: skip
    return state | changes


def test_a_checkpoint_has_means_and_the_metric_that_chooses_it():
    train, valid_ = logs.records_of(stored(cfg={"checkpoint": {"best_checkpoint_metric": "ppl"}}))
    assert train == LoggedRecord("train", {"loss": 2.0, "num_updates": 7.0})
    assert valid_ == LoggedRecord("valid", {"ppl": 2.5, "num_updates": 7.0})
    assert logs.records_of(stored())[1].values == {"loss": 2.5, "num_updates": 7.0}
    assert logs.records_of(stored(extra_state=None)) == []
    assert [r.stage for r in logs.records_of(stored(extra_state={"val_loss": 0.0}))] == ["valid"], "0 is a loss"


def test_a_log_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "a.log").write_text("x")
    (tmp_path / "a.log").chmod(0)
    with toy.refused(tmp_path / "a.log"):
        logs.read_run(tmp_path / "a.log")


def test_checkpoints_come_by_their_updates_and_the_last_one_first_among_equals(tmp_path):
    for name, updates, seed in (("checkpoint_2_9.pt", 9, 1), ("checkpoint_last.pt", 9, 2), ("checkpoint_1_5.pt", 5, 3)):
        save(tmp_path / name, updates)
        state = torch.load(tmp_path / name)
        torch.save(state | {"cfg": {"common": {"seed": seed}}}, tmp_path / name)
    assert [state["cfg"]["common"]["seed"] for state in logs._checkpoints(tmp_path)] == [2, 1, 3]
