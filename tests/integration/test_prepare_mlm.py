"""The real command line of scripts/prepare_mlm.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(*arguments, **options):
    command = [sys.executable, ROOT / "scripts" / "prepare_mlm.py", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT, **pipes, **options)


def run(*arguments):
    """Return (exit status, what it printed, the last line of its errors)."""
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.strip().rsplit("\n", 1)[-1]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """100 documents of 30 lines: enough for several batches and a small sentencepiece model."""
    nouns = ["the cat", "a dog", "my old friend", "nobody here", "the rain"]
    verbs = ["saw", "met", "heard", "left"]
    lines = [f"{a} {verb} {b} {n} times" for n in range(30) for a in nouns for verb in verbs for b in nouns]
    documents = ["\n".join(lines[start : start + 30]) for start in range(0, 3000, 30)]
    path = tmp_path_factory.mktemp("text") / "train.txt"
    path.write_text("\n\n".join(documents))
    return path


@pytest.fixture(scope="module")
def prepared(text):
    """The data folder that one worker makes of the text, and what the command printed."""
    output = text.parent / "one"
    status, out, err = run("--train", text, "--vocab-size", 105, "--workers", 1, "-o", output)
    assert status == 0, err
    return output, out


def test_the_number_of_workers_changes_nothing(text, prepared):
    status, _, err = run("--train", text, "--vocab-size", 105, "--workers", 2, "-o", text.parent / "two")
    assert status == 0, err
    assert contents(text.parent / "two") == contents(prepared[0])


def test_each_split_is_counted(prepared):
    rows = [line.split()[:3] for line in prepared[1].splitlines()[:3]]
    assert rows == [["split", "documents", "lines"], ["train", "95", "2,850"], ["valid", "5", "150"]]


def test_only_force_replaces_a_folder(text, prepared, tmp_path):
    output = tmp_path / "data"
    output.mkdir()
    (output / "dict.txt").write_text("old 1\n")
    status, _, err = run("--train", text, "-o", output)
    assert (status, err.startswith(f"error: {output} is not empty")) == (1, True)
    model = prepared[0] / "sentencepiece.bpe.model"
    assert run("--train", text, "--sentencepiece-model", model, "--force", "-o", output)[0] == 0
    assert contents(output) == contents(prepared[0])


def test_ctrl_c_leaves_nothing_behind(text, prepared, tmp_path):
    reader, writer = os.pipe()
    model = prepared[0] / "sentencepiece.bpe.model"
    valid = f"/dev/fd/{reader}"
    arguments = ("--train", text, "--valid", valid, "--sentencepiece-model", model, "-o", tmp_path / "data")
    process = start(*arguments, start_new_session=True, pass_fds=[reader])
    os.close(reader)
    os.write(writer, b"the cat saw a dog\n" * 20_000)  # more than a pipe takes: the command has begun to read
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(writer)
    assert (process.returncode, err.strip().rsplit("\n", 1)[-1]) == (1, "interrupted")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("latin1.txt", b"one\n\ncaf\xe9\n", "latin1.txt:3: not UTF-8 (byte 0xe9 at offset 8)"),
        ("empty.txt", b"", "empty.txt: "),
        ("other.jsonl", b'{"body": "one"}\n', "other.jsonl:1: no key 'text'"),
    ],
)
def test_unusable_files_end_the_command_in_one_line(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    status, out, err = run("--train", tmp_path / name, "-o", tmp_path / "data")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {tmp_path}/{complaint}")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_jsonl_records_become_documents(prepared, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "the cat saw\\na dog"}\n{"body": "the rain"}\n')
    model = prepared[0] / "sentencepiece.bpe.model"
    files = ("--train", tmp_path / "a.jsonl", "--valid", tmp_path / "a.jsonl", "--jsonl-key", "body")
    status, out, err = run(*files, "--sentencepiece-model", model, "-o", tmp_path / "data")
    assert status == 0, err
    assert out.splitlines()[1].split()[:3] == ["train", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--embedded", "--valid-fraction", "1.5"], "--valid-fraction must lie between 0 and 1, but is 1.5"),
        (["--embedded", "--tokenizer", "gpt2"], "--tokenizer gpt2 goes with --gpt2-dir DIR"),
        (["--embedded", "--workers", "0"], "--workers must be at least 1, but is 0"),
        (["--embedded", "--vocab-size", "0"], "--vocab-size 0 is no size of a dictionary"),
        (["--embedded", "--train", "a.txt"], "argument --train: not allowed with argument --embedded"),
    ],
)
def test_contradictory_options_are_refused_at_once(tmp_path, arguments, complaint):
    status, _, err = run(*arguments, "-o", tmp_path / "data")
    assert (status, complaint in err) == (2, True)
