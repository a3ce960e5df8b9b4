"""Embeddings and preferences by their real command lines, at toy size: logged metrics, written files, and errors."""

import json

import embedding_runs as runs
import pytest
import toy

import plugins

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("base"), toy_data)


def test_fairseq_train_on_a_folder_of_class_files(tmp_path, base):
    for topic in runs.TOPICS:
        texts = [text for text, name in runs.labeled(60) if name == topic]
        (tmp_path / f"{topic}.txt").write_text("\n".join(texts))
    start = ("--finetune-from", base / "checkpoint_best.pt")
    given = runs.arguments(tmp_path, tmp_path / "run", *start, "--passage-words", 6, "--log-format", "simple")
    outcome = toy.run_cli(["fairseq-train", *given])
    assert outcome.status == 0, outcome.text
    assert "checkpoint_best.pt is chosen by knn_accuracy" in outcome.text
    assert "dead_batches 0" in outcome.text and "effective_rank" in outcome.text
    assert plugins.hub.load(tmp_path / "run").encode(["wave boat"]).shape == (1, 32)


def test_a_contradiction_is_one_line(tmp_path, base):
    data = runs.write_rows(tmp_path / "data", "pairs")
    start = ("--finetune-from", base / "checkpoint_best.pt")
    given = runs.arguments(data, tmp_path / "run", *start, "--spec", data / "spec.yaml", "--metric-loss", "triplet")
    outcome = toy.run_cli(["fairseq-train", *given])
    assert outcome.status != 0
    assert len(outcome.errors) == 1 and "--metric-loss triplet" in outcome.errors[0]
    assert not list((tmp_path / "run").glob("*.pt"))


def test_preferences(tmp_path, base):
    sea, wood = runs.TOPICS["sea"], runs.TOPICS["wood"]
    records = [{"chosen": f"river {a}", "rejected": f"mountain {b}"} for a in sea for b in wood]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    start = ("--finetune-from", base / "checkpoint_best.pt")
    kind = ("--task", "preference", "--criterion", "preference", "--valid-fraction", 0.4)
    given = runs.arguments(path, tmp_path / "run", *kind, *start, "--log-format", "simple")
    outcome = toy.run_cli(["fairseq-train", *given])
    assert outcome.status == 0, outcome.text
    assert "length_accuracy" in outcome.text
    assert plugins.hub.load(tmp_path / "run").score(["river wave", "mountain a"]).shape == (2,)
