"""The task summarization through the real command lines: training, validation with ROUGE, writing summaries."""

import csv
import json
import re

import numpy as np
import pytest
import toy

from plugins.analysis import rouge
from plugins.data.causal_tokenizers import Characters
from plugins.data.summaries import read
from plugins.data.token_dictionary import TokenDictionary
from plugins.hub.checkpoints import new_model, write_causal_lm
from plugins.hub.summarizer import Summarizer
from plugins.models.causal_lm import CausalLanguageModel

pytestmark = pytest.mark.slow
pytest.importorskip("rouge_score")

SUMMARIZE = toy.ROOT / "scripts" / "summarize.py"
SIZE = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 32, "block_size": 96, "dropout": 0.0}
SPLITS = {"train": 60, "valid": 20, "test": 9}
SAMPLE, LENGTH, SEARCH = 7, 12, {"temperature": 0.8, "min_length": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with documents in ``data`` and a causal LM with random weights in ``base``."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "data").mkdir()
    for seed, (split, count) in enumerate(SPLITS.items()):
        with (folder / "data" / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "article", "highlights"])
            for i, sentence in enumerate(toy.sentences(count, seed)):
                writer.writerow([f"{split}{i}", f"{sentence}\nAnd no more.", sentence.split()[1]])
    dictionary = TokenDictionary(Characters(sorted("\n .:;ABCDLRTabcdefghijklmnopqrstuvwxyz")))
    model = toy.randomize(new_model(CausalLanguageModel, SIZE, dictionary), scale=0.05)
    write_causal_lm(str(folder / "base" / "model.pt"), model)
    return folder


def tune(world, name, *more):
    """The command line of a toy run; later arguments win."""
    return [
        "fairseq-train", world / "data", "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "summarization",
        "--criterion", "summarization", "--arch", "causal_lm", "--finetune-from-model", world / "base" / "model.pt",
        "--optimizer", "fused_adamw", "--lr", 3e-3, "--max-tokens", 800, "--max-update", 12, "--num-workers", 0,
        "--rouge-sample", SAMPLE, "--rouge-max-length", LENGTH, "--rouge-search", json.dumps(SEARCH), "--seed", 1,
        "--best-checkpoint-metric", "rouge1", "--no-epoch-checkpoints", "--log-format", "json", "--log-interval", 1,
        "--data-cache", world / "cache", "--save-dir", world / name, *more,
    ]  # fmt: skip


def logged(outcome, stage="valid"):
    """The records of a stage."""
    return [json.loads(text) for text in re.findall(rf"\| {stage} \| (\{{.*\}})", outcome.text)]


@pytest.fixture(scope="module")
def tuned(world):
    outcome = toy.run_cli(tune(world, "tuned"))
    assert outcome.status == 0, outcome.err[-3000:]
    return outcome


def test_the_loss_falls_and_rouge_picks_the_best_checkpoint(world, tuned):
    losses = [float(record["loss"]) for record in logged(tuned, "train_inner")]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    records = logged(tuned)
    assert {f"valid_{kind}" for kind in rouge.KINDS} <= records[0].keys()
    scores = [float(record["valid_rouge1"]) for record in records]
    assert float(records[-1]["valid_best_rouge1"]) == max(scores)
    made = {path.name for path in (world / "tuned").iterdir()}
    assert {"checkpoint_best.pt", "checkpoint_last.pt", "characters.json", "added_tokens.json"} <= made


def test_two_workers_log_the_scores_of_the_whole_sample(world):
    """With a learning rate of 0, so that what they summarise with is known."""
    command = tune(
        world, "two", "--lr", 0, "--max-update", 1, "--distributed-world-size", 2, "--distributed-no-spawn",
        "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp", "--batch-size", 2,
        "--distributed-init-method", f"file://{world}/meeting",
    )  # fmt: skip
    processes = [toy.start_cli([*command, "--distributed-rank", rank], GLOO_SOCKET_IFNAME="lo") for rank in (0, 1)]
    first, second = [toy.finish(process) for process in processes]
    assert first.status == second.status == 0, first.err[-3000:] + second.err[-3000:]
    records = list(read(world / "data" / "valid.csv"))
    sample = np.sort(np.random.RandomState(1).permutation(len(records))[:SAMPLE]).tolist()
    model = Summarizer.from_pretrained(str(world / "two" / "checkpoint_last.pt"))
    texts = model.summaries([records[i].document for i in sample], sample, max_length=LENGTH, **SEARCH)
    scores = [rouge.score(text, records[i].summary) for text, i in zip(texts, sample, strict=True)]
    record = logged(first)[-1]
    for kind, value in rouge.mean(scores).items():
        assert float(record[f"valid_{kind}"]) == pytest.approx(value, abs=1e-4)


def test_summaries_of_a_file_a_line_each_with_their_scores(world, tuned):
    output = world / "summaries.jsonl"
    more = ["--max-length", LENGTH, "--beam", 3, "--no-repeat-ngram", 3, "--force", "river", "--batch-size", 4]
    done = toy.run_cli([SUMMARIZE, world / "tuned", world / "data", "-o", output, *more])
    assert done.status == 0, done.err
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    records = list(read(world / "data" / "test.csv"))
    assert [(line["id"], line["reference"]) for line in lines] == [(r.name, r.summary) for r in records]
    assert all("river" in line["summary"] and len(line["summary"]) <= LENGTH for line in lines)
    assert all(line["rouge"] == rouge.score(line["summary"], line["reference"]) for line in lines)
    mean = json.loads(done.err.splitlines()[-1])
    assert mean["documents"] == SPLITS["test"]
    expected = np.mean([line["rouge"]["rouge1"] for line in lines])
    assert mean["rouge1"]["mean"] == pytest.approx(expected, abs=1e-4)
    model = Summarizer.from_pretrained(str(world / "tuned"))
    options = {"max_length": LENGTH, "beam": 3, "no_repeat_ngram": 3, "force": ["river"], "batch_size": 1}
    assert [line["summary"] for line in lines] == list(model.summaries([r.document for r in records], **options))


def test_first_sentences_are_a_baseline_that_needs_no_model(world):
    done = toy.run_cli([SUMMARIZE, "lead-1", world / "data" / "test.csv", "--limit", 3])
    assert done.status == 0, done.err
    found = [json.loads(line)["summary"] for line in done.out.splitlines()]
    assert found == [f"{sentence}" for sentence in toy.sentences(3, 2)]


def test_what_a_user_gets_wrong_is_one_line_and_leaves_no_file(world):
    output = world / "none.jsonl"
    done = toy.run_cli([SUMMARIZE, world / "base" / "model.pt", world / "data", "-o", output])
    assert done.status == 1 and len(done.errors) == 1 and "--separator 'TL;DR:'" in done.err
    assert not list(world.glob("*none.jsonl*"))
    done = toy.run_cli(tune(world, "wrong", "--criterion", "causal_lm"))
    assert done.status == 1 and "needs --rouge-sample N and --criterion summarization" in done.errors[0]
