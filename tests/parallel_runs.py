"""Toy runs of several gloo processes and of one, and how to compare them."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import embedding_runs
import torch
import toy
from omegaconf import OmegaConf

from plugins.checkpoints import new_model, write_causal_lm
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.models.causal_lm import CausalLanguageModel

UPDATES, GLOBAL = 6, 2  # batches of a global batch
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


def hydra_masked_lm(folder):
    """Write the configuration of a masked LM in YAML; return the command."""
    config = {
        "common": {"user_dir": str(toy.ROOT / "plugins"), "cpu": True, "log_format": "json", "seed": 1},
        "task": {"_name": "clap_masked_lm", "data": str(toy.make_data(folder / "data")), "tokens_per_sample": 32},
        "model": {"_name": "clap_roberta", **toy.SIZE, "dropout": 0.0, "attention_dropout": 0.0},
        "criterion": {"_name": "clap_masked_lm"},
        "dataset": {"batch_size": 8, "num_workers": 0},
        "optimizer": {"_name": "fused_adamw"},
        "optimization": {"lr": [1e-3], "max_update": UPDATES},
        "lr_scheduler": {"_name": "fixed"},
        "checkpoint": {"save_dir": "unset", "no_epoch_checkpoints": True},
        "hydra": {"job": {"chdir": False}, "run": {"dir": "${checkpoint.save_dir}"}},
    }
    (folder / "config").mkdir()
    text = "# @package _global_\n" + OmegaConf.to_yaml(OmegaConf.create(config))
    (folder / "config" / "masked_lm.yaml").write_text(text)
    return ["fairseq-hydra-train", "--config-dir", folder / "config", "--config-name", "masked_lm"]


def char_lm(folder):  # random windows, fewer updates than an epoch, which is rounded up to whole global batches
    (folder / "text.txt").write_text("\n".join(toy.sentences(60)) + "\n")
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


def style(folder):
    for name, seed in (("drama", 1), ("novel", 2)):
        (folder / f"{name}.txt").write_text("\n".join(toy.sentences(30, seed)) + "\n")
    command = char_lm(folder)
    command[1] = f"{folder / 'drama.txt'}:{folder / 'novel.txt'}"
    drawn = ["--style-null-prob", 0, "--style-true-prob", 0]  # each process draws its own
    return [*command, "--arch", "style_char_lm_nano", "--style-from", "file", *drawn]


def tuned_masked_lm(folder, *options):
    """Return the options of a task that fine-tunes a masked LM."""
    data = toy.make_data(folder / "text")
    (folder / "base").mkdir()
    toy.save_masked_lm(folder / "base", data)
    start = ["--arch", "clap_roberta", "--finetune-from-model", folder / "base" / "checkpoint_best.pt"]
    return [*options, *start, "--batch-size", 6, *COMMON]


def embedding(folder):
    data = embedding_runs.write_rows(folder / "data", "labeled", count=24)
    task = ["--task", "embedding", "--criterion", "metric_learning", "--spec", data / "spec.yaml"]
    return ["fairseq-train", data, *tuned_masked_lm(folder, *task)]


def preference(folder):
    (folder / "data").mkdir()
    for split, seed in (("train", 1), ("valid", 2)):
        lines = toy.sentences(60, seed)
        records = [{"chosen": max(a, b), "rejected": min(a, b)} for a, b in pairwise(lines) if a != b]
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return [
        "fairseq-train",
        folder / "data",
        *tuned_masked_lm(folder, "--task", "preference", "--criterion", "preference"),
    ]


TASKS = {
    "clap_masked_lm": masked_lm, "char_lm": char_lm, "style": style, "glue": glue, "summarization": summarization,
    "embedding": embedding, "preference": preference,
}  # fmt: skip


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(rank, size, port):
    """Return the variables that torchrun gives a process."""
    return {"WORLD_SIZE": size, "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def srun(rank, size, port):
    """Return the variables that SLURM's srun gives a task; MASTER_PORT comes from the user."""
    task = {"SLURM_JOB_ID": 7, "SLURM_STEP_NUM_TASKS": size, "SLURM_PROCID": rank, "MASTER_PORT": port}
    return {**task, "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": 1}


def start(command, size, launcher=torchrun, **options):
    """Start the processes of a run with the variables of a launcher."""
    port = free_port()
    ranks = [{k: str(v) for k, v in launcher(rank, size, port).items()} if size > 1 else {} for rank in range(size)]
    return [toy.start_cli(command, GLOO_SOCKET_IFNAME="lo", **environment, **options) for environment in ranks]


def finish(processes):
    """Return the outcomes of processes, each of which succeeded."""
    with ThreadPoolExecutor(len(processes)) as pool:  # reads all pipes at once
        outcomes = list(pool.map(toy.finish, processes))
    assert [outcome.status for outcome in outcomes] == [0] * len(processes), outcomes[-1].text[-3000:]
    return outcomes


def train(command, save_dir, size=1, updates=UPDATES, launcher=torchrun, batches=GLOBAL, **options):
    """Train with a global batch of some batches, in one process or in several; return the outcomes."""
    more = ["--save-dir", save_dir, "--update-freq", batches // size, "--max-update", updates]
    more += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    return finish(start([*command, *more], size, launcher))


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
    """What each validation measures: {metric: value}, without times and the best one so far."""
    records = [json.loads(text) for text in re.findall(r"\bvalid(?: \||\]\[INFO\] -) (\{.*\})", outcome.text)]
    times = re.compile(
        "wps|wpb|bsz|wall|best"
    )  # of the hardware, and of a batch, which is half as large in each process
    return [{name: value for name, value in record.items() if not times.search(name)} for record in records]
