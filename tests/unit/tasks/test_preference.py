"""The task ``preference``: objectives, noise corrections, models, thresholds, and errors."""

import json
import random

import embedding_runs as runs
import numpy as np
import pytest
import torch
import toy

import plugins


@pytest.fixture(scope="module")
def base(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("base"), toy_data)


GOOD, BAD = "river garden letter winter teacher".split(), "mountain machine window island story".split()


def rated(count=60, seed=0):
    """Texts of words that the tokenizer has, rated by how many of them are good."""
    draw, found = random.Random(seed), {}
    while len(found) < count:
        words = [draw.choice(draw.choice((GOOD, BAD))) for _ in range(6)]
        found[" ".join(words)] = sum(word in GOOD for word in words)
    return found


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_ratings(folder):
    for split, seed in (("train", 0), ("valid", 1)):
        write(folder / f"{split}.jsonl", [{"text": text, "score": score} for text, score in rated(seed=seed).items()])
    return folder


def write_pairs(folder, ties=False):
    for split, seed in (("train", 0), ("valid", 1)):
        texts = list(rated(seed=seed).items())
        records = [
            {"text_a": a, "text_b": b, "preference": "tie" if x == y else "a" if x > y else "b"}
            for (a, x), (b, y) in zip(texts, texts[1:], strict=False) if ties or x != y
        ]  # fmt: skip
        write(folder / f"{split}.jsonl", records)
    return folder


def arguments(data, save_dir, base, *more, updates=2):
    start = ("--finetune-from-model", base / "checkpoint_best.pt")
    return runs.arguments(
        data, save_dir, "--task", "preference", "--criterion", "preference", *start, *more, updates=updates
    )


def batch_loss(given):
    _, model, criterion, sample = runs.one_batch(given)
    loss, rows, _ = criterion.train()(model.train(), sample)
    loss.backward()
    gradient = model.score_head.dense.weight.grad
    assert torch.isfinite(loss) and torch.isfinite(gradient).all() and gradient.abs().max() > 0
    return model, float(loss), rows


@pytest.mark.parametrize(
    "options",
    [("--objective", "pointwise"), ("--objective", "pairwise"), ("--objective", "listwise")]
    + [("--objective", "listwise", "--list-loss", name) for name in ("listmle", "ranknet", "lambdarank")],
)
def test_every_objective_learns_from_ratings(tmp_path, base, options):
    batch_loss(arguments(write_ratings(tmp_path / "data"), tmp_path / "run", base, *options))


OPTIONS = [("--centering", 0.1), ("--smoothing", 0.1), ("--flip-rate", 0.2)]  # of the loss without ties


@pytest.mark.parametrize("ties, options", [(True, ()), (False, ()), *((False, options) for options in OPTIONS)])
def test_comparisons_with_and_without_ties(tmp_path, base, options, ties):
    batch_loss(arguments(write_pairs(tmp_path / "data", ties), tmp_path / "run", base, *options))


@pytest.mark.parametrize("options", OPTIONS)
def test_options_that_the_loss_of_ties_lacks_are_refused(tmp_path, base, options):
    with toy.refused(options[0], "ties"):
        batch_loss(arguments(write_pairs(tmp_path / "data", ties=True), tmp_path / "run", base, *options))


def test_the_share_of_flips_is_learned(tmp_path, base):
    model, *_ = batch_loss(arguments(write_pairs(tmp_path / "data"), tmp_path / "run", base, "--learn-flip-rate"))
    assert float(model.score_head.flip_rate()) == pytest.approx(0.1, abs=1e-6)
    assert model.score_head.flip.grad.abs() > 0


@pytest.mark.slow
def test_training_orders_texts_and_scores_do_not_depend_on_the_batch(tmp_path, base, run_script, capsys):
    data = write_ratings(tmp_path / "data")
    found = runs.run(arguments(data, tmp_path / "run", base, "--batch-size", 32, "--dropout", 0, updates=60))
    assert found["accuracy"] > 0.8 and found["spearman"] > 0.6
    assert found["length_accuracy"] == pytest.approx(0.5, abs=0.2)
    path = tmp_path / "run" / "checkpoint_last.pt"
    scorer = plugins.hub.load(path)
    texts = ["river garden letter", "mountain", "river mountain garden window story"]
    together = scorer.score(texts)
    assert together == pytest.approx([scorer.score(text) for text in texts], abs=1e-5)
    assert together[0] > together[1]
    with toy.refused("choose_threshold"):
        scorer.decide(texts)
    labels = write(tmp_path / "labels.jsonl", [{"text": t, "score": int(s > 3)} for t, s in rated(seed=2).items()])
    run_script("choose_threshold", path, labels, "--test", labels, "--resamples", 50)
    assert "stored in" in capsys.readouterr().out
    scorer = plugins.hub.load(path)
    assert scorer.threshold["low"] <= scorer.threshold["threshold"] <= scorer.threshold["high"]
    assert (scorer.decide(texts) == (together > scorer.threshold["threshold"])).all()


def test_flipping_reverses_the_clearest_comparisons(tmp_path, run_script):
    path = write(tmp_path / "r.jsonl", [{"text": t, "score": s} for t, s in rated().items()])
    run_script("flip_preferences", path, "--share", 0.2, "--which", "largest", "-o", tmp_path / "f.jsonl")
    score, records = rated(), [json.loads(line) for line in (tmp_path / "f.jsonl").open()]
    gaps = np.array([score[r["chosen"]] - score[r["rejected"]] for r in records])
    flipped = np.array([r["flipped"] for r in records], bool)
    assert flipped.mean() == pytest.approx(0.2, abs=0.01)
    assert (gaps[flipped] < 0).all() and (gaps[~flipped] > 0).all()
    assert abs(gaps[flipped]).min() >= gaps[~flipped].max()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--objective", "listwise", "--flip-rate", 0.1), "--objective pairwise"),
        (("--smoothing", 0.1, "--flip-rate", 0.1), "--smoothing"),
        (("--flip-rate", 0.5), "--flip-rate 0.5"),
        (("--list-loss", "listmle"), "--list-loss listmle"),
        (("--min-gap", 100), "--min-gap 100.0"),
        (("--min-gap", -1), "--min-gap -1.0"),
        (("--list-size", 1), "--list-size 1"),
        (("--valid-fraction", 1), "--valid-fraction 1"),
        (("--criterion", "glue"), "--criterion preference"),
    ],
)
def test_options_that_contradict_are_named(tmp_path, base, options, named):
    with toy.refused(named):
        runs.one_batch(arguments(write_ratings(tmp_path / "data"), tmp_path / "run", base, *options))


def test_comparisons_do_not_serve_the_other_objectives(tmp_path, base):
    with toy.refused("--objective pointwise"):
        runs.one_batch(arguments(write_pairs(tmp_path / "data"), tmp_path / "run", base, "--objective", "pointwise"))
