"""A toy world: a data folder, models built through the real registries, and the real command lines."""

import argparse
import atexit
import contextlib
import functools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import sentencepiece
import torch
from fairseq import models, tasks
from fairseq.data import indexed_dataset
from omegaconf import OmegaConf

import plugins  # noqa: F401 (registers everything)
from plugins.data.text.char_dictionary import CharDictionary
from plugins.errors import UserError
from plugins.hub import CharLM
from plugins.models.char_lm import CharLanguageModel
from plugins.models.char_lm_config import CharLMConfig
from plugins.models.clap_roberta_config import ClapRobertaConfig
from plugins.options import NO_START
from plugins.tasks.clap_masked_lm import ClapMaskedLMConfig

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
THREADS = "1"

SIZE = {"encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
DECODER_SIZE = {
    "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 16, "style_prefix": 5
}  # fmt: skip
CHARACTERS = "\n abcdefgh"
VARIANTS = {
    "baseline": {"head": "roberta"},
    "learned_clap": {"head": "clap"},
    "alibi": {"head": "roberta", "positions": "alibi"},
    "zero_clap": {"head": "clap", "positions": "alibi", "mask_embedding": "zero"},
}


# Text and data folders


def sentences(count, seed=0):
    """Return sentences of a small grammar, the same for the same seed."""
    draw = random.Random(seed)
    nouns = "river mountain garden letter winter teacher machine window island story".split()
    verbs = "follows watches remembers carries answers".split()
    return [
        f"the {draw.choice(nouns)} {draw.choice(verbs)} a {draw.choice(nouns)} near the {draw.choice(nouns)} ."
        for _ in range(count)
    ]


def make_data(folder, lines=240, valid_lines=40):
    """Fill a folder with ``dict.txt``, ``{train,valid}.{bin,idx}`` and ``sentencepiece.bpe.model``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"train": sentences(lines, 1), "valid": sentences(valid_lines, 2)}
    prefix = folder / "spm"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(splits["train"]), model_prefix=str(prefix), vocab_size=60, model_type="unigram",
        minloglevel=2, num_threads=1, bos_id=-1, eos_id=-1, hard_vocab_limit=False,
    )  # fmt: skip
    (folder / "spm.vocab").unlink()
    os.replace(folder / "spm.model", folder / "sentencepiece.bpe.model")
    processor = sentencepiece.SentencePieceProcessor(str(folder / "sentencepiece.bpe.model"))
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size()) if not processor.is_unknown(i)]
    encoded = {name: [processor.encode(line, out_type=str) for line in text] for name, text in splits.items()}
    count = {piece: sum(line.count(piece) for line in encoded["train"]) for piece in pieces}
    pieces.sort(key=lambda piece: -count[piece])
    words = [f"{piece} {count[piece]}\n" for piece in pieces] + [f"madeupword{i:04d} 0\n" for i in range(3)]
    (folder / "dict.txt").write_text("".join(words), encoding="utf-8")
    index = {piece: i + 4 for i, piece in enumerate(pieces)}
    for name, text in encoded.items():
        ids = [[index.get(piece, 3) for piece in line] + [2] for line in text]
        write_split(folder / name, ids, vocabulary=len(words) + 5)
    return folder


def write_split(path, lines, vocabulary=None):
    """Write lists of token ids as PATH.bin and PATH.idx in fairseq's format."""
    builder = indexed_dataset.make_builder(f"{path}.bin", "mmap", vocabulary)
    for line in lines:
        builder.add_item(torch.tensor(line, dtype=torch.long))
    builder.finalize(f"{path}.idx")


# Models and tasks through the registries


def make_task(data, **options):
    """Return a clap_masked_lm task, set up as fairseq does."""
    config = ClapMaskedLMConfig(data=str(data), **{"seed": 1, "tokens_per_sample": 32, **options})
    config._name = "clap_masked_lm"
    return tasks.setup_task(OmegaConf.structured(config))


def make_model(task, seed=0, **options):
    """Return a toy model for a task, built by ``task.build_model`` from a config of the real class."""
    torch.manual_seed(seed)
    config = ClapRobertaConfig(**{**SIZE, **NO_START, **options})
    config._name = "clap_roberta"
    return task.build_model(OmegaConf.structured(config)).eval()


def make_stock_model(task, seed=0, **options):
    """Return fairseq's own RoBERTa of the same size."""
    torch.manual_seed(seed)
    base = {"arch": "roberta_base", "tokens_per_sample": 32, "max_positions": 32, **SIZE, **options}
    return models.build_model(argparse.Namespace(**base), task).eval()


def randomize(model, seed=0, scale=0.2):
    """Give every parameter random values, so that no bias is zero and no gain one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def save_masked_lm(folder, data, heads=(), **options):
    """Fill a folder as training leaves it: a checkpoint with random weights, dictionary, tokenizer; return the folder.

    Args:
        data: of :func:`make_data`.
        heads: {name: classes} of classification heads.
        options: of the model.
    """
    task = make_task(data, omit_mask="mask_embedding" in options)
    model = randomize(make_model(task, **options))
    for name, classes in dict(heads).items():
        model.register_classification_head(name, num_classes=classes)
    cfg = {
        "common": {}, "common_eval": {"path": None}, "bpe": None, "tokenizer": None,
        "model": {"_name": "clap_roberta", **SIZE, **options}, "criterion": {"_name": "clap_masked_lm"},
        "task": OmegaConf.to_container(OmegaConf.structured(task.cfg), enum_to_str=True),
    }  # fmt: skip
    cfg["task"]["data"] = "/nowhere"
    cfg["task"]["_name"] = "clap_masked_lm"
    history = [{"criterion_name": "x", "optimizer_name": "y", "lr_scheduler_state": {}, "num_updates": 1}]
    state = {"args": None, "cfg": cfg, "model": model.state_dict(), "task_state": task.state_dict()}
    state |= {"extra_state": {"train_iterator": {"epoch": 1}}, "optimizer_history": history}
    torch.save(state, folder / "checkpoint_best.pt")
    task.post_save(str(folder / "checkpoint_best.pt"), 1)
    return folder


def make_char_lm(characters=CHARACTERS, styles=(), unit="char", seed=0, **options):
    """Return a CharLM with random weights, large enough that styles and contexts make a difference."""
    dictionary = CharDictionary.of_bytes() if unit == "byte" else CharDictionary(characters)
    if styles:
        options = {"style_layers": "every", **options}
    cfg = OmegaConf.structured(CharLMConfig(**{**DECODER_SIZE, **NO_START, **options}))
    task = SimpleNamespace(source_dictionary=dictionary, style_names=list(styles))
    torch.manual_seed(seed)
    model = randomize(CharLanguageModel.build_model(cfg, task), seed, scale=0.5)
    return CharLM(model, dictionary, list(styles))


def save_char_lm(lm, path, **more):
    """Write a :class:`plugins.hub.CharLM` as ``fairseq-train --task char_lm`` does; return the path."""
    options = OmegaConf.to_container(lm.model.cfg, enum_to_str=True)
    task = {"dictionary": lm.dictionary.state(), "styles": lm.styles}
    cfg = {"model": {**options, "_name": "char_lm"}, "task": {"_name": "char_lm"}}
    torch.save({"args": None, "cfg": cfg, "model": lm.model.state_dict(), "task_state": task, **more}, path)
    return path


# Logs


LOG_PREFIX = "2026-01-31 12:00:00 | INFO | "


def inner_line(updates, wps="100", wall="1"):
    """Return what fairseq-train logs within an epoch."""
    numbers = f'{{"epoch": 1, "wps": "{wps}", "num_updates": "{updates}", "wall": "{wall}"}}'
    return f"{LOG_PREFIX}train_inner | {numbers}\n"


def valid_line(updates, ppl):
    """Return what fairseq-train logs of a validation."""
    return f'{LOG_PREFIX}valid | {{"epoch": 1, "valid_ppl": "{ppl}", "valid_num_updates": "{updates}"}}\n'


# Errors


def names(error, *parts):
    """Assert that an error is one line that names files, flags, lines or values; its wording is free."""
    text = str(error)
    assert text and "\n" not in text, text
    for part in map(str, parts):
        found = re.search(rf"(?<![\w-]){re.escape(part)}(?![\w-])", text)
        assert found, f"{part!r} is not named in: {text}"


@contextlib.contextmanager
def refused(*parts, error=UserError):
    """Expect an error that :func:`names` files, flags, lines or values."""
    with pytest.raises(error) as raised:
        yield raised
    names(raised.value, *parts)


# Command lines


@dataclass
class Outcome:
    """The outcome of a command."""

    status: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err

    @property
    def errors(self):
        """The ``error: ...`` lines."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    def refuses(self, *parts):
        """Assert that the command ended with status 1 and one error that :func:`names` what it is about."""
        assert self.status == 1, self.text[-2000:]
        assert len(self.errors) == 1 and "Traceback" not in self.text, self.text[-2000:]
        names(self.errors[0], *parts)


def raising(error):
    """Return a function that raises an error, whatever it is called with."""

    def function(*_, **__):
        raise error

    return function


@functools.cache
def fork_server():
    """Start tests/fork_server.py, once in this process; return the environment of its clients."""
    folder = Path(tempfile.mkdtemp(prefix="toy"))
    command = [sys.executable, ROOT / "tests" / "fork_server.py", folder]
    settings = {**os.environ, "OMP_NUM_THREADS": THREADS}
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=settings, cwd=ROOT)

    def stop():
        server.stdin.close()
        server.wait()

    atexit.register(stop)
    while not (folder / "socket").exists():
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.01)
    return {"TOY_FORK_SERVER": str(folder / "socket"), "TOY_FORK_PYTHON": sys.executable}, folder / "python"


def start_cli(arguments, cwd=None, real=False, start_new_session=False, **environment):
    """Start a script of the environment, such as ``fairseq-train``, or one by its path, and return its process.

    Args:
        real: in a new Python. A fork of :func:`fork_server` is one in all that tests can see, and starts faster; each
            program has one test that takes the long way.
    """
    command, *rest = map(str, arguments)
    known = {k: v for k, v in os.environ.items() if k not in {"WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR"}}
    server, python = ({}, sys.executable) if real else fork_server()
    settings = {**known, **server, "OMP_NUM_THREADS": THREADS, "CUDA_VISIBLE_DEVICES": "", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = [str(python), str(BIN / command), *rest]
    return subprocess.Popen(words, cwd=cwd or ROOT, env=settings, start_new_session=start_new_session, **pipes)


def finish(process, timeout=180):
    out, err = process.communicate(timeout=timeout)
    return Outcome(process.returncode, out, err)


def in_session(session):
    """Return the processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, number = path.read_text().rsplit(")", 1)[1].split()[:4]
            if int(number) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def run_cli(arguments, cwd=None, timeout=180, **options):
    """Run a script and return its :class:`Outcome`; the options are those of :func:`start_cli`."""
    return finish(start_cli(arguments, cwd, **options), timeout)


def train_arguments(data, save_dir, *more, model=(), updates=4):
    """The command line of a toy run of ``fairseq-train`` on a CPU; later arguments win."""
    return [
        "fairseq-train", data, "--user-dir", ROOT / "plugins", "--cpu", "--task", "clap_masked_lm",
        "--criterion", "clap_masked_lm", "--arch", "clap_roberta", "--encoder-layers", 2, "--encoder-embed-dim", 32,
        "--encoder-ffn-embed-dim", 64, "--encoder-attention-heads", 4, *model, "--tokens-per-sample", 32,
        "--batch-size", 8, "--optimizer", "fused_adamw", "--lr", 1e-3, "--lr-scheduler", "polynomial_decay",
        "--total-num-update", 100, "--warmup-updates", 2, "--max-update", updates, "--seed", 1, "--num-workers", 0,
        "--log-format", "simple", "--log-interval", 1, "--save-dir", save_dir, "--no-epoch-checkpoints", *more,
    ]  # fmt: skip


def flags_of(variant):
    """The model flags of a variant; its zero mask is an option of the task."""
    options = {k: v for k, v in VARIANTS[variant].items() if k != "mask_embedding"}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return flags + (["--omit-mask"] if "mask_embedding" in VARIANTS[variant] else [])


def copy_folder(source, target, skip=()):
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*skip) if skip else None)
    return Path(target)
