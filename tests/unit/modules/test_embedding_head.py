"""Text embeddings from features, and the decoder that reconstructs a text from its embedding."""

import pytest
import torch
import torch.nn.functional as F

from plugins.modules.embedding_head import EmbeddingHead, TextDecoder, VectorPrompt
from plugins.modules.pooler import EMBEDDING_POOLERS, pool

WORDS, WIDTH = 9, 8


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", EMBEDDING_POOLERS)
def test_the_features_of_each_text_are_pooled_without_padding(pooling, normalize):
    head, features, lengths = EmbeddingHead(WIDTH, pooling, normalize), torch.randn(3, 5, WIDTH), [5, 3, 1]
    if head.attention is not None:
        torch.nn.init.normal_(head.attention.weight)
    found = head(features, torch.tensor(lengths))
    for row, length, one in zip(features, lengths, found, strict=True):
        expected = pool(row[None, :length], None, pooling, head.attention)[0]
        torch.testing.assert_close(one, F.normalize(expected, dim=0) if normalize else expected)


def test_the_classifier_reads_three_vectors():
    assert EmbeddingHead(WIDTH, classes=4).classifier.weight.shape == (4, 3 * WIDTH)
    assert EmbeddingHead(WIDTH).classifier is None and EmbeddingHead(WIDTH).decoder is None


def test_the_decoder_predicts_each_token_but_the_first_from_the_embedding_and_the_tokens_before_it():
    torch.manual_seed(0)
    decoder = TextDecoder(torch.nn.Parameter(torch.randn(WORDS, WIDTH)), 6, heads=2, layers=2).eval()
    embeddings, tokens, lengths = torch.randn(3, WIDTH), torch.randint(WORDS, (3, 5)), torch.tensor([5, 3, 1])
    loss, count = decoder(embeddings, tokens, lengths)
    assert decoder.body.prompt is None
    expected = 0.0
    for vector, text, length in zip(embeddings, tokens, lengths, strict=True):
        for end in range(1, int(length)):
            decoder.body.prompt = VectorPrompt(vector[None])
            logits = decoder.body(text[None, :end])[0, -1] @ decoder.body.wte.weight.T
            decoder.body.prompt = None
            expected += F.cross_entropy(logits, text[end]).item()
    assert count == 6 and loss.item() == pytest.approx(expected, rel=1e-4)
    assert len(decoder.body.h) == 2


def test_the_decoder_shares_the_table_of_the_encoder_and_starts_small():
    table = torch.nn.Parameter(torch.randn(WORDS, WIDTH))
    decoder = TextDecoder(table, 6, heads=4)
    assert decoder.body.wte.weight is table and decoder.body.block_size == 6 and decoder.body.heads == 4
    assert decoder.body.h[0].mlp.c_fc.weight.shape == (4 * WIDTH, WIDTH)
    assert decoder.body.h[0].mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_a_vector_is_inserted_before_each_text_and_removed():
    prompt, x = VectorPrompt(torch.ones(2, WIDTH, dtype=torch.float64)), torch.zeros(2, 3, WIDTH)
    longer = prompt.insert(x)
    assert len(prompt) == 1 and longer.shape == (2, 4, WIDTH) and longer.dtype == torch.float32
    assert longer[:, 0].eq(1).all() and torch.equal(prompt.remove(longer), x)
