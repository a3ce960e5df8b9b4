"""GLUE by its real command lines, at toy size: training, two workers, many runs, predictions, errors."""

import csv
import json
import os
import random
import re
import signal
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import toy
from fairseq.models.roberta import RobertaModel

import plugins
from plugins.glue import predict

pytestmark = pytest.mark.slow
LAYERS = ("--layer-lr-decay", 0.5, "--reinit-layers", 1, "--clip-norm", 1, "--seed", 7)
STSB_COLUMNS = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def make_glue(folder):
    """Write tiny files in GLUE's own formats; two sentences entail each other if they begin with the same words.

    Two thirds of the training rows and one third of the validation rows are of the class 1 (of RTE, CoLA and STS-B).
    """
    draw, texts = random.Random(0), toy.sentences(400)

    def pair(same):
        first, other = draw.choice(texts), draw.choice(texts)
        return first, first if same else other

    for split, count in (("train", 64), ("dev", 21), ("test", 9)):
        label = [] if split == "test" else ["label"]
        rte, cola, stsb, mnli = [["\t".join(["index", "sentence1", "sentence2", *label])], [], [STSB_COLUMNS], []]
        for i in range(count):
            same = (i % 3 == 0) == (split == "dev")
            a, b = pair(same)
            rte.append("\t".join([str(i), a, b] + ["entailment" if same else "not_entailment"] * len(label)))
            cola.append("\t".join(["gj04", str(int(same)), "", a if same else " ".join(reversed(a.split()))]))
            stsb.append("\t".join([str(i), "g", "f", "y", "o", "s", "s", a, b, f"{5.0 * same:.3f}"]))
            mnli.append("\t".join([str(i), a, b, ("entailment", "neutral", "contradiction")[i % 3]]))
        if split == "test":
            cola = ["index\tsentence", *(f"{i}\t{line.split(chr(9))[3]}" for i, line in enumerate(cola))]
            stsb = [line.rsplit("\t", 1)[0] for line in stsb]
        write(folder / "RTE" / f"{split}.tsv", rte)
        write(folder / "CoLA" / f"{split}.tsv", cola)
        write(folder / "STS-B" / f"{split}.tsv", stsb)
        names = {"train": ["train"], "dev": ["dev_matched", "dev_mismatched"], "test": []}[split]
        for name in names:
            write(folder / "MNLI" / f"{name}.tsv", ["index\tsentence1\tsentence2\tgold_label", *mnli])
    write(folder / "diagnostic" / "diagnostic.tsv", ["index\tsentence1\tsentence2", "0\ta\tb", "1\tc\td"])
    return folder


@pytest.fixture(scope="session")
def world(toy_data, tmp_path_factory):
    """A folder with ``glue`` and pretrained models of two variants."""
    folder = tmp_path_factory.mktemp("world")
    make_glue(folder / "glue")
    for variant in ("zero_clap", "baseline"):
        outcome = toy.run_cli(
            toy.train_arguments(
                toy_data, folder / variant, "--tokens-per-sample", 128, model=toy.flags_of(variant), updates=3
            )
        )
        assert outcome.status == 0, outcome.err[-2000:]
    return folder


def tune(world, task, name, *more, variant="zero_clap"):
    """The command line of a toy fine-tuning; later arguments win."""
    return [
        "fairseq-train", world / "glue", "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "glue", "--glue-task",
        task, "--criterion", "glue", "--arch", "clap_roberta", "--finetune-from",
        world / variant / "checkpoint_best.pt", "--optimizer", "fused_adamw", "--lr", 1e-3, "--batch-size", 8,
        "--max-update", 8, "--lr-scheduler", "fixed", "--num-workers", 0, "--no-epoch-checkpoints", "--log-format",
        "json", "--log-interval", 1, "--cache-dir", world / "cache", "--seed", 1, "--save-dir", world / name, *more,
    ]  # fmt: skip


def run_all(commands):
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(commands, pool.map(toy.run_cli, commands.values()), strict=True))


@pytest.fixture(scope="session")
def tuned(world):
    """Outcomes of fine-tuning runs by the name of their folder."""
    mnli = ["--valid-subset", "valid,valid_mismatched"]
    outcomes = run_all({
        "rte": tune(world, "RTE", "rte"),
        "cola": tune(world, "CoLA", "cola", "--pooler-type", "attention"),
        "stsb": tune(world, "STS-B", "stsb", "--max-positions", 40, variant="baseline"),
        "mnli": tune(world, "MNLI", "mnli", "--pooler-type", "mean", *mnli),
        "layers": tune(world, "RTE", "layers", *LAYERS),
    })  # fmt: skip
    for name, outcome in outcomes.items():
        assert outcome.status == 0, f"{name}: {outcome.err[-3000:]}"
    return outcomes


def logged(outcome, stage="valid"):
    """The last record of a stage."""
    return json.loads(re.findall(rf"\| {stage} \| (\{{.*\}})", outcome.text)[-1])


def read(path):
    return torch.load(path, map_location="cpu")


# One run


@pytest.mark.parametrize(
    "name, metrics",
    [
        ("rte", {"accuracy", "top_class_share"}),
        ("cola", {"matthews_correlation", "accuracy"}),
        ("stsb", {"pearson", "spearmanr", "combined_score", "mse", "published_loss"}),
        ("mnli", {"accuracy"}),
    ],
)
def test_official_metrics_are_logged(tuned, name, metrics):
    assert {f"valid_{metric}" for metric in metrics} <= logged(tuned[name]).keys()


@pytest.mark.parametrize("name, split", [("rte", "valid"), ("cola", "valid"), ("stsb", "valid"), ("mnli", "valid")])
def test_logged_metrics_are_computed_from_all_predictions(world, tuned, name, split):
    """21 rows in batches of 8: the mean over batches would be another number."""
    model = plugins.hub.load(world / name / "checkpoint_last.pt")
    scores = predict.answers(model, world / "glue", split).scores()
    record = logged(tuned[name])
    for metric, value in scores.items():
        assert float(record[f"valid_{metric}"]) == pytest.approx(value, rel=1e-5, abs=2e-5), metric


def test_mnli_has_two_validation_splits(tuned):
    assert "valid_mismatched_accuracy" in logged(tuned["mnli"], "valid_mismatched")


def test_the_tasks_metric_picks_the_best_checkpoint(world, tuned):
    options = read(world / "cola" / "checkpoint_best.pt")["cfg"]["checkpoint"]
    assert (options["best_checkpoint_metric"], options["maximize_best_checkpoint_metric"]) == (
        "matthews_correlation", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name, labels",
    [("rte", ["entailment", "not_entailment"]), ("mnli", ["entailment", "neutral", "contradiction"]), ("stsb", [])],
)
def test_label_names_are_stored_in_glues_order(world, tuned, name, labels):
    state = read(world / name / "checkpoint_last.pt")
    assert state["task_state"]["id2label"] == labels
    assert state["cfg"]["task"]["label_names"] == ",".join(labels)


def test_heads_load_through_fairseqs_own_class_and_masks_can_still_be_filled(world, tuned):
    folder = str(world / "rte")
    roberta = RobertaModel.from_pretrained(folder, "checkpoint_last.pt", folder).eval()
    tokens = roberta.encode("the river follows a winter", "the river")
    assert roberta.predict("rte", tokens).exp().sum().item() == pytest.approx(1)
    assert len(roberta.fill_mask("the river <mask> a garden", topk=3)) == 3


@pytest.mark.parametrize("name, head", [("rte", "rte"), ("cola", "cola"), ("mnli", "mnli")])
def test_a_padded_batch_is_predicted_as_its_rows_are(world, tuned, name, head):
    model = plugins.hub.load(world / name / "checkpoint_last.pt")
    rows = [model.encode("the river"), model.encode("the river follows a winter near the island .")]
    padded = torch.nn.utils.rnn.pad_sequence(rows, True, model.task.source_dictionary.pad())
    with torch.no_grad():
        together = model.predict(head, padded)
        for row, expected in zip(rows, together, strict=True):
            torch.testing.assert_close(model.predict(head, row)[0], expected, atol=1e-5, rtol=1e-4)


def test_the_language_model_head_is_not_trained(world, tuned):
    before, after = (read(world / name / "checkpoint_last.pt")["model"] for name in ("baseline", "stsb"))
    for name in ("dense.weight", "bias", "layer_norm.weight"):
        assert torch.equal(before[f"encoder.lm_head.{name}"], after[f"encoder.lm_head.{name}"])
    assert not torch.equal(before["encoder.sentence_encoder.layers.0.fc1.weight"],
                           after["encoder.sentence_encoder.layers.0.fc1.weight"])  # fmt: skip


def test_reinitialized_layers_start_from_random_values_and_lower_layers_learn_less(world, tuned):
    names = ("zero_clap", "rte", "layers")
    before, plain, layers = (read(world / name / "checkpoint_last.pt")["model"] for name in names)

    def moved(state, layer):
        key = f"encoder.sentence_encoder.layers.{layer}.fc1.weight"
        return (state[key] - before[key]).norm().item()

    assert moved(layers, 1) > 3 * moved(plain, 1)  # layer 1 is the top one
    assert 0.15 < moved(layers, 0) / moved(plain, 0) < 0.35  # 0.5 ** 2 of the learning rate


def test_resuming_takes_the_checkpoint_as_it_is(world, tuned):
    """After one update every layer is close to its start, including the reinitialized one."""
    before = read(world / "layers" / "checkpoint_last.pt")["model"]
    outcome = toy.run_cli(tune(world, "RTE", "layers", *LAYERS, "--max-update", 9))
    assert outcome.status == 0, outcome.err[-2000:]
    assert logged(outcome, "train_inner")["num_updates"] == "9"
    after = read(world / "layers" / "checkpoint_last.pt")["model"]
    for layer in (0, 1):
        name = f"encoder.sentence_encoder.layers.{layer}.fc1.weight"
        assert 0 < (after[name] - before[name]).abs().max() < 0.002  # twice the learning rate


def test_the_intermediate_tasks_head_is_discarded(world, tuned):
    start = ["--finetune-from", world / "mnli" / "checkpoint_best.pt", "--max-update", 1]
    outcome = toy.run_cli(tune(world, "RTE", "after", *start))
    assert outcome.status == 0, outcome.err[-2000:]
    state = read(world / "after" / "checkpoint_last.pt")["model"]
    assert state["classification_heads.rte.out_proj.weight"].shape[0] == 2
    assert not [key for key in state if key.startswith("classification_heads.mnli")]


def test_hydra_reads_the_same_options(world):
    config = toy.ROOT / "examples" / "glue" / "config"
    own = [
        f"task.data={world}/glue", f"checkpoint.finetune_from_model={world}/zero_clap/checkpoint_best.pt",
        f"checkpoint.save_dir={world}/hydra", f"+task.cache_dir={world}/cache", "optimization.max_update=2",
        "dataset.num_workers=0", "common.cpu=true", "lr_scheduler.warmup_updates=1", f"hydra.run.dir={world}/hydra",
    ]  # fmt: skip
    command = ["fairseq-hydra-train", "--config-dir", config, "--config-name", "finetune", "target=rte"]
    outcome = toy.run_cli([*command, *own])
    assert outcome.status == 0, outcome.text[-3000:]
    saved = read(world / "hydra" / "checkpoint_best.pt")["cfg"]
    assert saved["checkpoint"]["best_checkpoint_metric"] == "accuracy"
    assert saved["model"]["positions"] == "alibi"


@pytest.mark.parametrize("task, name", [("CoLA", "cola2"), ("STS-B", "stsb2")])
def test_two_workers_compute_the_metrics_of_the_whole_split(world, task, name):
    command = tune(
        world, task, name, "--max-epoch", 1, "--max-update", 0, "--distributed-world-size", 2, "--distributed-no-spawn",
        "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp",
        "--distributed-init-method", f"file://{world}/meeting-{name}",
    )  # fmt: skip
    processes = [toy.start_cli([*command, "--distributed-rank", rank], GLOO_SOCKET_IFNAME="lo") for rank in (0, 1)]
    outcomes = [toy.finish(process) for process in processes]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes[0].text[-3000:]
    model = plugins.hub.load(world / name / "checkpoint_last.pt")
    given = predict.answers(model, world / "glue", "valid")
    assert len(given.index) == 21
    for metric, value in given.scores().items():
        assert float(logged(outcomes[0])[f"valid_{metric}"]) == pytest.approx(value, rel=1e-5, abs=2e-5), metric


# Errors


def test_mistakes_are_one_line_errors(world):
    bad = world / "bad"
    write(bad / "RTE" / "train.tsv", ["index\tsentence1\tsentence2\tlabel", "0\ta\tb\tentailment", "1\ta\tb\tmaybe"])
    write(bad / "RTE" / "dev.tsv", ["index\tsentence1\tsentence2\tlabel", "0\ta\tb\tentailment"])
    bare = world / "bare"
    bare.mkdir()
    (bare / "checkpoint_best.pt").write_bytes((world / "zero_clap" / "checkpoint_best.pt").read_bytes())
    rte = tune(world, "RTE", "wrong")
    swapped = ["--label-names", "not_entailment,entailment"]
    commands = {
        "unknown task": (tune(world, "RTEE", "wrong"), ["--glue-task RTEE", "RTE"]),
        "bad row": ([rte[0], bad, *rte[2:]], ["RTE/train.tsv:3", "'maybe'", "--skip-bad-rows"]),
        "no tokenizer": (tune(world, "RTE", "wrong", "--finetune-from", bare / "checkpoint_best.pt"),
                         ["dict.txt", "--tokenizer-dir"]),
        "no checkpoint": (tune(world, "RTE", "wrong", "--finetune-from", world / "none.pt"), ["none.pt"]),
        "labels": (tune(world, "RTE", "wrong", *swapped), ["--label-names", "entailment", "not_entailment"]),
        "long": (tune(world, "RTE", "wrong", "--max-positions", 999, variant="baseline"), [999, 128]),
        "tokens": (tune(world, "RTE", "wrong", "--max-tokens", 16), ["--max-tokens 16"]),
        "adam": (tune(world, "RTE", "wrong", "--layer-lr-decay", 0.9, "--optimizer", "adam"), ["fused_adamw"]),
        "no data": ([rte[0], world / "cache", *rte[2:]], ["RTE/dev.tsv"]),
    }  # fmt: skip
    outcomes = run_all(
        {name: [*command, "--save-dir", world / "wrong" / name] for name, (command, _) in commands.items()}
    )
    for name, (_, named) in commands.items():
        outcomes[name].refuses(*named)


def test_bad_rows_can_be_left_out(world):
    bad = world / "skip" / "RTE"
    rows = (world / "glue" / "RTE" / "train.tsv").read_text().splitlines()
    write(bad / "train.tsv", [*rows, "9\tonly this"])
    write(bad / "dev.tsv", rows[:12])
    command = tune(world, "RTE", "skipped", "--skip-bad-rows", "--max-update", 1)
    outcome = toy.run_cli([command[0], bad.parent, *command[2:]])
    assert outcome.status == 0, outcome.err[-2000:]
    assert "1 bad rows left out, the first is line 66: 2 columns, 4 expected" in outcome.text


# Many runs


def script(name, *arguments, **options):
    return toy.start_cli([toy.ROOT / "scripts" / name, *arguments], **options)


def glue_command(world, output, *more):
    return ["--glue-dir", world / "glue", "--checkpoint", world / "zero_clap" / "checkpoint_best.pt", "--output",
            world / output, "--cache-dir", world / "cache", "--cpu", "--epochs", 1, "--batch-size", 16, "--lr", 1e-3,
            *more]  # fmt: skip


@pytest.fixture(scope="session")
def many(world):
    """The options of a call of run_glue.py, and what it printed."""
    options = glue_command(world, "runs", "--tasks", "RTE", "STS-B", "MNLI", "--seeds", 1, 2, "--intermediate", "MNLI")
    outcome = toy.finish(script("run_glue.py", *options), 600)
    assert outcome.status == 0, outcome.text[-3000:]
    return options, outcome


def test_tables_have_the_published_columns_and_all_metrics(world, many):
    lines = many[1].out.splitlines()
    header = next(line for line in lines if "PPL" in line)
    assert header.split() == "PPL ↓ CoLA MNLI MRPC QNLI QQP RTE SST-2 STS-B ↓".split()
    for row in ("median", "range", "majority", "failed runs"):
        assert [line for line in lines if line.startswith(row)]
    assert [line.split()[:2] for line in lines if line.startswith("STS-B")] == [
        ["STS-B", name] for name in ("pearson", "spearmanr", "combined_score", "mse", "published_loss")
    ]
    rows = {line.split("  ")[0]: line.removeprefix(line.split("  ")[0]).split() for line in lines if "  " in line}
    column = header.replace(" ↓", "").split().index("RTE")
    assert rows["majority"][column] == "33.3"  # 7 of 21: the majority is of the training labels
    result = json.loads((world / "runs" / "results.json").read_text())
    scores = [100 * run["valid"]["valid"]["accuracy"] for run in result["runs"] if run["task"] == "RTE"]
    assert rows["median"][column] == f"{sum(scores) / 2:.1f}"
    assert rows["range"][column] == f"{min(scores):.1f}-{max(scores):.1f}"
    failed = sum(run["collapsed"] for run in result["runs"] if run["task"] == "RTE")
    assert rows["failed runs"][column] == f"{failed}/2"


def test_the_files_next_to_the_table(world, many):
    output = world / "runs"
    names = {path.name for path in output.iterdir()}
    assert names == {"results.json", "results.csv", "results.md", "RTE", "STS-B", "MNLI"}
    rows = list(csv.DictReader((output / "results.csv").open()))
    assert [(row["task"], row["split"], row["seed"]) for row in rows if row["task"] == "MNLI"] == [
        ("MNLI", "valid", "1"), ("MNLI", "valid_mismatched", "1"), ("MNLI", "valid", "2"),
        ("MNLI", "valid_mismatched", "2"),
    ]  # fmt: skip
    assert "| median |" in (output / "results.md").read_text()
    assert all((output / path).exists() for path in json.loads((output / "results.json").read_text())["best"].values())


def test_what_hugging_face_users_look_for(world, many):
    folder = world / "runs" / "MNLI"
    found = {kind: json.loads((folder / f"{kind}_results.json").read_text()) for kind in ("train", "eval", "all")}
    assert {"epoch", "train_loss", "train_runtime", "train_samples"} <= found["train"].keys()
    assert {"eval_loss", "eval_accuracy", "eval_samples", "eval_runtime", "eval_accuracy_mm"} <= found["eval"].keys()
    assert found["all"] == found["train"] | found["eval"]
    card = (world / "runs" / "RTE" / "README.md").read_text()
    import yaml

    (index,) = yaml.safe_load(card.split("---")[1])["model-index"]
    assert index["results"][0]["dataset"] == {"name": "GLUE RTE", "type": "glue", "args": "rte"}
    lines = (world / "runs" / "RTE" / "predict_results_rte.txt").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert len(lines) == 10
    assert {line.split("\t")[1] for line in lines[1:]} <= {"entailment", "not_entailment"}
    scores = (world / "runs" / "STS-B" / "predict_results_stsb.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"\d+\t\d\.\d{3}", line) for line in scores)


def test_saved_predictions_give_the_reported_metrics(world, many):
    from scipy import stats
    from sklearn import metrics

    for row in json.loads((world / "runs" / "results.json").read_text())["runs"]:
        path = world / "runs" / row["task"] / f"lr0.001_b16_s{row['seed']}" / "valid_predictions.tsv"
        predicted, true = np.array([line.split("\t")[1:] for line in path.read_text().splitlines()[1:]], float).T
        if row["task"] == "STS-B":
            assert row["valid"]["valid"]["pearson"] == pytest.approx(stats.pearsonr(predicted, true)[0], abs=1e-6)
            assert row["valid"]["valid"]["spearmanr"] == pytest.approx(stats.spearmanr(predicted, true)[0], abs=1e-6)
        else:
            assert row["valid"]["valid"]["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted), abs=1e-6)


def test_the_other_tasks_start_from_the_intermediate_model(world, many):
    log = (world / "runs" / "RTE" / "lr0.001_b16_s2" / "train.log").read_text()
    assert f"--finetune-from-model {world}/runs/MNLI/lr0.001_b16_s2/checkpoint_best.pt" in log


def test_finished_runs_are_kept_small_and_not_done_again(world, many):
    folder = world / "runs" / "RTE" / "lr0.001_b16_s1"
    assert not (folder / "checkpoint_last.pt").exists()
    assert read(folder / "checkpoint_best.pt")["last_optimizer_state"] is None
    before = (folder / "train.log").read_text()
    outcome = toy.finish(script("run_glue.py", *many[0], real=True), 600)
    assert outcome.status == 0, outcome.text[-3000:]
    assert (folder / "train.log").read_text() == before
    assert outcome.out == many[1].out


def test_a_task_added_later_joins_the_table(world, many):
    output = toy.copy_folder(world / "runs", world / "later")
    before = table_of(output)
    outcome = toy.finish(script("run_glue.py", *glue_command(world, "later", "--tasks", "CoLA", "--seeds", 1)), 600)
    assert outcome.status == 0, outcome.text[-3000:]
    after = table_of(output)
    assert after.pop(("CoLA", "valid", "1"))["matthews_correlation"]
    assert after.keys() == before.keys()
    assert all(row.items() <= after[run].items() for run, row in before.items())
    assert json.loads((output / "results.json").read_text())["best"].keys() == {"CoLA", "RTE", "STS-B", "MNLI"}


def table_of(output):
    rows = csv.DictReader((output / "results.csv").open())
    return {(row["task"], row["split"], row["seed"]): row for row in rows}


LONG = ("--tasks", "RTE", "--seeds", 1, "--epochs", 12)


@pytest.fixture(scope="session")
def uninterrupted(world):
    """The result of a run of 12 epochs."""
    outcome = toy.finish(script("run_glue.py", *glue_command(world, "whole", *LONG)), 600)
    assert outcome.status == 0, outcome.text[-2000:]
    return result_in(world / "whole")


def result_in(output):
    """The record of the only run in results.json, without times and paths."""
    (row,) = json.loads((output / "results.json").read_text())["runs"]
    for values in row["valid"].values():
        values.pop("runtime")
    return {name: value for name, value in row.items() if name != "train_seconds"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_an_interrupted_and_continued_call_has_the_result_of_a_single_call(world, uninterrupted, how):
    """Ctrl-C stops the training, which is resumed later. The training of a killed call continues and is joined."""
    options = glue_command(world, how.name, *LONG)
    process = script("run_glue.py", *options, start_new_session=True)
    run = world / how.name / "RTE" / "lr0.001_b16_s1"
    while process.poll() is None and not (run / "checkpoint_last.pt").exists():
        os.sched_yield()
    os.kill(process.pid, how)  # the script alone
    outcome = toy.finish(process)
    assert outcome.status == (1 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert outcome.err.strip().splitlines()[-1].startswith("interrupted")
    outcome = toy.finish(script("run_glue.py", *options), 600)
    assert outcome.status == 0, outcome.text[-2000:]
    assert (run / "train.log").read_text().count("$ fairseq-train") == (2 if how == signal.SIGINT else 1)
    assert result_in(world / how.name) == uninterrupted


def test_a_collapsed_run_is_counted_and_warned_of(world):
    """All training rows are of one class."""
    folder = toy.copy_folder(world / "glue" / "RTE", world / "one_class" / "RTE")
    rows = (folder / "train.tsv").read_text()
    (folder / "train.tsv").write_text(rows.replace("\tnot_entailment", "\tentailment"))
    options = glue_command(world, "collapsed", "--tasks", "RTE", "--seeds", 1, "--lr", 0.01)
    options[options.index("--glue-dir") + 1] = folder.parent
    outcome = toy.finish(script("run_glue.py", *options), 600)
    assert outcome.status == 0, outcome.text[-2000:]
    (run,) = json.loads((world / "collapsed" / "results.json").read_text())["runs"]
    assert run["collapsed"] is True and run["valid"]["valid"]["accuracy"] == pytest.approx(7 / 21)
    (failed,) = [line for line in outcome.out.splitlines() if line.startswith("failed runs")]
    assert "1/1" in failed and "1 of 1" in outcome.out


def test_runs_that_predict_both_classes_are_not_counted(world, many):
    for run in json.loads((world / "runs" / "results.json").read_text())["runs"]:
        path = world / "runs" / run["task"] / f"lr0.001_b16_s{run['seed']}" / "valid_predictions.tsv"
        classes = {line.split("\t")[1] for line in path.read_text().splitlines()[1:]}
        assert run["task"] == "STS-B" or run["collapsed"] or len(classes) > 1


def test_recipes_are_compared_over_models(world):
    for variant in ("zero_clap", "baseline"):
        toy.copy_folder(world / variant, world / "models" / variant)
    output = world / "collapse"
    options = ["--recipes", "base", "clip", "--tasks", "RTE", "-o", output, "--options", "--cpu", "--epochs", 1]
    command = ["--glue-dir", world / "glue", "--models", world / "models", *options, "--seeds", 1, 2, "--lr", 1e-3]
    outcome = toy.finish(script("glue_collapse.py", *command), 600)
    assert outcome.status == 0, outcome.err
    rows = json.loads((output / "collapse.json").read_text())
    assert {(row["recipe"], row["model"]) for row in rows} == {
        (recipe, model) for recipe in ("base", "clip") for model in ("zero_clap", "baseline")
    }
    assert all(row["seeds"] == [1, 2] and 0 < row["majority"] < 1 for row in rows)
    assert len((output / "collapse.md").read_text().splitlines()) == 2 + 4


def test_the_demo_fine_tunes_a_given_model(world):
    options = ["--checkpoint", world / "baseline" / "checkpoint_best.pt", "--seeds", 1, "--epochs", 1]
    outcome = toy.finish(script("demo_glue.py", "--glue-dir", world / "glue", *options, "-o", world / "glue_demo"), 600)
    assert outcome.status == 0, outcome.err
    assert re.search("CoLA +matthews", outcome.out) and re.search("RTE +accuracy", outcome.out), outcome.out


def test_a_task_defined_by_the_user(world):
    folder = world / "own"
    write(folder / "train.csv", ["text,mood", *(f'"{t}, yes",{i % 2}' for i, t in enumerate(toy.sentences(32)))])
    write(folder / "dev.csv", ["text,mood", *(f'"{t}, yes",{i % 2}' for i, t in enumerate(toy.sentences(10, 3)))])
    write(folder / "mood.yaml", ["name: mood", "files: {train: train.csv, valid: dev.csv}", "text: text",
                                 "label: mood", "labels: [0, 1]", "metrics: [f1, accuracy]"])  # fmt: skip
    options = glue_command(world, "mood", "--tasks", folder / "mood.yaml", "--seeds", 1)
    options[1] = folder
    outcome = toy.finish(script("run_glue.py", *options), 600)
    assert outcome.status == 0, outcome.text[-2000:]
    assert re.search(r"^mood +f1 ", outcome.out, re.M)
    (folder / "mood.yaml").unlink()  # the checkpoint contains it too
    model = plugins.hub.load(world / "mood" / "mood" / "lr0.001_b16_s1" / "checkpoint_best.pt")
    assert model.task.spec.name == "mood"


# Predictions


def test_a_submission_from_a_folder_that_was_moved(world, many):
    toy.copy_folder(world / "runs", world / "moved")
    outcome = toy.finish(script("predict_glue.py", "--runs", world / "moved", "--glue-dir", world / "glue",
                                "--submission", world / "submission.zip"), 600)  # fmt: skip
    assert outcome.status == 0, outcome.text[-2000:]
    with zipfile.ZipFile(world / "submission.zip") as archive:
        assert sorted(archive.namelist()) == ["AX.tsv", "RTE.tsv", "STS-B.tsv"]
        assert archive.read("AX.tsv").decode().splitlines()[0] == "index\tprediction"
    assert "CoLA.tsv, SST-2.tsv, MRPC.tsv, QQP.tsv, MNLI-m.tsv" in outcome.out.splitlines()[-1]  # what else is needed


def test_one_checkpoint_on_one_split(world, tuned):
    outcome = toy.finish(script("predict_glue.py", "--checkpoint", world / "cola" / "checkpoint_best.pt", "--glue-dir",
                                world / "glue", "--split", "valid", "--official-labels", real=True), 600)  # fmt: skip
    assert outcome.status == 0, outcome.text[-2000:]
    lines = outcome.out.splitlines()
    assert (lines[0], len(lines)) == ("index\tprediction", 22)
    assert {line.split("\t")[1] for line in lines[1:]} <= {"0", "1"}
    assert json.loads(outcome.err.splitlines()[-1])["task"] == "CoLA"


def test_a_model_of_another_task_is_refused(world, tuned):
    outcome = toy.finish(script("predict_glue.py", "--checkpoint", world / "rte" / "checkpoint_best.pt", "--glue-dir",
                                world / "glue", "--task", "AX"), 600)  # fmt: skip
    outcome.refuses("RTE", "entailment", "not_entailment", "AX")
