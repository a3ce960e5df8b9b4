"""Heads of embedding and preference models travel to transformers with equal outputs."""

import json

import embedding_runs
import numpy as np
import pytest
import torch
import toy

from plugins import hub
from plugins.hub.huggingface import sentence_format

pytestmark = pytest.mark.slow  # transformers takes seconds to import
TEXTS = ["the river", "a letter", "the old machine near the window", "story", "winter garden follows a teacher"]


def score_head(pooling, width=32):
    from plugins.modules.score_head import ScoreHead

    torch.manual_seed(5)
    return toy.randomize(ScoreHead(width, pooling, 0.0, 0.1), 5)


@pytest.mark.parametrize("pooling", ["bos", "mean", "max", "attention", "last"])
@pytest.mark.parametrize("options", [{"head": "roberta"}, toy.VARIANTS["zero_clap"]], ids=["stock", "own"])
def test_scores_of_a_preference_model_are_equal(transformers, toy_data, tmp_path, pooling, options):
    toy.save_masked_lm(made(tmp_path / "ours"), toy_data, **options)
    lm = hub.load(tmp_path / "ours")
    scorer = hub.Scorer(lm.model, hub.embedder.encoder_of(lm), score_head(pooling), 12)
    scorer.lm = lm
    hub.export(scorer, tmp_path / "exported")
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    model = load(tmp_path / "exported", trust_remote_code=True).eval()
    assert type(model).__name__.startswith("Roberta") == (options == {"head": "roberta"} and pooling == "bos")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported", trust_remote_code=True)
    with torch.no_grad():
        logits = model(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits
    assert logits.shape == (5, 1) and model.config.problem_type == "regression"
    assert tokenizer.model_max_length == 12
    assert np.allclose(logits[:, 0], scorer.score(TEXTS), atol=1e-5)


def made(folder):
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def runs_of(tmp_path_factory, toy_data):
    """Return a function that trains a masked LM for a task and returns the path of its checkpoint."""

    def train(task, criterion, data, *options):
        base = toy.save_masked_lm(tmp_path_factory.mktemp("base"), toy_data, **toy.VARIANTS["alibi"])
        run = tmp_path_factory.mktemp(task)
        start = ("--task", task, "--criterion", criterion, "--finetune-from-model", base / "checkpoint_best.pt")
        embedding_runs.run(embedding_runs.arguments(data, run, *start, *options))
        return run / "checkpoint_last.pt"

    return train


def test_an_embedding_run_has_the_files_of_sentence_transformers(transformers, runs_of, tmp_path):
    data = embedding_runs.write_rows(tmp_path / "data", "labeled")
    path = runs_of("embedding", "metric_learning", data, "--spec", data / "spec.yaml")
    hub.export(path, tmp_path / "exported")
    modules = json.loads((tmp_path / "exported" / "modules.json").read_text())
    assert [row["path"] for row in modules] == ["", "1_Pooling"]
    model = transformers.AutoModel.from_pretrained(tmp_path / "exported", trust_remote_code=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported", trust_remote_code=True)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        features = model(**batch).last_hidden_state
    weights = batch["attention_mask"][..., None]
    expected = (features * weights).sum(1) / weights.sum(1)
    assert np.allclose(expected, hub.load(path).encode(TEXTS), atol=1e-5)


def test_a_preference_run_is_a_regression(transformers, runs_of, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "valid"):
        rows = [json.dumps({"text": text, "score": len(text)}) for text in toy.sentences(20)]
        (data / f"{split}.jsonl").write_text("\n".join(rows))
    path = runs_of("preference", "preference", data, "--objective", "pointwise")
    hub.export(path, tmp_path / "exported")
    pipeline = transformers.pipeline("text-classification", str(tmp_path / "exported"), trust_remote_code=True)
    found = [row["score"] for row in pipeline(TEXTS, function_to_apply="none")]
    assert np.allclose(found, hub.load(path).score(TEXTS), atol=1e-5)


def test_what_sentence_transformers_lacks_is_named(toy_data, tmp_path):
    embedder = hub.Embedder.from_pretrained(toy.save_masked_lm(made(tmp_path / "ours"), toy_data))
    embedder.head.pooling = "attention"
    with toy.refused("'attention'"):
        sentence_format.contents(embedder)
    with toy.refused("--head x"):
        hub.export(embedder, tmp_path / "out", head="x")


def test_heads_of_decoders_are_named(tmp_path):
    embedder = hub.Embedder.from_pretrained(toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt"))
    with toy.refused("CharLM"):
        hub.export(embedder, tmp_path / "out")
