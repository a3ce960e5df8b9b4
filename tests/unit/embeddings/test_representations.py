"""Representations to compare: their names, their order, and the baselines that need a model."""

import numpy as np
import pytest

from plugins.data.embedding import vectors
from plugins.embeddings import evaluation, representations

TEXTS = ["a cat and a dog", "the sea and the sky", "a dog and the sea"]
VECTORS = {"mine.pt": np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0]]), "base.pt": np.ones((3, 2))}


class Embedder:
    def __init__(self, path, pooling):
        self.path, self.pooling = path, pooling

    from_pretrained = classmethod(lambda cls, path, pooling: cls(path, pooling))

    def to(self, device):
        self.device = device
        return self

    def encode(self, texts):
        return VECTORS[self.path]

    def word_vectors(self, texts):
        return np.zeros((len(texts), 4))


@pytest.fixture(autouse=True)
def embedder(monkeypatch):
    monkeypatch.setattr(representations, "Embedder", Embedder)


def test_the_model_is_first_and_the_untuned_one_last():
    found, model = representations.of_model("mine.pt", TEXTS, "base.pt", "max", 0, "cuda:1")
    assert list(found) == ["mine", "mine, whitened (0)", "untuned"]
    assert (model.path, model.pooling, model.device) == ("mine.pt", "max", "cuda:1")
    assert found["mine"] is VECTORS["mine.pt"] and found["untuned"] is VECTORS["base.pt"]
    np.testing.assert_allclose(found["mine, whitened (0)"].mean(0), 0, atol=1e-7)


def test_a_file_of_vectors_has_no_model(tmp_path):
    stored = VECTORS["mine.pt"].astype(np.float32)
    vectors.write(tmp_path / "mine.npz", [(stored, ["a", "b", "c"], TEXTS)])
    found, model = representations.of_model(str(tmp_path / "mine.npz"), TEXTS)
    assert model is None and list(found) == ["mine"]
    np.testing.assert_array_equal(found["mine"], stored)


def test_word_vectors_need_a_model():
    assert list(representations.baselines(TEXTS, None)) == [evaluation.TFIDF]
    found = representations.baselines(TEXTS, Embedder("mine.pt", None))
    assert list(found) == [evaluation.WORDS, evaluation.TFIDF] and found[evaluation.WORDS].shape == (3, 4)


def test_texts_without_words_have_no_tfidf(caplog):
    assert representations.baselines(["a b", "?"], None) == {} and "TF-IDF" in caplog.text
