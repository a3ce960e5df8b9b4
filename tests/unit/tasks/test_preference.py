"""The task ``preference``: objectives, noise corrections, models, thresholds, and errors."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import embedding_runs as runs
import numpy as np
import pytest
import torch
import toy
from fairseq.tasks.fairseq_task import StatefulContainer

import plugins
from plugins.data.preference.rows import Preferences
from plugins.tasks import preference as task_module


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
    labeled = [{"text": t, "score": int(s > 3)} for t, s in rated(seed=2).items()]
    labels, test = (write(tmp_path / name, labeled) for name in ("labels.jsonl", "test.jsonl"))
    run_script("choose_threshold", path, labels, "--test", test, "--resamples", 50)
    assert "stored in" in capsys.readouterr().out
    scorer = plugins.hub.load(path)
    assert scorer.threshold["low"] <= scorer.threshold["threshold"] <= scorer.threshold["high"]
    assert (scorer.decide(texts) == (together > scorer.threshold["threshold"])).all()


def test_json_lines_are_not_written_into_a_table(tmp_path, run_script):
    path = write(tmp_path / "r.jsonl", [{"text": t, "score": s} for t, s in rated().items()])
    with toy.refused("f.csv", ".jsonl"):
        run_script("flip_preferences", path, "--share", 0.2, "-o", tmp_path / "f.csv")
    assert not (tmp_path / "f.csv").exists()


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
        (("--criterion", "glue"), "--criterion glue"),
    ],
)
def test_options_that_contradict_are_named(tmp_path, base, options, named):
    with toy.refused(named):
        runs.one_batch(arguments(write_ratings(tmp_path / "data"), tmp_path / "run", base, *options))


def test_comparisons_do_not_serve_the_other_objectives(tmp_path, base):
    with toy.refused("--objective pointwise"):
        runs.one_batch(arguments(write_pairs(tmp_path / "data"), tmp_path / "run", base, "--objective", "pointwise"))


def test_a_run_on_ratings_is_not_resumed_on_comparisons(tmp_path, base):
    ratings, pairs, run = write_ratings(tmp_path / "ratings"), write_pairs(tmp_path / "pairs"), tmp_path / "run"
    runs.run(arguments(ratings, run, base, updates=1))
    before = (run / "checkpoint_last.pt").read_bytes()
    with toy.refused(f"--save-dir {run}", "ratings", "comparisons", "--finetune-from-model"):
        runs.run(arguments(pairs, run, base, updates=2))
    assert (run / "checkpoint_last.pt").read_bytes() == before
    runs.run(arguments(ratings, run, base, updates=2))


def test_splits_of_ratings_and_of_comparisons_are_not_mixed(tmp_path, base):
    data = write_ratings(tmp_path / "data")
    (write_pairs(tmp_path / "pairs") / "valid.jsonl").replace(data / "valid.jsonl")
    with toy.refused(data, "train", "ratings", "valid", "comparisons"):
        runs.run(arguments(data, tmp_path / "run", base))
    assert not list((tmp_path / "run").glob("*.pt"))


# Options and rows, without a run


def options(**given):
    return SimpleNamespace(**{"min_gap": 0.5, "pairs_per_text": 4, "list_size": 8, "valid_fraction": 0.1, "seed": 3,
                              "head_dropout": 0.0, "data": "nowhere", "objective": "pairwise", "pooling": "mean",
                              "learn_flip_rate": False} | given)  # fmt: skip


@pytest.mark.parametrize("given", [
    {"min_gap": -0.1}, {"pairs_per_text": 0}, {"list_size": 1}, {"valid_fraction": 0.0}, {"valid_fraction": 1.0},
    {"head_dropout": -0.1}, {"head_dropout": 1.0},
])  # fmt: skip
def test_values_out_of_range_are_named(given):
    [(name, value)] = given.items()
    with toy.refused(f"--{name.replace('_', '-')} {value}"):
        task_module.check(options(**given))
    task_module.check(options(min_gap=0.0, pairs_per_text=1, list_size=2, head_dropout=0.5))


def loaded(monkeypatch, found, split, validated=None, **given):
    """Load a split of these rows; return the task and what the dataset was made of."""
    made = []

    def dataset(found, *more, **options):
        made.append((found, more, options))
        return SimpleNamespace(found=found)

    monkeypatch.setattr(task_module.rows, "load", lambda *given: found)
    monkeypatch.setattr(task_module, "PreferenceRows", dataset)
    task = object.__new__(task_module.PreferenceTask)
    task.cfg, task.encoder, task.longest, task.datasets = options(**given), "encoder", 40, dict(validated or {})
    task.rated, task.has_ties, task.scale, task.state = False, False, (0.0, 1.0), StatefulContainer()
    task.load_dataset(split)
    return task, made[0]


def preferences(scores=None, outcomes=(0, 1)):
    pairs = np.zeros((0, 2), int) if scores else np.array([[0, 1], [2, 0]])
    outcomes = np.array([] if scores else outcomes, int)
    ones = np.ones(len(outcomes))
    return Preferences(list("abc"), pairs, outcomes, 0 * ones, ones, None if scores is None else np.array(scores))


@pytest.mark.parametrize("objective, split, made", [
    ("pairwise", "train", "pairwise"), ("pairwise", "valid", "pointwise"), ("pointwise", "valid", "pointwise"),
    ("listwise", "train", "listwise"), ("listwise", "valid", "listwise"),
])  # fmt: skip
def test_ratings_are_compared_in_training_and_validated_one_by_one(monkeypatch, objective, split, made):
    task, (found, more, rest) = loaded(monkeypatch, preferences([1.0, 2.0, 6.0]), split, objective=objective)
    assert more == ("encoder", 40, made, 8) and rest == {"shuffle": split == "train"} and task.rated
    assert len(found.pairs) == (3 if (objective, split) == ("pairwise", "train") else 0)
    if split == "train":
        assert task.scale == (3.0, pytest.approx(2.160247)) and task.state_dict()["preference"]["scale"][0] == 3.0
        assert task.standardized(torch.tensor([3.0, 5.160247])).tolist() == pytest.approx([0, 1], abs=1e-5)
    else:
        assert task.scale == (0.0, 1.0)


def test_rows_from_which_nothing_can_be_learned_are_refused(monkeypatch):
    alone = replace(preferences([1.0, 2.0, 6.0]), groups=np.array([0, 1, 2]))
    with toy.refused("nowhere", "query"):
        loaded(monkeypatch, alone, "train", objective="listwise")
    with toy.refused("nowhere", "weight"):
        loaded(monkeypatch, replace(preferences(), weights=np.zeros(2)), "train")
    loaded(monkeypatch, alone, "valid", objective="listwise")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_negative_ratings_have_no_gains_for_lambdarank(monkeypatch, split):
    found = preferences([-1.0, 2.0, 60.0])
    loaded(monkeypatch, found, split, objective="listwise")
    monkeypatch.setattr(task_module.PreferenceTask, "list_loss", "lambdarank")
    with toy.refused("nowhere", "-1", "lambdarank"):
        loaded(monkeypatch, found, split, objective="listwise")
    loaded(monkeypatch, preferences([0.0, 2.0, 60.0]), split, objective="listwise")


def test_a_finished_checkpoint_is_validated_with_the_scale_of_its_training(monkeypatch):
    monkeypatch.setattr(task_module.TextsTask, "load_state_dict", lambda self, state: None)
    trained, _ = loaded(monkeypatch, preferences([1.0, 2.0, 6.0]), "train", objective="pointwise")
    task, _ = loaded(monkeypatch, preferences([1.0, 2.0, 9.0]), "valid", objective="pointwise")
    task.load_state_dict(trained.state_dict())
    task.load_dataset("valid")
    assert task.scale == trained.scale != (0.0, 1.0)


def test_equal_ratings_have_a_deviation_of_one(monkeypatch):
    task, _ = loaded(monkeypatch, preferences([2.0, 2.0, 2.0]), "train", objective="pointwise")
    assert task.scale == (2.0, 1.0)


@pytest.mark.parametrize("outcomes, ties", [((0, 1), False), ((0, 2), True)])
def test_ties_of_any_split_are_noted(monkeypatch, outcomes, ties):
    task, (_, more, _) = loaded(monkeypatch, preferences(outcomes=outcomes), "train")
    assert task.has_ties is ties and not task.rated and more[2] == "pairwise"
    task.has_ties = True
    task.load_dataset("valid")
    assert task.has_ties is True


def test_texts_of_both_splits_are_counted_in_a_warning(monkeypatch, caplog):
    other = SimpleNamespace(found=preferences())
    loaded(monkeypatch, preferences(), "train", {"valid": other})
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.args == ("nowhere", 3)
    caplog.clear()
    loaded(monkeypatch, preferences(), "valid", {"train": other})
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("learned, rate", [(True, 0.1), (False, 0.0)])
def test_the_head_has_the_options(learned, rate):
    task, seen = object.__new__(task_module.PreferenceTask), []
    task.cfg = options(pooling="max", head_dropout=0.25, learn_flip_rate=learned)
    task.add_head(SimpleNamespace(register_score_head=lambda *given: seen.append(given)))
    assert seen == [("max", 0.25, rate)]
