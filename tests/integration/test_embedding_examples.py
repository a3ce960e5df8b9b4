"""examples/embeddings, transfer and preferences: configs train, commands are accepted, studies run at toy size."""

import csv
import json
import re
import runpy
import shlex

import embedding_runs as runs
import numpy as np
import pytest
import toy
from fairseq import options
from hydra_configs import composed, one_update, resolved
from omegaconf import OmegaConf

from plugins.embeddings.deployment import store_threshold

SCRIPTS = toy.ROOT / "scripts"
TOPICS = ("embeddings", "transfer", "preferences")
CONFIGS = sorted(path for topic in TOPICS for path in (toy.ROOT / "examples" / topic).glob("config/*.yaml"))


def blocks(topic, language):
    text = (toy.ROOT / "examples" / topic / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def commands(program):
    lines = "".join(block for topic in TOPICS for block in blocks(topic, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] == program]


@pytest.fixture(scope="module")
def base(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("base"), toy_data)


def write_ratings(path, seed=0):
    rows = [{"text": text, "score": len(text) / 10} for text in toy.sentences(40, seed)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path):
    """A folder for each config: CLASS.txt files, pairs, ratings."""
    (tmp_path / "texts").mkdir()
    for topic in runs.TOPICS:
        texts = [text for text, name in runs.labeled(150) if name == topic]
        (tmp_path / "texts" / f"{topic}.txt").write_text("\n".join(texts))
    runs.write_rows(tmp_path / "pairs", "pairs", count=60)
    for split in ("train", "valid"):
        write_ratings(tmp_path / "data" / f"{split}.jsonl", len(split))
    return tmp_path


# Configs


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_one_update_of_each_config(path, data, base):
    cfg = composed(path)
    own = [
        "common.cpu=true", f"common.user_dir={toy.ROOT / 'plugins'}", f"task.data={data / cfg.task.data}",
        f"checkpoint.save_dir={data / 'run'}", f"checkpoint.finetune_from_model={base / 'checkpoint_best.pt'}",
    ]  # fmt: skip
    if cfg.task.get("spec"):
        own.append(f"task.spec={data / cfg.task.spec}")
    cfg = resolved(OmegaConf.merge(cfg, OmegaConf.from_dotlist(own)))
    updates, loss = one_update(cfg)
    assert updates == 1 and np.isfinite(loss)


# Commands of the pages


@pytest.mark.parametrize("words", commands("python"), ids=shlex.join)
def test_scripts_take_their_options(words, monkeypatch):
    monkeypatch.syspath_prepend(toy.ROOT / "scripts")
    if words[1].startswith("scripts/"):
        runpy.run_path(str(toy.ROOT / words[1]), run_name="parsed")["parse_args"](words[2:])


@pytest.mark.parametrize("words", commands("fairseq-train"), ids=shlex.join)
def test_trainings_take_their_options(words):
    given = [str(toy.ROOT / "plugins") if word == "plugins" else word for word in words[1:]]
    options.parse_args_and_arch(options.get_training_parser(), given)


def test_every_topic_has_commands_and_its_figures_exist():
    for topic in TOPICS:
        folder = toy.ROOT / "examples" / topic
        assert blocks(topic, "bash")
        figures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
        assert all((folder / figure).is_file() for figure in figures)


@pytest.mark.slow
@pytest.mark.parametrize("topic", TOPICS)
def test_python_of_the_pages(topic, tmp_path, base, data):
    for code in blocks(topic, "python"):
        if "hub.load" in code:
            start = ("--finetune-from-model", base / "checkpoint_best.pt")
            if topic == "embeddings":
                runs.run(runs.arguments(data / "texts", tmp_path / "run", *start, "--passage-words", 6))
            else:
                kind = ("--task", "preference", "--criterion", "preference")
                runs.run(runs.arguments(data / "data", tmp_path / "run", *kind, *start))
                store_threshold(tmp_path / "run" / "checkpoint_best.pt", {"threshold": 0.0})
        for name in ("checkpoints/mine", "checkpoints/rm"):
            code = code.replace(name, str(tmp_path / "run"))
        code = code.replace('"texts"', repr(str(data / "texts"))).replace('"ratings"', repr(str(tmp_path / "ratings")))
        (tmp_path / "code.py").write_text(code)
        outcome = toy.run_cli([tmp_path / "code.py"])
        assert outcome.status == 0, outcome.text


# Studies


@pytest.mark.slow
def test_losses_are_compared(tmp_path, base, data):
    given = ("--losses", "batch_hard", "cosent", "--lrs", 1e-3, "--margins", 1, "--updates", 2, "--batch-size", 8)
    outcome = toy.run_cli([
        SCRIPTS / "compare_losses.py", data / "texts", "--checkpoint", base, "--passage-words", 6, *given,
        "--seeds", 2, "-o", tmp_path / "out",
    ])  # fmt: skip
    assert outcome.status == 0, outcome.text
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(found["scores"]) == {"batch_hard", "cosent", "untuned", "mean of word vectors", "TF-IDF"}
    assert [len(found["scores"][name]) for name in ("cosent", "untuned")] == [2, 1]
    assert "| batch_hard | lr0.001" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.slow
def test_reversed_comparisons_are_studied(tmp_path, base, data):
    outcome = toy.run_cli([
        SCRIPTS / "study_flips.py", data / "data" / "train.jsonl", "--valid", data / "data" / "valid.jsonl",
        "--checkpoint", base, "--shares", 0.2, "--seeds", 1, "--updates", 2, "-o", tmp_path / "out",
    ])  # fmt: skip
    assert outcome.status == 0, outcome.text
    with (tmp_path / "out" / "flips.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    assert (tmp_path / "out" / "flips.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_transfer_between_a_glue_task_and_one_of_a_yaml_file(tmp_path, base, glue):
    folder = tmp_path / "mood"
    rows = [(text, ("calm", "loud")[i % 2]) for i, text in enumerate(toy.sentences(80))]
    for name in ("train.tsv", "dev.tsv"):
        runs.write_table(folder / name, ("text", "mood"), rows)
    (folder / "spec.yaml").write_text(
        "name: mood\nfiles: {train: train.tsv, valid: dev.tsv}\ntext: text\nlabel: mood\nlabels: [calm, loud]\n"
        "metrics: [accuracy]\n"
    )
    outcome = toy.run_cli([
        SCRIPTS / "transfer.py", glue, "--tasks", "CoLA", "RTE", folder / "spec.yaml", "--checkpoint", base,
        "--rows", 40, "--matrix", "--sizes", 30, "--seeds", 1, "--updates", 2, "-o", tmp_path / "out",
    ])  # fmt: skip
    assert outcome.status == 0, outcome.text
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"similarity.png", "map.png", "transfer.csv", "judgment.csv", "gains.md", "features.csv"}
    with (tmp_path / "out" / "judgment.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {"random", "largest source", "TextEmb"} <= {row["method"] for row in found}
    assert {"regret_at_1", "regret_at_2", "regret_at_3"} <= found[0].keys()
