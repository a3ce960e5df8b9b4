"""The real command line of scripts/prepare_mlm.py."""

import gzip
import os
import signal
import time

import pytest
import toy


def start(*arguments, **options):
    return toy.start_cli([toy.ROOT / "scripts" / "prepare_mlm.py", *arguments], **options)


def run(*arguments, **options):
    """Return (exit status, what it printed, the last line of its errors)."""
    outcome = toy.finish(start(*arguments, **options))
    return outcome.status, outcome.out, outcome.err.strip().rsplit("\n", 1)[-1]


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
    assert status == 1
    toy.names(err, output)
    model = prepared[0] / "sentencepiece.bpe.model"
    assert run("--train", text, "--sentencepiece-model", model, "--force", "-o", output)[0] == 0
    assert contents(output) == contents(prepared[0])


def test_ctrl_c_leaves_nothing_behind(text, prepared, tmp_path):
    (tmp_path / "long.txt").write_text("\n\n".join([text.read_text()] * 100))
    model = prepared[0] / "sentencepiece.bpe.model"
    arguments = ("--train", tmp_path / "long.txt", "--sentencepiece-model", model, "-o", tmp_path / "data")
    process = start(*arguments, start_new_session=True, real=True)  # a fork has a process group of its own
    while process.poll() is None and len(list(tmp_path.iterdir())) == 1:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)  # while it writes
    outcome = toy.finish(process)
    assert (outcome.status, outcome.err.strip().rsplit("\n", 1)[-1]) == (1, "interrupted"), outcome.text
    assert [path.name for path in tmp_path.iterdir()] == ["long.txt"]


def test_calls_that_prepare_a_part_each_end_with_the_folder_of_one_call(text, prepared, tmp_path):
    model = prepared[0] / "sentencepiece.bpe.model"
    options = ("--train", text, "--sentencepiece-model", model, "--shards", 2, "--workers", 2)
    assert run(*options, "-o", tmp_path / "one")[0] == 0
    status, out, _ = run(*options, "--shard-index", 1, "-o", tmp_path / "two")
    assert (status, out.split()[:4]) == (0, ["part", "1", "of", "2"]) and not (tmp_path / "two").exists()
    status, out, _ = run(*options, "--shard-index", 0, "-o", tmp_path / "two")
    assert status == 0 and out.splitlines()[1].split()[:3] == ["train", "95", "2,850"]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_killed_call_with_shards_is_continued_and_leaves_no_process(text, prepared, tmp_path):
    (tmp_path / "long.txt").write_text("\n\n".join([text.read_text()] * 50))
    model = prepared[0] / "sentencepiece.bpe.model"
    options = ("--train", tmp_path / "long.txt", "--sentencepiece-model", model, "--shards", 9, "--workers", 2)
    assert run(*options, "-o", tmp_path / "whole")[0] == 0
    process = start(*options, "-o", tmp_path / "data", start_new_session=True, real=True)
    while process.poll() is None and not (tmp_path / "data.shards" / "00001").exists():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    toy.finish(process)
    first = (tmp_path / "data.shards" / "00000" / "train.ids").stat()
    while toy.in_session(process.pid):  # workers notice within a second
        time.sleep(0.05)
    assert first.st_size and run(*options, "-o", tmp_path / "data")[0] == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("latin1.txt", b"one\n\ncaf\xe9\n", ["latin1.txt:3", "0xe9", 8]),
        ("empty.txt", b"", ["empty.txt"]),
        ("other.jsonl", b'{"body": "one"}\n', ["other.jsonl:1", "'text'", "'body'"]),
        ("cut.txt.gz", gzip.compress(b"one\n\ntwo\n", mtime=0)[:-9], ["cut.txt.gz", "gunzip"]),
        ("latin1.txt.gz", gzip.compress(b"one\n\ncaf\xe9\n", mtime=0), ["latin1.txt.gz:3", "0xe9"]),
    ],
)
def test_unusable_files_end_the_command_in_one_line(tmp_path, name, content, named):
    (tmp_path / name).write_bytes(content)
    outcome = toy.finish(start("--train", tmp_path / name, "-o", tmp_path / "data"))
    outcome.refuses(tmp_path / named[0], *named[1:])
    assert outcome.out == ""
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_jsonl_records_become_documents(prepared, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "the cat saw\\na dog"}\n{"body": "the rain"}\n')
    model = prepared[0] / "sentencepiece.bpe.model"
    files = ("--train", tmp_path / "a.jsonl", "--valid", tmp_path / "a.jsonl", "--jsonl-key", "body")
    status, out, err = run(*files, "--sentencepiece-model", model, "-o", tmp_path / "data")
    assert status == 0, err
    assert out.splitlines()[1].split()[:3] == ["train", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--embedded", "--valid-fraction", "1.5"], ["--valid-fraction", 1.5]),
        (["--embedded", "--tokenizer", "gpt2"], ["--tokenizer gpt2", "--gpt2-dir"]),
        (["--embedded", "--workers", "0"], ["--workers", 0]),
        (["--embedded", "--vocab-size", "0"], ["--vocab-size", 0]),
        (["--embedded", "--train", "a.txt"], ["--train", "--embedded"]),
        (["--embedded", "--shards", "2"], ["--shards", "--embedded"]),
        (["--train", "a.txt", "--shards", "0"], ["--shards", 0]),
        (["--train", "a.txt", "--shard-index", "0"], ["--shard-index 0", "--shards"]),
        (["--train", "a.txt", "--shards", "2", "--shard-index", "2"], ["--shard-index 2", "--shards"]),
        (["--train", "a.txt", "--shards", "2", "--shard-index", "1"], ["--shard-index", "--sentencepiece-model"]),
        (
            "--train a.txt --shards 2 --shard-index 1 --sentencepiece-model b --deduplicate near".split(),
            ["--deduplicate", "--shard-index"],
        ),
    ],
)
def test_contradictory_options_are_refused_at_once(tmp_path, arguments, named):
    status, _, err = run(*arguments, "-o", tmp_path / "data")
    assert status == 2
    toy.names(err, *named)
