"""Training a sentencepiece model here and in another process."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from plugins.data.text import sentencepiece_training
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


def script(monkeypatch, text, options):
    """Run the script in this process; return what it writes."""
    out = io.BytesIO()
    monkeypatch.setattr(sentencepiece_training.sys, "argv", ["x", json.dumps(options)])
    monkeypatch.setattr(sentencepiece_training.sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    monkeypatch.setattr(sentencepiece_training.sys, "stdout", io.TextIOWrapper(out))
    sentencepiece_training.main()
    return out.getvalue()


def test_the_script_reads_lines_and_writes_the_model(monkeypatch):
    assert script(monkeypatch, "\n".join(LINES) + "\n", OPTIONS) == train(LINES, OPTIONS)


@pytest.mark.parametrize(("error", "text"), [(RuntimeError("reason"), "reason"), (KeyboardInterrupt(), "interrupted")])
def test_the_script_ends_with_the_reason(monkeypatch, error, text):
    def fail(lines, options):
        raise error

    monkeypatch.setattr(sentencepiece_training, "train", fail)
    with pytest.raises(SystemExit) as ended:
        script(monkeypatch, "a", {})
    assert ended.value.code == text


def test_a_killed_process_is_an_error(monkeypatch):
    def killed(command, **pipes):
        return subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], **pipes)

    monkeypatch.setattr(sentencepiece_training, "subprocess", SimpleNamespace(Popen=killed, PIPE=subprocess.PIPE))
    with pytest.raises(RuntimeError, match=r"signal 9"):
        train_apart(LINES * 1000, OPTIONS)
