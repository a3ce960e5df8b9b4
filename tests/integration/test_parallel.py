"""Several gloo processes train as one process with the same global batch: the same parameters, the same metrics."""

import json
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import toy

from plugins.checkpoints import new_model, write_causal_lm
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.models.causal_lm import CausalLanguageModel

pytestmark = pytest.mark.slow
UPDATES = 6
# An epoch is a few global batches; validation after each, so that its metrics are compared too.
COMMON = [
    "--user-dir", toy.ROOT / "plugins", "--cpu", "--optimizer", "fused_adamw", "--lr", 1e-3, "--max-update", UPDATES,
    "--seed", 1, "--num-workers", 0, "--log-format", "json", "--log-interval", 1, "--no-epoch-checkpoints",
    "--attention-dropout", 0, "--dropout", 0,
]  # fmt: skip
SMALL_DECODER = ["--decoder-layers", 2, "--decoder-attention-heads", 2, "--decoder-embed-dim", 16, "--block-size", 24]


def masked_lm(folder):
    command = toy.train_arguments(toy.make_data(folder / "data"), "-", "--log-format", "json", updates=UPDATES)
    return [*command, "--dropout", 0, "--attention-dropout", 0]


def char_lm(folder):
    (folder / "text.txt").write_text("\n".join(toy.sentences(40)) + "\n")
    task = ["--task", "char_lm", "--arch", "char_lm_nano", *SMALL_DECODER, "--batch-size", 4]
    schedule = ["--lr-period-updates", 100, "--warmup-updates", 2]
    return ["fairseq-train", folder / "text.txt", *COMMON[:2], *task, *schedule, *COMMON[3:-4], "--dropout", 0]


def glue(folder):
    data = toy.make_data(folder / "data")
    (folder / "base").mkdir()
    toy.save_masked_lm(folder / "base", data)
    for split, count in (("train", 64), ("dev", 20)):
        path = folder / "glue" / "RTE" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = toy.sentences(2 * count)
        rows = [f"{i}\t{texts[2 * i]}\t{texts[2 * i + 1]}\t{('not_' * (i % 2))}entailment" for i in range(count)]
        path.write_text("\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n")
    task = ["--task", "glue", "--criterion", "glue", "--arch", "clap_roberta", "--glue-task", "RTE", "--batch-size", 4]
    start = ["--finetune-from-model", folder / "base" / "checkpoint_best.pt", "--cache-dir", folder / "cache"]
    return ["fairseq-train", folder / "glue", *task, *start, *COMMON]


def summarization(folder):
    (folder / "data").mkdir()
    for seed, (split, count) in enumerate((("train", 48), ("valid", 8))):
        lines = [{"article": text, "highlights": text.split()[1]} for text in toy.sentences(count, seed)]
        path = folder / "data" / f"{split}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dictionary = TokenDictionary(Characters(sorted("\n .:;ABCDLRTabcdefghijklmnopqrstuvwxyz")))
    size = {
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_embed_dim": 16,
        "block_size": 96,
        "dropout": 0.0,
    }
    model = toy.randomize(new_model(CausalLanguageModel, size, dictionary), scale=0.05)
    write_causal_lm(str(folder / "base" / "model.pt"), model)
    task = ["--task", "summarization", "--criterion", "summarization", "--arch", "causal_lm", "--batch-size", 4]
    start = ["--finetune-from-model", folder / "base" / "model.pt", "--data-cache", folder / "cache"]
    rouge = ["--rouge-sample", 4, "--rouge-max-length", 8]
    return ["fairseq-train", folder / "data", *task, *start, *rouge, *COMMON[:-4], "--dropout", 0]


TASKS = {"clap_masked_lm": masked_lm, "char_lm": char_lm, "glue": glue, "summarization": summarization}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, size, **options):
    """Start the processes of a run with the variables that torchrun gives each."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [{"WORLD_SIZE": str(size), "RANK": str(rank), **meeting} for rank in range(size)]
    return [toy.start_cli(command, **(environment if size > 1 else {}), **options) for environment in ranks]


def train(command, save_dir, size=1, updates=UPDATES, **options):
    """Train with a global batch of two batches, in one process or in two; return the outcomes."""
    more = ["--save-dir", save_dir, "--update-freq", 2 // size, "--max-update", updates]
    more += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    with ThreadPoolExecutor(size) as pool:  # reads all pipes at once
        outcomes = list(pool.map(toy.finish, start([*command, *more], size)))
    assert [outcome.status for outcome in outcomes] == [0] * size, outcomes[-1].text[-3000:]
    return outcomes


def parameters(save_dir):
    state = torch.load(save_dir / "checkpoint_last.pt", map_location="cpu")
    assert state["optimizer_history"][-1]["num_updates"] == UPDATES
    return {name: value for name, value in state["model"].items() if torch.is_tensor(value)}


def largest_difference(one, other):
    """Return the largest absolute difference of two runs' parameters."""
    first, second = parameters(one), parameters(other)
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def validations(outcome):
    """What each validation measures: {metric: value}, without times."""
    records = [json.loads(text) for text in re.findall(r"\| valid \| (\{.*\})", outcome.text)]
    times = re.compile("wps|wpb|bsz|wall")  # of the hardware, and of a batch, which is half as large in each process
    return [{name: value for name, value in record.items() if not times.search(name)} for record in records]


@pytest.fixture(scope="module", params=TASKS)
def pair(request, tmp_path_factory):
    """A task trained by one process and by two: (folder, command, outcome of one, outcomes of two)."""
    folder = tmp_path_factory.mktemp(request.param)
    command = TASKS[request.param](folder)
    one = train(command, folder / "one")[0]
    return folder, command, one, train(command, folder / "two", size=2)


def test_two_processes_end_with_the_parameters_of_one(pair):
    folder = pair[0]
    assert largest_difference(folder / "one", folder / "two") == 0


def test_validation_measures_the_same(pair):
    _, _, one, two = pair
    assert validations(one)
    for first, second in zip(validations(one), validations(two[0]), strict=True):
        # Sums over the split in another order, printed with five digits.
        assert {k: float(v) for k, v in second.items()} == pytest.approx(
            {k: float(v) for k, v in first.items()}, rel=1e-5, abs=2e-5
        )


def test_only_the_first_process_logs(pair):
    assert validations(pair[3][1]) == []
    assert "num_updates" not in pair[3][1].text


def test_a_run_of_two_continues_as_one(tmp_path):
    command = masked_lm(tmp_path)
    train(command, tmp_path / "one")
    train(command, tmp_path / "resumed", size=2, updates=4)
    train(command, tmp_path / "resumed")
    assert largest_difference(tmp_path / "one", tmp_path / "resumed") == 0


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
