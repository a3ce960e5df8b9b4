"""Training a sentencepiece model here and in another process."""

import pytest

from plugins.data.text.sentencepiece_training import train, train_apart

LINES = ["the cat sat on the mat", "a dog met a cat", "café ☃"] * 20
OPTIONS = {"vocab_size": 30, "minloglevel": 2, "num_threads": 1, "hard_vocab_limit": False}


def test_another_process_gives_the_same_model():
    assert train_apart(LINES, OPTIONS) == train(LINES, OPTIONS)


@pytest.mark.parametrize("trained", [train, train_apart])
def test_errors_are_those_of_sentencepiece(trained):
    with pytest.raises(RuntimeError, match="Vocabulary size"):
        trained(LINES, OPTIONS | {"vocab_size": 30_000, "hard_vocab_limit": True})


def test_an_interrupted_caller_ends_the_process():
    def interrupted():
        yield "a line"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_apart(interrupted(), OPTIONS)
