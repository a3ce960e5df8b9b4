"""Transfer between tasks: inputs of pairs, Fisher information of a real model, gains, tables, judgments."""

import numpy as np
import pytest
import torch
import toy

from plugins.data.glue import specs
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
    spec = specs.find("RTE")
    folder = transfer.shortened(str(glue), spec, "50", tmp_path)
    lines = (folder / "RTE" / "train.tsv").read_text().splitlines()
    whole = (glue / "RTE" / "train.tsv").read_text().splitlines()
    assert lines[0] == whole[0] and len(lines) == 51 and set(lines) <= set(whole)
    assert (folder / "RTE" / "dev.tsv").read_bytes() == (glue / "RTE" / "dev.tsv").read_bytes()
    assert transfer.shortened(str(glue), spec, "full", tmp_path) == glue
    with toy.refused("--sizes 99999"):
        transfer.shortened(str(glue), spec, "99999", tmp_path)


def row(source, target, score, seed=1, collapsed=False):
    return {"source": source, "target": target, "size": "full", "seed": seed, "score": score, "collapsed": collapsed}


def test_a_gain_relative_to_a_collapsed_run_is_none():
    rows = [row("direct", "a", 0.5), row("b", "a", 0.6), row("direct", "b", 0.3, collapsed=True), row("a", "b", 0.9)]
    gains = [found["gain"] for found in transfer.with_gains(rows)]
    assert gains[:2] == pytest.approx([0, 0.1])
    assert np.isnan(gains[2:]).all()
    assert "collapsed" in transfer.summary(transfer.with_gains(rows))


def test_methods_are_compared_with_the_largest_source_and_chance():
    rows = [row("direct", "t", 0.5), row("a", "t", 0.8), row("b", "t", 0.6)]
    one = {"target": "t", "method": "TextEmb", "rank": 0}
    similar = [one | {"source": "a", "score": 2}, one | {"source": "b", "score": 1}]
    found = {each["method"]: each for each in transfer.judge(similar, rows, {"a": 10, "b": 99})}
    assert found["TextEmb"]["regret_at_1"] == 0
    assert found["largest source"]["regret_at_1"] == pytest.approx(0.25)
    assert found["random"]["regret_at_1"] == pytest.approx(0.125)


def test_a_regression_has_no_classes():
    with toy.refused("--tasks STS-B"):
        transfer.spec_of("STS-B")
