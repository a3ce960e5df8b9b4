"""Transfer between tasks: inputs of pairs, Fisher information of a real model, shortened data, tasks of YAML files."""

import json

import numpy as np
import pytest
import torch
import toy

from plugins.data.glue import reader
from plugins.embeddings import transfer
from plugins.hub import Embedder


@pytest.fixture(scope="module")
def embedder(tmp_path_factory, toy_data):
    return Embedder.from_pretrained(toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data))


def test_two_texts_are_joined_as_the_models_own_fine_tuning_joins_them(embedder):
    one, two = (embedder.encoder(text, 99).tolist() for text in ("the river", "a garden"))
    joined = transfer.input_of(embedder, ["the river", "a garden"]).tolist()
    assert joined == [*one, embedder.encoder.after[0], *two[1:]]
    assert transfer.input_of(embedder, ["the river"]).tolist() == one


def test_the_information_of_the_layers_is_finite_and_leaves_the_head_out(embedder):
    draw = np.random.default_rng(0)
    ids = [transfer.input_of(embedder, [text]) for text in toy.sentences(12)]
    with torch.no_grad():
        vectors = np.stack([embedder.head(*transfer.features_of(embedder, row))[0].numpy() for row in ids])
    found = transfer.fisher(embedder, transfer.Features(ids, draw.permutation(np.arange(12) % 2), vectors))
    assert all(name.startswith("layers.") for name in found)
    assert all(np.isfinite(array).all() and (array >= 0).all() for array in found.values())
    assert found["layers.0.fc1.weight"].max() > 0


def test_a_training_file_is_shortened_at_random_and_its_validation_rows_stay(tmp_path, glue):
    task = transfer.task_of("RTE", glue)
    folder = transfer.shortened(task, "50", tmp_path)
    lines = (folder / "train.tsv").read_text().splitlines()
    whole = (glue / "RTE" / "train.tsv").read_text().splitlines()
    assert lines[0] == whole[0] and len(lines) == 51 and set(lines) <= set(whole)
    assert (folder / "dev.tsv").read_bytes() == (glue / "RTE" / "dev.tsv").read_bytes()
    assert transfer.shortened(task, "full", tmp_path) == glue
    with toy.refused("train.tsv", "99999"):
        transfer.shortened(task, "99999", tmp_path)


def test_a_regression_has_no_classes():
    with toy.refused("--tasks STS-B"):
        transfer.task_of("STS-B", "glue")


def test_a_task_of_a_yaml_file_has_its_data_next_to_it_or_in_the_glue_folder(tmp_path):
    files = "name: mood\nfiles: {train: train.tsv, valid: dev.tsv}\n"
    (tmp_path / "mood.yaml").write_text(files + "text: a\nlabel: b\nlabels: [x, y]\nmetrics: [accuracy]\n")
    path = str(tmp_path / "mood.yaml")
    elsewhere = transfer.task_of(path, "glue")
    assert (str(elsewhere.data), elsewhere.named) == ("glue", ("--spec", path))
    (tmp_path / "train.tsv").write_text("a\tb\n")
    assert transfer.task_of(path, "glue").data == tmp_path


@pytest.mark.parametrize("place", [{"files": {"train": "own/a.csv", "valid": "own/b.csv"}}, {"folders": ["own"]}])
def test_the_data_next_to_a_yaml_file_may_be_in_a_folder(tmp_path, place):
    content = {
        "name": "t", "files": {"train": "a.csv", "valid": "b.csv"}, "text": "s", "label": "l", "labels": ["0", "1"],
        "metrics": ["accuracy"],
    }  # fmt: skip
    (tmp_path / "t.yaml").write_text(json.dumps(content | place))
    (tmp_path / "own").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "own" / name).write_text('s,l\n"a\nb",0\n"c, d",1\n')
    task = transfer.task_of(str(tmp_path / "t.yaml"), "glue")
    assert task.data == tmp_path
    folder = transfer.shortened(task, "2", tmp_path / "out")
    for split in ("train", "valid"):  # as a run reads them
        found = reader.read(reader.locate(folder, task.spec, split), task.spec, split)
        assert found.texts == [["a\nb", "c, d"]] and found.labels.tolist() == [0, 1]


def test_sources_are_ranked_for_each_target_and_method():
    text = {"a": np.array([1.0, 0]), "b": np.array([1.0, 1]), "c": np.array([0.0, 1])}
    fishers = {name: {"layers.0.fc1.weight": np.array(values)} for name, values in
               (("a", [1.0, 2]), ("b", [2.0, 1]), ("c", [1.0, 2]))}  # fmt: skip
    rows = transfer.similarity_rows(text, fishers)
    found = {(row["method"], row["target"], row["source"]): (row["score"], row["rank"]) for row in rows}
    assert len(rows) == len(found) == 3 * 6
    assert found["TextEmb", "a", "b"] == (pytest.approx(0.5**0.5), 1) and found["TextEmb", "a", "c"] == (0, 2)
    assert found["TaskEmb, mean cosine", "a", "c"] == (pytest.approx(1), 1)
    assert found["TaskEmb, mean cosine", "a", "b"] == (pytest.approx(0.8), 2)
    assert found["TaskEmb", "a", "c"][1] == 1


def toy_task(folder, name, rows):
    (folder / f"{name}.yaml").write_text(
        f"name: {name}\nfiles: {{train: {name}.tsv, valid: {name}-dev.tsv}}\ntext: a\nlabel: b\nlabels: [x, y]\n"
        "metrics: [accuracy]\n"
    )
    for file in (f"{name}.tsv", f"{name}-dev.tsv"):
        (folder / file).write_text("a\tb\n" + "".join(f"word {i}\t{'xy'[i % 2]}\n" for i in range(rows)))
    return transfer.task_of(str(folder / f"{name}.yaml"), str(folder))


def test_every_target_is_trained_from_every_source_and_directly(tmp_path, monkeypatch):
    tasks = {name: toy_task(tmp_path, name, rows) for name, rows in (("one", 6), ("two", 8))}
    assert {name: transfer.count_rows(task) for name, task in tasks.items()} == {"one": 6, "two": 8}
    stages, checked = [], []
    base = tmp_path / "base.pt"
    base.write_text("weights")

    class Runner:
        def __init__(self, folder, resources, total):
            stages.append((folder, resources, total))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def done(self, jobs):
            assert not list(tmp_path.glob("data-*"))  # the data of other runs would be replaced
            checked.extend(jobs)

        def run(self, jobs):
            stages.append({job.name: job for job in jobs})
            return {job.name: {"score": len(job.name) / 100, "collapsed": False} for job in jobs}

    monkeypatch.setattr(transfer, "Runner", Runner)
    found = transfer.matrix(tasks, ["full", "4"], 2, str(base), ["--cpu"], 30, tmp_path, "resources")
    folder, sources, runs = stages
    assert folder == (tmp_path / "runs", "resources", 2 + 2 * 2 * 2 * 2)
    assert list(sources) == ["source-one", "source-two"]
    assert len(runs) == len(found) == 2 * 2 * 2 * 2
    start = lambda job: job.command[job.command.index("--finetune-from-model") + 1]  # noqa: E731
    assert start(sources["source-one"]) == start(runs["direct-to-two-full-seed1"]) == str(base)
    assert checked == [*sources.values(), *runs.values()]
    assert runs["one-to-two-4-seed2"].key()["data"] != runs["two-to-one-4-seed2"].key()["data"]
    tuned = runs["one-to-two-4-seed2"]
    assert start(tuned) == str(tmp_path / "runs" / "source-one" / "checkpoint_last.pt")
    assert tuned.command[1] == str(tmp_path / "data-4" / "two") == tuned.finish.glue_dir
    assert tuned.command[tuned.command.index("--seed") + 1] == "2" and "--cpu" in tuned.command
    assert len((tmp_path / "data-4" / "two" / "two.tsv").read_text().splitlines()) == 1 + 4
    row = next(
        row for row in found if (row["source"], row["target"], row["size"], row["seed"]) == ("one", "two", "4", 2)
    )
    assert row["gain"] == pytest.approx((len("one-to-two-4-seed2") - len("direct-to-two-4-seed2")) / 100)


def test_rows_are_drawn_by_the_seed_and_their_vectors_are_those_of_the_inputs(embedder, tmp_path):
    task, texts = toy_task(tmp_path, "one", 9), toy.sentences(9)
    (tmp_path / "one.tsv").write_text("a\tb\n" + "".join(f"{text}\t{'xy'[i % 2]}\n" for i, text in enumerate(texts)))
    found = transfer.features(embedder, task, 4)
    again, other = transfer.features(embedder, task, 4), transfer.features(embedder, task, 99, seed=2)
    assert len(found.ids) == len(found.labels) == 4 and found.vectors.shape[0] == 4 and len(other.ids) == 9
    assert [row.tolist() for row in found.ids] == [row.tolist() for row in again.ids]
    every = {tuple(transfer.input_of(embedder, [text]).tolist()): i for i, text in enumerate(texts)}
    assert [every[tuple(row.tolist())] % 2 for row in found.ids] == found.labels.tolist()
    with torch.no_grad():
        expected = embedder.head(*transfer.features_of(embedder, found.ids[2]))[0].numpy()
    np.testing.assert_allclose(found.vectors[2], expected, atol=1e-6)


def test_rows_of_one_class_are_refused(embedder, tmp_path):
    with toy.refused("--rows", "one"):
        transfer.features(embedder, toy_task(tmp_path, "one", 9), 1)


def test_a_class_with_too_few_rows_for_the_probe_is_named(tmp_path):
    task = toy_task(tmp_path, "one", 9)
    rows = {count: transfer.Features([], np.array([0] * 5 + [1] * count), np.zeros((5 + count, 2))) for count in (4, 5)}
    transfer.check_classes(task, rows[5])
    with toy.refused("one", "4 of 9", repr(task.spec.labels[1]), "--rows"):
        transfer.check_classes(task, rows[4])


def test_two_texts_share_the_longest_input(embedder):
    long = "the river garden winter " * 200
    assert len(transfer.input_of(embedder, [long])) == embedder.longest
    assert embedder.longest - 2 <= len(transfer.input_of(embedder, [long, long])) <= embedder.longest


def test_classes_may_be_three_and_have_other_ids(embedder):
    ids = [transfer.input_of(embedder, [text]) for text in toy.sentences(9)]
    vectors = np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32)
    given = transfer.Features(ids, np.array([0, 2, 5] * 3), vectors)
    same = transfer.Features(ids, np.array([0, 1, 2] * 3), vectors)
    found, expected = transfer.fisher(embedder, given), transfer.fisher(embedder, same)
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-9)
    twice = transfer.fisher(embedder, transfer.Features(ids, given.labels, 2 * vectors))
    weight = "layers.0.fc1.weight"
    np.testing.assert_allclose(twice[weight].sum(), found[weight].sum() / 4, rtol=0.5)


def test_a_file_without_a_header_keeps_its_first_row_as_one(tmp_path, glue):
    task = transfer.task_of("CoLA", glue)
    folder = transfer.shortened(task, "20", tmp_path)
    lines = (folder / "train.tsv").read_text().splitlines()
    whole = (glue / "CoLA" / "train.tsv").read_text().splitlines()
    assert len(lines) == 20 and [line for line in whole if line in set(lines)][:1] == lines[:1]
    assert folder == tmp_path / "data-20" / "CoLA"
    other = transfer.shortened(task, "20", tmp_path / "other", seed=2)
    assert (other / "train.tsv").read_text() != (folder / "train.tsv").read_text()


def test_as_many_rows_as_there_are_can_be_asked_for(tmp_path):
    task = toy_task(tmp_path, "one", 6)
    folder = transfer.shortened(task, "6", tmp_path / "out")
    assert (folder / "one.tsv").read_text() == (tmp_path / "one.tsv").read_text()
    with toy.refused("one.tsv", "6 rows", "7"):
        transfer.shortened(task, "7", tmp_path / "out")


def test_the_command_of_a_run(tmp_path):
    task = toy_task(tmp_path, "one", 6)
    job = transfer.job("n", task, tmp_path, "base.pt", ["--cpu"], 30, 2)
    start, run = ["fairseq-train", tmp_path, "--spec", tmp_path / "one.yaml"], ["--seed", 2, "--max-update", 30]
    assert list(job.command) == list(map(str, [*start, "--finetune-from-model", "base.pt", *run, "--cpu"]))
    assert (job.name, job.updates, job.finish) == ("n", 30, transfer.TransferScore(str(tmp_path)))
    assert job.key() != transfer.job("n", task, tmp_path, "base.pt", ["--cpu"], 30, 2, "other data").key()


def test_scores_of_features_without_training():
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    near, far = (
        transfer.scores_of(transfer.Features([], labels, random.normal(size=(40, 3)) + gap * labels[:, None]))
        for gap in (0.1, 5)
    )
    assert list(near) == list(transfer.transferability.SCORES) and all(far[name] > near[name] for name in near)
