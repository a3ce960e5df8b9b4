"""Folders for sentence-transformers: its files, and equal vectors where it is installed."""

import json

import numpy as np
import pytest
import toy

from plugins.hub import Embedder, export_sentence_transformers

TEXTS = toy.sentences(5)


@pytest.fixture(scope="module")
def path(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data, **toy.VARIANTS["baseline"])


def exported(path, folder, **options):
    embedder = Embedder.from_pretrained(path, **options)
    export_sentence_transformers(embedder, folder)
    return embedder


def test_the_modules_of_sentence_transformers(path, tmp_path):
    pytest.importorskip("transformers")
    exported(path, tmp_path / "out", pooling="max", normalize=True)
    kinds = [row["type"].rsplit(".")[-1] for row in json.loads((tmp_path / "out" / "modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling", "Normalize"]
    pooling = json.loads((tmp_path / "out" / "1_Pooling" / "config.json").read_text())
    assert pooling["word_embedding_dimension"] == 32
    assert [name for name, on in pooling.items() if on is True] == ["pooling_mode_max_tokens"]


@pytest.mark.parametrize("options", [{}, {"pooling": "bos", "normalize": True}])
def test_its_vectors_are_equal(path, tmp_path, options):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    embedder = exported(path, tmp_path / "out", **options)
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    assert np.allclose(theirs, embedder.encode(TEXTS), atol=1e-5)


def test_a_pooling_that_it_lacks_is_named(path, tmp_path):
    embedder = Embedder.from_pretrained(path)
    embedder.head.pooling = "attention"
    with toy.refused("'attention'"):
        export_sentence_transformers(embedder, tmp_path / "out")


def test_a_character_lm_is_not_exported(tmp_path):
    embedder = Embedder.from_pretrained(toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt"))
    with toy.refused("sentence-transformers"):
        export_sentence_transformers(embedder, tmp_path / "out")
