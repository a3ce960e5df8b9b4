"""The task ``embedding``: every loss on its rows, every model, errors, and reloading."""

import embedding_runs as runs
import numpy as np
import pytest
import torch
import toy
from fairseq import tasks

import plugins
from plugins.criterions import metric_learning
from plugins.data.embedding import vectors
from plugins.data.embedding.losses import LOSSES


@pytest.fixture(scope="module")
def base(tmp_path_factory, toy_data):
    """A folder with a masked LM that is not trained on the topics."""
    return toy.save_masked_lm(tmp_path_factory.mktemp("base"), toy_data)


def start(base):
    return "--finetune-from-model", base / "checkpoint_best.pt"


ROWS = [
    ("batch_all", "labeled"), ("batch_hard", "labeled"), ("batch_hard_soft_margin", "labeled"),
    ("batch_semi_hard", "labeled"), ("supervised_contrastive", "labeled"), ("contrastive", "labeled pairs"),
    ("online_contrastive", "labeled pairs"), ("softmax", "labeled pairs"), ("cosine_similarity", "scored pairs"),
    ("cosent", "scored pairs"), ("multiple_negatives_ranking", "pairs"), ("multiple_negatives_ranking", "triplets"),
    ("mega_batch_margin", "pairs"), ("triplet", "triplets"), ("margin_mse", "margins"), ("denoising", "texts"),
    ("multiple_negatives_ranking", "texts"),
]  # fmt: skip
OF_CLASSES = [name for name, loss in LOSSES.items() if "labeled texts" in loss.kinds and not loss.teacher]


def learn(given):
    """Return the loss of a batch, its weight, and the largest gradient of the encoder."""
    _, model, criterion, sample = runs.one_batch(given)
    loss, weight, log = criterion.train()(model.train(), sample)
    loss.backward()
    parts = model.peft_parts()
    gradients = [p.grad for p in [*parts.body.parameters(), *model.embedding_head.parameters()] if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    assert log["dead_batches"] == 0
    return float(loss), weight, max(float(gradient.abs().max()) for gradient in gradients)


@pytest.mark.parametrize(("loss", "kind"), ROWS + [(name, "labeled") for name in OF_CLASSES if name[:5] != "batch"])
def test_every_loss_has_a_gradient_on_its_rows(tmp_path, base, loss, kind):
    data = runs.write_rows(tmp_path / "data", kind)
    value, weight, gradient = learn(runs.arguments(
        data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base), "--metric-loss", loss
    ))  # fmt: skip
    assert weight > 0
    assert loss == "online_contrastive" or (value > 0 and gradient > 0)  # which may find no hard pair in a batch


@pytest.mark.parametrize("loss", ["mse", "margin_mse"])
def test_a_teacher_is_matched_by_text(tmp_path, base, loss):
    data = runs.write_rows(tmp_path / "data", "labeled")
    texts = [text for seed in (0, 1) for text, _ in runs.labeled(12, seed)][::-1]
    blocks = [(np.random.default_rng(0).normal(size=(len(texts), 32)), range(len(texts)), texts)]
    vectors.write(tmp_path / "teacher.npz", blocks)
    value, _, gradient = learn(runs.arguments(
        data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base), "--metric-loss", loss, "--teacher",
        tmp_path / "teacher.npz",
    ))  # fmt: skip
    assert value > 0 and gradient > 0


@pytest.mark.slow
def test_training_separates_topics_and_a_reload_scores_the_same(tmp_path, base):
    """The head included: an attention pooler, whose weights are in the checkpoint."""
    data = runs.write_rows(tmp_path / "data", "labeled")
    found = runs.run(runs.arguments(
        data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base), "--pooling", "attention", "--batch-size",
        24, "--lr", 1e-2, updates=30,
    ))  # fmt: skip
    assert found["knn_accuracy"] > 0.7  # chance: a third
    embedder = plugins.hub.load(tmp_path / "run" / "checkpoint_last.pt")
    assert embedder.head.attention.weight.abs().max() > 0
    texts, labels = zip(*runs.labeled(12, 1), strict=True)
    from plugins.analysis.metrics.embedding import labeled

    scores = labeled(embedder.encode(texts), np.unique(labels, return_inverse=True)[1])
    assert scores == pytest.approx({name: found[name] for name in scores}, abs=1e-3)


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, base):
    data = runs.write_rows(tmp_path / "data", "labeled")
    given = ["--spec", data / "spec.yaml", *start(base), "--max-epoch", 2]
    runs.run(runs.arguments(data, tmp_path / "whole", *given, updates=8))
    for updates in (3, 8):
        runs.run(runs.arguments(data, tmp_path / "parts", *given, updates=updates))
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)["model"] for name in ("whole", "parts")
    )
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


def shards(given, count, epoch, start=0):
    """Return the batches (arrays of row numbers) of each of ``count`` workers in an epoch."""
    cfg = runs.config(given)
    task = tasks.setup_task(cfg.task)
    task.build_model(cfg.model)
    data = task.load_dataset("train")
    found = []
    for worker in range(count):
        batches = task.get_batch_iterator(
            data, max_sentences=8, seed=1, num_shards=count, shard_id=worker, epoch=epoch, num_workers=0
        )
        if start:
            state = {"epoch": epoch, "iterations_in_epoch": start, "shuffle": True, "version": 2}
            batches.load_state_dict(state)
        found.append([batch["id"].numpy() for batch in batches.next_epoch_itr(shuffle=True) if batch])
    return data.labels, found


def test_workers_share_an_epoch_and_each_of_their_batches_has_two_classes(tmp_path, base):
    data = runs.write_rows(tmp_path / "data", "labeled", count=13)
    given = runs.arguments(data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base))
    labels, whole = shards(given, 1, epoch=1)
    _, (first, second) = shards(given, 2, epoch=1)
    for batch in first + second:
        assert (np.unique(labels[batch], return_counts=True)[1] >= 2).sum() >= 2
    assert sorted(tuple(sorted(batch)) for batch in first + second) == sorted(tuple(sorted(b)) for b in whole[0])
    assert set(np.concatenate(first + second)) == set(range(39))
    _, other = shards(given, 2, epoch=2)
    assert any((a.shape != b.shape or (a != b).any()) for a, b in zip(first, other[0], strict=False))


def test_a_resumed_worker_continues_with_the_batches_that_are_left(tmp_path, base):
    data = runs.write_rows(tmp_path / "data", "labeled", count=13)
    given = runs.arguments(data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base))
    _, whole = shards(given, 2, epoch=3)
    _, rest = shards(given, 2, epoch=3, start=1)
    for before, after in zip(whole, rest, strict=True):
        assert [batch.tolist() for batch in after] == [batch.tolist() for batch in before[1:]]


def test_batches_with_a_single_class_have_zero_loss_and_gradient(tmp_path, base):
    """The sampler of sentence-transformers made them until 2026 (issue 2920): here they count, with a zero gradient."""
    data = runs.write_rows(tmp_path / "data", "labeled")
    for loss in OF_CLASSES:
        if loss == "denoising":  # which does not compare rows
            continue
        given = runs.arguments(
            data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base), "--metric-loss", loss
        )
        _, model, criterion, _ = runs.one_batch(given)
        rows = criterion.task.datasets["train"]
        sample = rows.collater(np.flatnonzero(rows.labels == 0)[:8].tolist())
        value, weight, log = criterion.train()(model.train(), sample)
        value.backward()
        assert (float(value), weight, log["dead_batches"]) == (0, 0, 1), loss
        assert all(p.grad is None or not p.grad.any() for p in model.parameters()), loss


def test_slices_by_length_and_grad_cache_give_the_gradients_of_the_whole_batch(tmp_path, base, monkeypatch):
    data, gradients = runs.write_rows(tmp_path / "data", "pairs"), []
    _, model, criterion, sample = runs.one_batch(runs.arguments(
        data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base), "--metric-loss",
        "multiple_negatives_ranking", "--dropout", 0, "--attention-dropout", 0,
    ))  # fmt: skip
    torch.manual_seed(0)
    for _, parameter in sorted(model.named_parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    for rows, small in ((0, 10**6), (3, 10**6), (0, 1)):
        monkeypatch.setattr(metric_learning, "SMALL_BATCH", (small, small))
        criterion.cfg.grad_cache_rows = rows
        model.zero_grad()
        criterion.train()(model.train(), sample)[0].backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    for name, whole in gradients[0].items():
        for sliced in gradients[1:]:
            torch.testing.assert_close(sliced[name], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("peft", ["none", "lora"])
def test_a_character_lm_is_tuned_by_mean_or_last_token(tmp_path, pooling, peft):
    characters = sorted({c for words in runs.TOPICS.values() for word in words for c in word} | {" "})
    history = [{"criterion_name": "x", "optimizer_name": "y", "lr_scheduler_state": {}, "num_updates": 1}]
    more = {"optimizer_history": history, "extra_state": {"train_iterator": {"epoch": 1}}}
    source = toy.save_char_lm(toy.make_char_lm(characters, block_size=64), tmp_path / "char.pt", **more)
    data = runs.write_rows(tmp_path / "data", "labeled")
    given = [value for value in runs.arguments(data, tmp_path / "run", updates=2) if value]
    at = given.index("--arch")
    given[at : at + 10] = ["--arch", "char_lm"]
    runs.run([*given, "--spec", str(data / "spec.yaml"), "--finetune-from-model", str(source), "--pooling", pooling,
              "--peft", peft])  # fmt: skip
    embedder = plugins.hub.load(tmp_path / "run" / "checkpoint_last.pt")
    found = embedder.encode(["wave boat", "tree"])
    assert found.shape == (2, 16) and embedder.head.pooling == pooling
    assert np.allclose(found[1], embedder.encode("tree"), atol=1e-5)


# Refused options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--metric-loss", "triplet", "--kind", "pairs"), "--metric-loss triplet"),
        (("--margin", 1), "--margin 1.0"),
        (("--metric-loss", "batch_hard", "--margin", 3, "--normalize"), "--margin 3.0"),
        (("--metric-loss", "cosent", "--kind", "scored pairs", "--distance", "cosine"), "--distance cosine"),
        (("--classes-per-batch", 9), "--classes-per-batch 9"),
        (("--rows-per-class", 1), "--rows-per-class 1"),
        (("--batch-size", 3), "--batch-size 3"),
        (("--metric-loss", "mse"), "--teacher"),
        (("--teacher", "nowhere.npz"), "--teacher nowhere.npz"),
        (("--glue-task", "RTE"), "--glue-task"),
        (("--symmetric",), "--symmetric"),
        (("--deletion", 1), "--deletion 1.0"),
        (("--criterion", "glue"), "--criterion metric_learning"),
    ],
)
def test_options_that_contradict_are_named(tmp_path, base, options, named):
    options = list(options)
    kind = options.pop(options.index("--kind") + 1) if "--kind" in options else "labeled"
    options = [option for option in options if option != "--kind"]
    data = runs.write_rows(tmp_path / "data", kind)
    with toy.refused(named):
        runs.run(runs.arguments(data, tmp_path / "run", "--spec", data / "spec.yaml", *start(base), *options))
    assert not list((tmp_path / "run").glob("*.pt"))


def test_a_run_of_other_rows_or_another_loss_is_not_resumed(tmp_path, base):
    data, run = {kind: runs.write_rows(tmp_path / kind, kind) for kind in ("labeled", "pairs")}, tmp_path / "run"

    def train(kind, *more):
        given = (data[kind], run, "--spec", data[kind] / "spec.yaml", *start(base), "--disable-validation", *more)
        runs.train.main(runs.config(runs.arguments(*given, updates=1)))

    train("labeled")
    for kind, more, named in (("pairs", ("--metric-loss", "mega_batch_margin"), "pairs"),
                              ("labeled", ("--metric-loss", "batch_all"), "batch_all"),
                              ("labeled", ("--normalize",), "normalize")):  # fmt: skip
        with toy.refused(f"--save-dir {run}", named, "--finetune-from"):
            train(kind, *more)
    train("labeled")  # the same run again


def test_a_causal_model_has_no_bos_pooling(tmp_path):
    source = toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt")
    with toy.refused("char.pt", "'bos'"):
        plugins.hub.Embedder.from_pretrained(source, pooling="bos")
