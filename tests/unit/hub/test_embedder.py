"""Texts to vectors: order, padding, poolings, streams, half precision, and the models that there are."""

import numpy as np
import pytest
import torch
import toy

import plugins
from plugins.data.embedding.specs import POOLINGS
from plugins.hub import Embedder, language_model_of
from plugins.modules.distances import normalize
from plugins.modules.embedding_head import EmbeddingHead
from plugins.modules.pooler import EMBEDDING_POOLERS

TEXTS = toy.sentences(9) + ["river", "the river near the garden near the window near the island ."]


@pytest.fixture(scope="module")
def path(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data)


@pytest.fixture(scope="module")
def embedder(path):
    return Embedder.from_pretrained(path)


def test_the_mean_of_the_features_of_the_tokens(path, embedder):
    lm = plugins.hub.load(path)
    features = lm.extract_features(lm.encode(TEXTS[0]))[0]
    assert np.allclose(embedder.encode(TEXTS[0]), features.mean(0).detach().numpy(), atol=1e-5)


def test_order_and_batch_size_make_no_difference(embedder):
    whole = embedder.encode(TEXTS)
    assert whole.shape == (11, 32) and whole.dtype == np.float32
    assert np.allclose(embedder.encode(TEXTS, batch_size=2), whole, atol=1e-5)
    assert np.allclose(embedder.encode(TEXTS[::-1])[::-1], whole, atol=1e-5)


def test_no_batch_is_padded_beyond_its_longest_text(embedder, monkeypatch):
    seen, forward = [], embedder.model.forward
    spy = lambda tokens, **more: seen.append(tokens) or forward(tokens, **more)  # noqa: E731
    monkeypatch.setattr(embedder.model, "forward", spy)
    embedder.encode(TEXTS, batch_size=4)
    assert all((tokens != embedder.encoder.pad).any(0).all() for tokens in seen)
    assert [tokens.size(1) for tokens in seen] == sorted((tokens.size(1) for tokens in seen), reverse=True)


def test_a_stream_is_not_read_into_memory(embedder, monkeypatch):
    monkeypatch.setattr(plugins.hub.embedder, "TEXTS_AT_ONCE", 3)
    taken = []
    texts = (taken.append(text) or text for text in TEXTS)
    vectors, block = next(embedder.stream(texts))
    assert (len(vectors), block, len(taken)) == (3, TEXTS[:3], 3)
    assert np.allclose(embedder.encode(iter(TEXTS)), embedder.encode(TEXTS), atol=1e-5)


def test_normalized_vectors_have_length_one(embedder):
    assert np.allclose(np.linalg.norm(embedder.encode(TEXTS, normalize=True), axis=1), 1, atol=1e-5)


def test_similarity_takes_texts_and_vectors(embedder):
    found = embedder.similarity(TEXTS, embedder.encode(TEXTS[:2]))
    assert found.shape == (11, 2) and found[0, 0] == pytest.approx(1, abs=1e-5)


def test_bfloat16_is_close(path):
    embedder = Embedder.from_pretrained(path)
    whole = embedder.encode(TEXTS)
    half = embedder.to(dtype=torch.bfloat16).encode(TEXTS)
    assert half.dtype == np.float32
    assert (np.linalg.norm(half - whole, axis=1) / np.linalg.norm(whole, axis=1)).max() < 0.05


def test_layers_end_with_the_embedding(embedder):
    found = embedder.layers(TEXTS, poolings=("mean", "max"))
    assert found["mean"].shape == found["max"].shape == (2, 11, 32)
    assert np.allclose(found["mean"][-1], embedder.encode(TEXTS), atol=1e-4)


def test_word_vectors_are_means_of_rows_of_the_table(embedder):
    assert embedder.word_vectors(["river river"]) == pytest.approx(embedder.word_vectors(["river"]), abs=1e-5)


def test_no_texts_give_no_rows(embedder):
    assert embedder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("pooling", ["bos", "max", "last"])
def test_an_untuned_model_accepts_any_pooling_without_parameters(path, pooling):
    assert Embedder.from_pretrained(path, pooling).encode(TEXTS).shape == (11, 32)


@pytest.mark.parametrize("pooling", ["attention", "sum"])
def test_an_impossible_pooling_is_named(path, pooling):
    with toy.refused(f"'{pooling}'"):
        Embedder.from_pretrained(path, pooling)


def test_an_unknown_character_is_named_with_its_text(tmp_path):
    embedder = Embedder.from_pretrained(toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt"))
    assert embedder.encode(["abc", "de"]).shape == (2, 16)
    with toy.refused("row 2", "'z'"):
        embedder.encode(["abc", "xyz"[::-1]])


def test_the_names_of_poolings_are_those_of_the_modules():
    assert POOLINGS == EMBEDDING_POOLERS


def test_tools_get_the_language_model_of_an_embedder_only_for_its_attention(embedder):
    assert language_model_of(embedder, "x.pt", predicts=False) is embedder.lm
    assert language_model_of(embedder.lm, "x.pt") is embedder.lm
    with toy.refused("x.pt", "--task embedding"):
        language_model_of(embedder, "x.pt")


def test_the_head_of_a_plugin_pools_where_its_pooling_is_asked_for(path):
    class First(EmbeddingHead):
        def forward(self, features, lengths):
            return normalize(features[:, 0]) if self.normalize else features[:, 0]

    lm = plugins.hub.load(path)
    vectors = {pooling: Embedder.of(lm, pooling).encode(TEXTS) for pooling in ("bos", "mean", "max")}
    lm.model.embedding_head = First(lm.model.peft_parts().table.weight.size(1), "mean")
    assert np.allclose(Embedder.of(lm, "mean").encode(TEXTS), vectors["bos"], atol=1e-6)
    assert np.allclose(Embedder.of(lm, "max").encode(TEXTS), vectors["max"], atol=1e-6)
    assert not np.allclose(vectors["bos"], vectors["mean"], atol=1e-3)
    assert np.allclose(np.linalg.norm(Embedder.of(lm, "mean", True).encode(TEXTS), axis=1), 1, atol=1e-5)
