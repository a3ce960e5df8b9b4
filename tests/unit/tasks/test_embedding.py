"""The task ``embedding``: every loss on its rows, every model, errors, and reloading."""

import shutil
from types import SimpleNamespace

import embedding_runs as runs
import numpy as np
import pytest
import torch
import toy
from fairseq import tasks

import plugins
from plugins.analysis.metrics import retrieval
from plugins.criterions import text_vectors
from plugins.data.embedding import specs, vectors
from plugins.data.embedding.losses import LOSSES
from plugins.tasks import embedding as task_module


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


def test_a_teacher_of_another_width_is_refused_before_training(tmp_path, base):
    data, stored = runs.write_rows(tmp_path / "data", "texts"), tmp_path / "v.npz"
    texts = [text for split in (0, 1) for text, _ in runs.labeled(12, split)]
    vectors.write(stored, [(np.ones((len(texts), 5), np.float32), texts, texts)])
    with toy.refused(f"--teacher {stored}", "5", "32"):
        given = ("--spec", data / "spec.yaml", *start(base), "--metric-loss", "mse", "--teacher", stored)
        runs.run(runs.arguments(data, tmp_path / "run", *given))
    assert not list((tmp_path / "run").glob("*.pt"))


def test_a_model_of_a_user_needs_only_an_embedding_head(monkeypatch):
    monkeypatch.setattr(task_module.TextsTask, "build_model", lambda *given: "a model without peft_parts")
    task = object.__new__(task_module.EmbeddingTask)
    for task.loss in ("triplet", "mse"):
        assert task.build_model(None) == "a model without peft_parts" and task.width is None


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
    # Other batches round differently, so that a neighbor may change its rank, and with it the class of one text.
    assert scores == pytest.approx({name: found[name] for name in scores}, abs=1 / len(texts) + 1e-4)


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
        monkeypatch.setattr(text_vectors, "SMALL_BATCH", (small, small))
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
        (("--criterion", "glue"), "--criterion glue"),
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
        with toy.refused(f"--save-dir {run}", named, "--finetune-from-model"):
            train(kind, *more)
    train("labeled")  # the same run again
    shutil.copy(base / "checkpoint_best.pt", run / "checkpoint_last.pt")
    with toy.refused(f"--save-dir {run}", "another task", "--finetune-from-model"):
        train("labeled")


def test_hard_triplets_of_the_model_before_training_select_the_best_checkpoint(tmp_path, base):
    data, folder = runs.write_rows(tmp_path / "data", "labeled"), tmp_path / "run"
    given = (data, folder, "--spec", data / "spec.yaml", *start(base), "--best-checkpoint-metric",
             "hard_triplet_accuracy", "--no-epoch-checkpoints", "--lr", 1e-2)  # fmt: skip
    texts, labels = zip(*runs.labeled(12, 1), strict=True)
    untuned = plugins.hub.Embedder.from_pretrained(base).encode(texts)
    hard = retrieval.hard_triplets(untuned, np.unique(labels, return_inverse=True)[1])

    found = runs.run(runs.arguments(*given, updates=2))
    assert (np.load(folder / "hard_triplets.npy") == hard).all()
    tuned = plugins.hub.load(folder / "checkpoint_last.pt").encode(texts)
    assert found["hard_triplet_accuracy"] == pytest.approx(retrieval.triplet_accuracy(tuned, hard), abs=0.03)
    assert torch.load(folder / "checkpoint_best.pt")["extra_state"]["best"] == found["hard_triplet_accuracy"]

    runs.run(runs.arguments(*given, updates=4))  # resumed
    assert (np.load(folder / "hard_triplets.npy") == hard).all()
    (folder / "hard_triplets.npy").unlink()
    with toy.refused(folder / "hard_triplets.npy", "--save-dir"):
        runs.run(runs.arguments(*given, updates=6))


def test_a_causal_model_has_no_bos_pooling(tmp_path):
    source = toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt")
    with toy.refused("char.pt", "'bos'"):
        plugins.hub.Embedder.from_pretrained(source, pooling="bos")


# Options and parts, without a run

SPECS = {
    "labeled texts": specs.RowSpec("t", {}, ("a",), "c"), "pairs": specs.RowSpec("t", {}, ("a", "b")),
    "texts": specs.RowSpec("t", {}, ("a",)), "triplets with margins": specs.RowSpec("t", {}, ("a", "b", "c"), "m"),
    "labeled pairs": specs.RowSpec("t", {}, ("a", "b"), "c", ("x", "y", "z")),
    "scored pairs": specs.RowSpec("t", {}, ("a", "b"), "s", (), (1.0, 5.0)),
}  # fmt: skip


def options(**given):
    return SimpleNamespace(**{"classes_per_batch": None, "rows_per_class": None, "teacher": None, "passage_words": 32,
                              "deletion": 0.6, "glue_task": None, "spec": None, "data": "nowhere"} | given)  # fmt: skip


@pytest.mark.parametrize("loss, kind, given, named", [
    ("mse", "labeled texts", {"teacher": "v", "classes_per_batch": 2}, "--classes-per-batch"),
    ("triplet", "pairs", {"rows_per_class": 2}, "--rows-per-class"),
    ("batch_hard", "labeled texts", {"teacher": "v.npz"}, "--teacher v.npz"),
    ("mse", "texts", {}, "--teacher"), ("margin_mse", "labeled texts", {}, "--teacher"),
    ("batch_hard", "labeled texts", {"passage_words": 0}, "--passage-words 0"),
    ("denoising", "texts", {"deletion": 1.0}, "--deletion 1.0"),
    ("denoising", "texts", {"deletion": -0.1}, "--deletion -0.1"),
])  # fmt: skip
def test_options_that_the_loss_does_not_take_are_named(loss, kind, given, named):
    with toy.refused(named):
        task_module.check(options(**given), loss, LOSSES[loss], SPECS[kind])


@pytest.mark.parametrize("loss, kind, given", [
    ("batch_hard", "labeled texts", {"classes_per_batch": 2}), ("batch_hard", "labeled texts", {"rows_per_class": 2}),
    ("margin_mse", "triplets with margins", {}), ("mse", "texts", {"teacher": "v"}),
    ("denoising", "texts", {"deletion": 0.0}), ("batch_hard", "labeled texts", {"passage_words": 1}),
])  # fmt: skip
def test_options_that_the_loss_takes_are_accepted(loss, kind, given):
    task_module.check(options(**given), loss, LOSSES[loss], SPECS[kind])


@pytest.mark.parametrize("rows, workers, wrapper, refused", [
    (4, 2, "pytorch_ddp", True), (4, 2, "legacy_ddp", False), (4, 2, "no_c10d", False), (4, 1, "pytorch_ddp", False),
    (0, 2, "pytorch_ddp", False),
])  # fmt: skip
def test_slices_need_a_wrapper_that_expects_several_passes(rows, workers, wrapper, refused):
    run = SimpleNamespace(distributed_training=SimpleNamespace(distributed_world_size=workers, ddp_backend=wrapper))
    if refused:
        with toy.refused("--grad-cache-rows", "--ddp-backend legacy_ddp"):
            task_module.check_grad_cache(run, {"grad_cache_rows": rows})
    else:
        task_module.check_grad_cache(run, {"grad_cache_rows": rows})


def test_rows_are_described_by_one_option_or_are_a_folder_of_texts(tmp_path):
    with toy.refused("--glue-task", "--spec"):
        task_module.choose_spec(options(glue_task="RTE", spec="x.yaml"))
    assert task_module.choose_spec(options(glue_task="RTE")).name == "RTE"
    with toy.refused(tmp_path, "--spec"):
        task_module.choose_spec(options(data=str(tmp_path)))
    (tmp_path / "a.txt").touch()
    assert task_module.choose_spec(options(data=str(tmp_path))) == specs.of_folder()


@pytest.mark.parametrize("loss, kind, classes, decoder", [
    ("softmax", "labeled pairs", 3, 0), ("softmax", "labeled texts", 2, 0), ("denoising", "texts", 0, 50),
    ("contrastive", "labeled pairs", 0, 0),
])  # fmt: skip
def test_the_head_has_what_the_loss_needs(loss, kind, classes, decoder):
    task, seen = object.__new__(task_module.EmbeddingTask), []
    task.loss, task.spec, task.longest = loss, SPECS[kind], 50
    task.cfg = SimpleNamespace(pooling="max", normalize=True)
    task.add_head(SimpleNamespace(register_embedding_head=lambda *given: seen.append(given)))
    assert seen == [("max", True, classes, decoder)]
    assert task.settings() == {"pooling": "max", "normalize": True, "rows": SPECS[kind].plain(), "loss": loss}
    task.spec = None
    assert task.settings() == {"pooling": "max", "normalize": True}


@pytest.mark.parametrize("split, loss, kind, expected", [
    ("train", "batch_hard", "labeled texts", {"shuffle": True, "classes": (2, None), "deletion": 0.0}),
    ("valid", "batch_hard", "labeled texts", {"shuffle": False, "classes": None, "deletion": 0.0}),
    ("train", "denoising", "texts", {"shuffle": True, "classes": None, "deletion": 0.6}),
    ("train", "cosent", "scored pairs", {"shuffle": True, "classes": None, "deletion": 0.0}),
])  # fmt: skip
def test_a_split_is_loaded_with_the_options(monkeypatch, split, loss, kind, expected):
    seen = []
    labels = np.array([1.0, 5.0, 2.0])
    found = task_module.rows.TextRows([["x", "y", "z"]], labels, [], ["1", "2", "3"], 7)
    monkeypatch.setattr(task_module.rows, "load", lambda *given: seen.append(given) or found)
    monkeypatch.setattr(task_module, "EmbeddingRows", lambda *given, **more: (given, more))
    monkeypatch.setattr(task_module.vectors, "match", lambda path, texts: (path, texts))
    task = object.__new__(task_module.EmbeddingTask)
    task.loss, task.spec, task.longest, task.encoder, task.datasets = loss, SPECS[kind], 50, "encoder", {}
    task.cfg = options(classes_per_batch=2, teacher="v.npz", skip_bad_rows=True)
    (read, encoder, longest), more = task.load_dataset(split)
    assert seen == [("nowhere", SPECS[kind], split, 32, True)]
    assert (encoder, longest, more.pop("teacher")) == ("encoder", 50, ("v.npz", ["x", "y", "z"]))
    assert more == expected | {"name": f"nowhere ({split})"}
    assert read.labels.tolist() == ([0, 1, 0.25] if kind == "scored pairs" else [1, 5, 2]) and read.skipped == 7


def test_a_checkpoint_without_its_rows_is_not_validated():
    task = object.__new__(task_module.EmbeddingTask)
    task.cfg, task.spec = SimpleNamespace(data="nowhere"), None
    with toy.refused("nowhere", "scripts/evaluate_embeddings.py"):
        task.build_criterion({})
