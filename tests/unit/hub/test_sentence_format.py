"""Folders for sentence-transformers: its files, and equal vectors where it is installed."""

import json

import numpy as np
import pytest
import toy

from plugins import checkpoints
from plugins.analysis.metrics.retrieval import unit
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub import CausalLM, Embedder, export_sentence_transformers, gpt2
from plugins.models.causal_lm import CausalLanguageModel

TEXTS = [*toy.sentences(5), "river"]


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


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory):
    pytest.importorskip("transformers")
    dictionary = TokenDictionary(Characters(" .abcdefghijklmnopqrstuvwxyz"))
    size = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 8, "block_size": 48}
    model = checkpoints.new_model(CausalLanguageModel, size, dictionary)
    folder = tmp_path_factory.mktemp("gpt2") / "model"
    gpt2.write(toy.randomize(model).eval(), folder)
    return folder


@pytest.mark.parametrize("options", [{"pooling": "mean"}, {"pooling": "last", "normalize": True}])
def test_the_vectors_of_a_gpt2_are_those_of_transformers_with_the_tokens_of_its_folder(gpt2_folder, tmp_path, options):
    """Texts begin with the end-of-document symbol, are padded on the right and truncated to the model's positions."""
    import torch
    import transformers

    embedder = Embedder.of(CausalLM.from_pretrained(gpt2_folder), **options)
    export_sentence_transformers(embedder, tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        features = transformers.AutoModel.from_pretrained(tmp_path / "out")(**batch).last_hidden_state
    lengths = batch["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1 and lengths.max() == 48
    pooled = {"mean": [row[:n].mean(0) for row, n in zip(features, lengths, strict=True)],
              "last": [row[n - 1] for row, n in zip(features, lengths, strict=True)]}[options["pooling"]]  # fmt: skip
    vectors = torch.stack(pooled).numpy()
    vectors = unit(vectors) if options.get("normalize") else vectors
    assert np.allclose(vectors, embedder.encode(TEXTS), atol=1e-5)
    pooling = json.loads((tmp_path / "out" / "1_Pooling" / "config.json").read_text())
    assert [name for name, on in pooling.items() if on is True][0].startswith(f"pooling_mode_{options['pooling']}")


@pytest.mark.parametrize("options", [{"pooling": "mean"}, {"pooling": "last", "normalize": True}, {"pooling": "max"}])
def test_its_vectors_of_a_gpt2_are_equal(gpt2_folder, tmp_path, options):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    embedder = Embedder.of(CausalLM.from_pretrained(gpt2_folder), **options)
    export_sentence_transformers(embedder, tmp_path / "out")
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    assert np.allclose(theirs, embedder.encode(TEXTS), atol=1e-5)
