"""The task summarization through the real command lines: training, validation with ROUGE, writing summaries."""

import csv
import importlib.util
import json
import re
import shlex

import numpy as np
import pytest
import toy
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from hydra_configs import composed, one_update, resolved
from omegaconf import OmegaConf

from plugins.analysis.metrics import rouge
from plugins.analysis.runs import grids
from plugins.checkpoints import new_model, write_causal_lm
from plugins.data.summaries.reader import read
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub.summarizer import Summarizer
from plugins.models.causal_lm import CausalLanguageModel

pytestmark = pytest.mark.slow
pytest.importorskip("rouge_score")

EXAMPLES = toy.ROOT / "examples" / "summarization"
CONFIG = EXAMPLES / "config" / "finetune.yaml"
METHODS = sorted(path.stem for path in (EXAMPLES / "config" / "method").glob("*.yaml"))
GRIDS = sorted((EXAMPLES / "grids").glob("*.yaml"))
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
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    records = logged(tuned)
    assert {f"valid_{kind}" for kind in rouge.KINDS} <= records[0].keys()
    scores = [float(record["valid_rouge1"]) for record in records]
    assert float(records[-1]["valid_best_rouge1"]) == max(scores)
    made = {path.name for path in (world / "tuned").iterdir()}
    assert {"checkpoint_best.pt", "checkpoint_last.pt", "characters.json", "added_tokens.json"} <= made


def scores_of_sample(world, name):
    """Return the mean scores of the sample, summarized with the last checkpoint of a run."""
    records = list(read(world / "data" / "valid.csv"))
    sample = np.sort(np.random.RandomState(1).permutation(len(records))[:SAMPLE]).tolist()
    model = Summarizer.from_pretrained(str(world / name / "checkpoint_last.pt"))
    texts = model.summaries([records[i].document for i in sample], sample, max_length=LENGTH, **SEARCH)
    return rouge.mean(rouge.score(text, records[i].summary) for text, i in zip(texts, sample, strict=True))


def test_two_workers_log_the_scores_of_the_whole_sample(world):
    command = tune(
        world, "two", "--max-update", 4, "--distributed-world-size", 2, "--distributed-no-spawn", "--separator",
        "TL;DR:", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp", "--batch-size", 2,
        "--distributed-init-method", f"file://{world}/meeting",
    )  # fmt: skip
    processes = [toy.start_cli([*command, "--distributed-rank", rank], GLOO_SOCKET_IFNAME="lo") for rank in (0, 1)]
    first, second = [toy.finish(process) for process in processes]
    assert first.status == second.status == 0, first.err[-3000:] + second.err[-3000:]
    found = {kind: float(logged(first)[-1][f"valid_{kind}"]) for kind in rouge.KINDS}
    assert found == pytest.approx(scores_of_sample(world, "two"), abs=1e-4)


def test_a_tuned_prompt_writes_the_summaries_that_were_scored(world):
    outcome = toy.run_cli(tune(world, "prompt", "--peft", "prompt", "--prompt-tokens", 3, "--max-update", 4))
    assert outcome.status == 0, outcome.err[-3000:]
    found = {kind: float(logged(outcome)[-1][f"valid_{kind}"]) for kind in rouge.KINDS}
    assert found == pytest.approx(scores_of_sample(world, "prompt"), abs=1e-4)


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
    how = {"max_length": LENGTH, "beam": 3, "no_repeat_ngram": 3, "force": ["river"], "batch_size": 1}
    assert [line["summary"] for line in lines] == list(model.summaries([r.document for r in records], **how))


def test_first_sentences_are_a_baseline_that_needs_no_model(world):
    done = toy.run_cli([SUMMARIZE, "lead-1", world / "data" / "test.csv", "--limit", 3])
    assert done.status == 0, done.err
    found = [json.loads(line)["summary"] for line in done.out.splitlines()]
    assert found == [f"{sentence}" for sentence in toy.sentences(3, 2)]


@pytest.mark.parametrize("method", METHODS)
def test_one_update_of_each_config(world, tmp_path, method):
    own = [
        "common.cpu=true", f"common.user_dir={toy.ROOT / 'plugins'}", f"task.data={world / 'data'}",
        f"task.data_cache={world / 'cache'}", f"checkpoint.save_dir={tmp_path}", "task.rouge_sample=4",
        f"checkpoint.finetune_from_model={world / 'base' / 'model.pt'}", "dataset.max_tokens=800",
    ]  # fmt: skip
    cfg = resolved(OmegaConf.merge(composed(CONFIG, f"method={method}"), OmegaConf.from_dotlist(own)))
    updates, loss = one_update(cfg)
    assert updates == 1 and np.isfinite(loss)


def parse_training(arguments):
    arguments = [part.replace("plugins", str(toy.ROOT / "plugins")) for part in arguments]
    args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    return convert_namespace_to_omegaconf(args).task._name


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_grids_name_flags_that_there_are(path):
    grid = grids.read_grid(path, "DATA")
    assert len(grid.runs) > 2
    assert {parse_training(run.arguments) for run in grid.runs} == {"summarization"}


def test_the_readme_names_flags_and_files_that_there_are():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S))
    values = {"$method": "lora", "${method%% *}": "lora", '"${files[@]}"': "1=x", "$t": "0.7", "$name": "lora"}
    values["$grid"] = "ranks"
    for shell, value in values.items():
        blocks = blocks.replace(shell, value)
    seen = set()
    for program, *words in map(shlex.split, blocks.replace("\\\n", " ").splitlines()):
        seen.add(program)
        if program == "fairseq-train":
            assert parse_training(words) in ("causal_lm", "summarization")
        elif program == "fairseq-hydra-train":
            assert (toy.ROOT / words[1] / f"{words[3]}.yaml") == CONFIG
            assert words[4].removeprefix("method=") in METHODS
        elif program == "python" and words[0] == "scripts/sweep.py":
            assert toy.ROOT / words[1] in GRIDS
        elif program == "python":
            spec = importlib.util.spec_from_file_location("script", toy.ROOT / words[0])
            script = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(script)
            script.parse_args(words[1:])
    shell = {"for", "done", "mkdir", "files=()", "files+=(0.7=data/t0.7.jsonl)"}
    assert seen == {"python", "fairseq-train", "fairseq-hydra-train"} | shell


def test_a_user_error_is_one_line_and_leaves_no_file(world):
    output = world / "none.jsonl"
    done = toy.run_cli([SUMMARIZE, world / "base" / "model.pt", world / "data", "-o", output])
    done.refuses("--separator 'TL;DR:'")
    assert not list(world.glob("*none.jsonl*"))
    done = toy.run_cli(tune(world, "wrong", "--rouge-sample", 0))
    done.refuses("--rouge-sample", "--criterion summarization")
    for wrong, named in (
        (["-o", world / "gone" / "x.jsonl"], world / "gone"),
        (["-o", world / "data"], world / "data"),
        (["--separator", "", "--device", "nowhere"], "nowhere"),
    ):
        done = toy.run_cli([SUMMARIZE, world / "base" / "model.pt", world / "data", *wrong])
        assert done.status != 0 and "Traceback" not in done.err
        toy.names(done.err.splitlines()[-1], named)
