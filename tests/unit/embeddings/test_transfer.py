"""Transfer between tasks: inputs of pairs, Fisher information of a real model, shortened data, tasks of YAML files."""

import numpy as np
import pytest
import torch
import toy

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
    with toy.refused("--sizes 99999"):
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
