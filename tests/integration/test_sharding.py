"""``--shard`` on two gloo processes: the run of one process to rounding, in checkpoints that load anywhere."""

import parallel_runs as parallel
import pytest
import torch
import toy

from plugins import hub

pytestmark = pytest.mark.slow
ROUNDING = 1e-5  # of sums in another order, which Adam amplifies: a hundredth of the learning rate


@pytest.fixture(scope="module", params=["clap_masked_lm", "char_lm", "glue", "summarization"])
def pair(request, tmp_path_factory):
    """A task trained by one process, and by two that share the model: (folder, outcomes)."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [*parallel.TASKS[request.param](folder), "--clip-norm", 0.5]
    command += ["--rouge-sample", 0] if request.param == "summarization" else []
    return folder, parallel.train(command, folder / "one") + parallel.train([*command, "--shard"], folder / "two", 2)


def test_two_processes_reach_the_parameters_of_a_single_process(pair):
    assert parallel.largest_difference(pair[0] / "one", pair[0] / "two") < ROUNDING


def test_validation_measures_the_same(pair):
    one, two, _ = map(parallel.validations, pair[1])
    assert one and len(one) == len(two)
    for first, second in zip(one, two, strict=True):
        assert {k: float(v) for k, v in second.items()} == pytest.approx(
            {k: float(v) for k, v in first.items()}, rel=1e-4, abs=2e-4
        )


def test_the_optimizer_state_is_whole(pair):
    one, two = (torch.load(pair[0] / name / "checkpoint_last.pt") for name in ("one", "two"))
    states = [checkpoint["last_optimizer_state"]["state"] for checkpoint in (one, two)]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        torch.testing.assert_close(states[1][key], state, atol=ROUNDING, rtol=1e-3)


def test_a_sharded_run_resumes_sharded_and_as_one_process(tmp_path):
    command = parallel.masked_lm(tmp_path)
    parallel.train(command, tmp_path / "one")
    for name, shard, size in (("sharded", ["--shard"], 2), ("alone", [], 1)):
        parallel.train([*command, "--shard"], tmp_path / name, size=2, updates=3)
        parallel.train([*command, *shard], tmp_path / name, size=size)
        assert parallel.largest_difference(tmp_path / "one", tmp_path / name) < ROUNDING
    assert hub.load(tmp_path / "sharded" / "checkpoint_last.pt").fill_mask("the <mask>", topk=2)


def test_four_processes_reach_the_parameters_of_a_single_process(tmp_path):
    command, plain = parallel.masked_lm(tmp_path), {"optimizer": "sgd", "lr": 0.1, "batches": 4}
    parallel.train(command, tmp_path / "one", **plain)
    parallel.train([*command, "--shard"], tmp_path / "four", size=4, **plain)
    assert parallel.largest_difference(tmp_path / "one", tmp_path / "four") < ROUNDING


def lora(folder):
    return [*parallel.glue(folder), "--peft", "lora"]


def prompt(folder):
    return [*parallel.glue(folder), "--peft", "prompt", "--prompt-tokens", 3, "--max-positions", 29]


def last_layer(folder):
    return [*parallel.summarization(folder), "--rouge-sample", 0, "--peft", "last_layer"]


TUNED = [parallel.style, parallel.embedding, parallel.preference, lora, prompt, last_layer]


@pytest.mark.parametrize("task", TUNED, ids=lambda task: task.__name__)
def test_other_tasks_and_adapters_continue_with_another_number_of_processes(tmp_path, task):
    command, plain = task(tmp_path), {"optimizer": "sgd", "lr": 0.1}  # whose steps do not amplify rounding
    parallel.train(command, tmp_path / "one", **plain)
    parallel.train([*command, "--shard"], tmp_path / "resumed", size=2, updates=3, **plain)
    parallel.train([*command, "--shard"], tmp_path / "resumed", size=1, **plain)
    assert parallel.largest_difference(tmp_path / "one", tmp_path / "resumed") < ROUNDING
    assert hub.load(tmp_path / "resumed" / "checkpoint_last.pt")


def test_optimizers_that_combine_numbers_of_a_tensor_are_refused(tmp_path):
    command = [*parallel.masked_lm(tmp_path), "--save-dir", tmp_path / "run", "--shard", "--optimizer", "adafactor"]
    toy.run_cli(command).refuses("--shard", "--optimizer")
