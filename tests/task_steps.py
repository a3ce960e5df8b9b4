"""One training and one validation step of every task, in process: fixtures ``world`` and ``step``."""

import csv
import json
from types import SimpleNamespace

import embedding_runs as runs
import pytest
import torch
import toy
from fairseq import tasks, utils

from plugins.checkpoints import new_model, write_causal_lm
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.models.causal_lm import CausalLanguageModel

ENCODER = ("--arch clap_roberta --encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 "
           "--encoder-attention-heads 4 --dropout 0 --attention-dropout 0").split()  # fmt: skip
DECODER = "--decoder-layers 2 --decoder-attention-heads 2 --decoder-embed-dim 16 --dropout 0".split()
CASES = {  # task with its criterion and model
    "mlm": ["--task", "clap_masked_lm", "--criterion", "clap_masked_lm", *ENCODER, "--tokens-per-sample", "32"],
    "mlm, RoBERTa's head, ALiBi": ["--task", "clap_masked_lm", "--criterion", "clap_masked_lm", *ENCODER, "--head",
                                   "roberta", "--positions", "alibi", "--tokens-per-sample", "32"],
    "char_lm": ["--task", "char_lm", "--criterion", "style_lm", "--arch", "char_lm", "--block-size", "16", *DECODER],
    "style": ["--task", "char_lm", "--criterion", "style_lm", "--arch", "style_char_lm_nano", "--block-size", "16",
              "--style-from", "file", *DECODER],
    "causal_lm": ["--task", "causal_lm", "--criterion", "causal_lm", "--arch", "causal_lm", "--block-size", "16",
                  "--vocabulary", "char", *DECODER],
    "LoRA": ["--task", "causal_lm", "--criterion", "causal_lm", "--arch", "causal_lm", "--peft", "lora",
             "--finetune-from-model", "{base}", "--tokens-per-sample", "16"],
    "glue": ["--task", "glue", "--criterion", "glue", "--glue-task", "RTE", *ENCODER],
    "summarization": ["--task", "summarization", "--criterion", "summarization", "--arch", "causal_lm", "--block-size",
                      "96", "--rouge-sample", "4", "--rouge-max-length", "8", *DECODER],
    "embedding": ["--task", "embedding", "--criterion", "metric_learning", *ENCODER],
    "embedding in slices": ["--task", "embedding", "--criterion", "metric_learning", "--grad-cache-rows", "3",
                            *ENCODER],
    "embedding, denoising": ["--task", "embedding", "--criterion", "metric_learning", "--metric-loss", "denoising",
                             "--deletion", "0.01", *ENCODER],
    "preference": ["--task", "preference", "--criterion", "preference", *ENCODER],
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy_data):
    """Data for every task: {task: options that name it}."""
    folder, lines = tmp_path_factory.mktemp("world"), toy.sentences(60)
    (folder / "text").mkdir()
    for style in ("drama", "novel"):
        (folder / "text" / f"{style}.txt").write_text("\n".join(toy.sentences(24, len(style))) + "\n")
    rows = [f"{i}\t{a}\t{b}\tentailment" for i, (a, b) in enumerate(zip(lines, lines[1:], strict=False))]
    for split in ("train", "dev"):
        runs.write_table(folder / "RTE" / f"{split}.tsv", ("index", "sentence1", "sentence2", "label"),
                         [row.split("\t") for row in rows])  # fmt: skip
    (folder / "summaries").mkdir()
    (folder / "pairs").mkdir()
    for split in ("train", "valid"):
        with (folder / "summaries" / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("article", "highlights"), *((line, line.split()[1]) for line in lines)])
        with (folder / "pairs" / f"{split}.jsonl").open("w") as file:
            for a, b in zip(lines, lines[1:], strict=False):
                file.write(json.dumps({"text_a": a, "text_b": b, "preference": "ab"[len(a) > len(b)]}) + "\n")
    dictionary = TokenDictionary(Characters(sorted("\n .:;ABCDLRTabcdefghijklmnopqrstuvwxyz")))
    size = {"decoder_layers": 1, "decoder_attention_heads": 1, "decoder_embed_dim": 8, "block_size": 96}
    write_causal_lm(str(folder / "base" / "model.pt"), new_model(CausalLanguageModel, size, dictionary))
    labeled = runs.write_rows(folder / "labeled", "labeled")
    return {
        "clap_masked_lm": [toy_data],
        "char_lm": [folder / "text"],
        "causal_lm": [folder / "text"],
        "base": folder / "base" / "model.pt",
        "glue": [folder, "--tokenizer-dir", toy_data],
        "summarization": [folder / "summaries", "--vocabulary", folder / "base"],
        "embedding": [labeled, "--spec", labeled / "spec.yaml", "--tokenizer-dir", toy_data],
        "preference": [folder / "pairs", "--tokenizer-dir", toy_data],
    }


class Backward:
    """An optimizer that leaves the gradients to the test."""

    def backward(self, loss):
        loss.backward()


@pytest.fixture
def step(world, tmp_path):
    """Return a function that trains and validates on one batch: (loss and gradients, validation loss).

    On another ``device`` than the CPU it only trains.
    """

    def run(case, *more, device="cpu"):
        given = CASES[case]
        torch.manual_seed(1)
        cfg = runs.config([str(part) for part in (
            *world[given[1]], "--user-dir", toy.ROOT / "plugins", "--no-recipe", "--cpu",
            *(part.format(base=world["base"]) for part in given), "--batch-size", 8,
            "--optimizer", "fused_adamw", "--lr", 1e-3, "--seed", 1, "--save-dir", tmp_path, *more,
        )])  # fmt: skip
        task = tasks.setup_task(cfg.task)
        model, criterion = task.build_model(cfg.model).to(device), task.build_criterion(cfg.criterion).to(device)
        found = []
        for split in ("train", "valid") if device == "cpu" else ("train",):
            task.load_dataset(split)
            batches = task.get_batch_iterator(task.dataset(split), max_sentences=8, max_positions=96, seed=1)
            sample = utils.apply_to_sample(lambda t: t.to(device), next(batches.next_epoch_itr(shuffle=False)))
            (criterion.train if split == "train" else criterion.eval)()
            torch.manual_seed(2)
            if split == "train":
                found.append(task.train_step(sample, model, criterion, Backward(), 0)[0])
            else:
                found.append(task.valid_step(sample, model, criterion)[0])
        return SimpleNamespace(
            loss=found[0].detach(), valid=found[-1],
            gradients={name: p.grad for name, p in model.named_parameters() if p.grad is not None},
        )  # fmt: skip

    return run
