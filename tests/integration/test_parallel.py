"""Several gloo processes train like one process with the same global batch: the same parameters, the same metrics."""

import os
import signal
import time

import pytest
import toy
from parallel_runs import (
    TASKS,
    UPDATES,
    finish,
    free_port,
    glue,
    hydra_masked_lm,
    largest_difference,
    masked_lm,
    srun,
    start,
    torchrun,
    train,
    validations,
)  # fmt: skip

pytestmark = pytest.mark.slow
FOUR = ("clap_masked_lm", "char_lm", "glue")  # one of each kind of batches: of blocks, of windows, of rows
ROUNDING = 1e-5  # of gradients summed in another order
PLAIN = {"optimizer": "sgd", "lr": 0.1, "batches": 4}  # Adam would hide a wrong scale, and amplify the rounding


RANKS = ("valid_ndcg_at_10", "valid_map_at_r", "valid_r_precision")  # two of nearly the same distance may change places


def same_validations(one, other, last=None):
    """Assert that the validations of two runs measure the same; of the first, only the last ones."""
    expected, found = validations(one), validations(other)
    assert found
    for first, second in zip(expected[-last:] if last else expected, found, strict=True):
        assert second.keys() == first.keys()
        for name, value in second.items():
            # Sums over the split in another order, printed with five digits.
            tolerance = 2e-3 if name in RANKS else 2e-5
            assert float(value) == pytest.approx(float(first[name]), rel=1e-5, abs=tolerance), name


@pytest.fixture(scope="module", params=TASKS)
def runs(request, tmp_path_factory):
    """A task trained with the same global batches by one process and by several: (folder, its outcomes, theirs)."""
    folder = tmp_path_factory.mktemp(request.param)
    command = TASKS[request.param](folder)
    size = 4 if request.param in FOUR else 2
    return folder, *(train(command, folder / name, n, **PLAIN) for name, n in (("one", 1), ("several", size)))


def test_several_processes_reach_the_parameters_of_a_single_process(runs):
    assert largest_difference(runs[0] / "one", runs[0] / "several") <= ROUNDING


def test_validation_measures_the_same(runs):
    same_validations(runs[1][0], runs[2][0])


def test_only_the_first_process_logs(runs):
    for other in runs[2][1:]:
        assert validations(other) == []
        assert "num_updates" not in other.text


@pytest.mark.parametrize("size", [1, 4])
def test_a_run_of_two_processes_resumes_with_another_number(tmp_path, size):
    command = masked_lm(tmp_path)
    whole = train(command, tmp_path / "whole", **PLAIN)[0]
    train(command, tmp_path / "resumed", size=2, updates=4, **PLAIN)
    resumed = train(command, tmp_path / "resumed", size, **PLAIN)[0]
    assert largest_difference(tmp_path / "whole", tmp_path / "resumed") <= ROUNDING
    count = len(validations(resumed))
    assert count and same_validations(whole, resumed, last=count) is None


def test_accumulation_that_changes_with_the_epoch(tmp_path):
    """``--update-freq 4,2``: four batches an update in the first epoch, two from the second one on."""
    command = glue(tmp_path)  # 64 rows: 4 updates, then 8 in an epoch
    for size, accumulated in ((1, "4,2"), (2, "2,1")):
        train(command, tmp_path / str(size), size, **PLAIN | {"update_freq": accumulated})
    assert largest_difference(tmp_path / "1", tmp_path / "2") <= ROUNDING


def test_validation_with_fewer_items_than_processes(tmp_path):
    command = glue(tmp_path)
    path = tmp_path / "glue" / "RTE" / "dev.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))  # two items
    outcomes = {size: train(command, tmp_path / str(size), size, **PLAIN) for size in (1, 4)}
    same_validations(outcomes[1][0], outcomes[4][0])


# Random numbers, and what goes wrong


def test_with_dropout_a_resumed_run_repeats_the_numbers_of_each_process(tmp_path):
    command, noise = masked_lm(tmp_path), {"dropout": 0.3, "mask_prob": 0, "self_mask_prob": 0.1}
    train(command, tmp_path / "whole", size=2, **noise)
    train(command, tmp_path / "resumed", size=2, updates=3, **noise)
    train(command, tmp_path / "resumed", size=2, **noise)
    assert largest_difference(tmp_path / "whole", tmp_path / "resumed") == 0


def test_torchrun_trains_one_run_and_shows_it_once(tmp_path):
    command = masked_lm(tmp_path)
    shown = [part for part in command if part not in ("--log-format", "json", "simple")]
    train(command, tmp_path / "one")
    launcher = ["torchrun", "--nproc_per_node", 2, "--master_addr", "127.0.0.1", "--master_port", free_port()]
    outcome = toy.run_cli(
        [*launcher, toy.BIN / "fairseq-train", *shown[1:], "--save-dir", tmp_path / "two"],
        real=True, GLOO_SOCKET_IFNAME="lo",
    )  # fmt: skip
    assert outcome.status == 0, outcome.text[-3000:]
    assert largest_difference(tmp_path / "one", tmp_path / "two") == 0
    assert outcome.text.count("writes to ") == outcome.text.count(f"{UPDATES} updates in ") == 1


def test_tasks_of_srun_train_one_run(tmp_path):
    command = masked_lm(tmp_path)
    train(command, tmp_path / "one")
    train(command, tmp_path / "two", size=2, launcher=srun)
    assert largest_difference(tmp_path / "one", tmp_path / "two") == 0


@pytest.mark.parametrize("launcher", [torchrun, srun])
def test_a_run_described_in_yaml_is_one_run(tmp_path, launcher):
    command = hydra_masked_lm(tmp_path)
    for name, size in (("one", 1), ("two", 2)):
        more = [f"checkpoint.save_dir={tmp_path / name}", f"optimization.update_freq=[{2 // size}]"]
        outcomes = finish(start([*command, *more], size, launcher))
    assert largest_difference(tmp_path / "one", tmp_path / "two") == 0
    assert validations(outcomes[0]) and not validations(outcomes[1])


def test_a_killed_process_ends_the_other_with_one_line(tmp_path):
    command = [*masked_lm(tmp_path), "--save-dir", tmp_path / "run", "--max-update", 100000, "--save-interval", 1000]
    first, second = start([*command, "--disable-validation"], 2, real=True)
    deadline = time.monotonic() + 60
    for line in first.stdout:
        if "num_updates" in line or time.monotonic() > deadline:
            break
    os.kill(second.pid, signal.SIGKILL)
    outcome = toy.finish(first, timeout=60)
    toy.finish(second)
    assert outcome.status == 1 and "Traceback" not in outcome.text
    assert len([line for line in outcome.err.splitlines() if "error: " in line and "rank 0" in line]) == 1
