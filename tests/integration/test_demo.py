"""The real demo at toy size: two models, four updates each."""

import json
import os
import signal
import time

import pytest
import toy

from plugins.jobs.job import resumable

pytestmark = pytest.mark.slow
VARIANTS = ("alibi", "zero-clap")


def start(*arguments, **options):
    return toy.start_cli([toy.ROOT / "scripts" / "demo_mlm.py", "--threads", 1, *arguments], **options)


def run(*arguments, **options):
    return toy.finish(start(*arguments, **options), timeout=600)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "small.txt"
    path.write_text("\n".join(toy.sentences(600)))  # one document, which must be cut to set some text aside
    return path


@pytest.fixture(scope="module")
def demo(text):
    """Return the options of a demo, its folder and what it printed."""
    output = text.parent / "demo"
    options = ("--updates", 4, "--data", text, "--variants", *VARIANTS, "-o", output)
    outcome = run(*options)
    assert outcome.status == 0, outcome.text
    return options, output, outcome.out


def test_a_row_for_each_model_and_one_for_scale(demo):
    lines = demo[2].splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("model "))
    rows = [line.split() for line in lines[header + 1 : header + 4]]
    assert [row[0] for row in rows] == ["(unigram)", *VARIANTS]
    assert 10 < float(rows[0][1]) < 60  # 40 words
    assert all(len(row) == 5 for row in rows[1:])
    assert all(float(row[2]) > 1 for row in rows[1:])


def test_three_sentences_are_filled_with_three_words_each(demo):
    lines = demo[2].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("masks filled by ")) + 1
    assert [line.count("<mask>") for line in lines[first : first + 6 : 2]] == [1, 1, 1]
    assert [len(line.split()) for line in lines[first + 1 : first + 6 : 2]] == [6, 6, 6]


def test_files_in_the_output_folder(demo):
    output = demo[1]
    assert (output / "validation_curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(json.loads((output / "results.json").read_text())["models"]) == list(VARIANTS)
    for name in VARIANTS:
        files = {path.name for path in (output / name).iterdir()}
        assert files >= {"checkpoint_best.pt", "dict.txt", "sentencepiece.bpe.model", "train.log"}
        assert (output / name / "train.log").read_text().startswith("$ fairseq-train ")


def test_finished_work_is_not_repeated(demo):
    options, output, out = demo
    checkpoint = output / "alibi" / "checkpoint_best.pt"
    before = checkpoint.stat().st_mtime_ns
    outcome = run(*options, real=True)
    assert outcome.status == 0, outcome.text
    assert "alibi: finished already" in outcome.out
    assert f"{output}/data exists already" in outcome.out
    assert checkpoint.stat().st_mtime_ns == before


def test_the_best_model_is_written_for_sharing(demo, tmp_path):
    options, output, _ = demo
    outcome = run(*options, "--share", tmp_path / "shared")
    assert outcome.status == 0, outcome.text
    shared = tmp_path / "shared" / "checkpoint_best.pt"
    assert str(shared) in outcome.out
    names = {path.name for path in shared.parent.iterdir()}
    assert names == {"checkpoint_best.pt", "dict.txt", "sentencepiece.bpe.model"}
    assert shared.stat().st_size < (output / "zero-clap" / "checkpoint_best.pt").stat().st_size / 2


def test_an_interrupted_run_resumes(text, demo):
    output = text.parent / "interrupted"
    options = ("--updates", 100, "--data", text, "--variants", "alibi", "-o", output)
    process = start(*options, start_new_session=True)
    while process.poll() is None and not (output / "alibi" / "checkpoint_last.pt").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)  # the demo alone, which must end its child
    outcome = toy.finish(process)
    assert outcome.status == 1
    assert outcome.err.strip().splitlines()[-1].startswith("interrupted")
    outcome = run(*options)
    assert outcome.status == 0, outcome.text
    assert "alibi: resuming, 100 updates" in outcome.out
    log = (output / "alibi" / "train.log").read_text()
    assert log.count("$ fairseq-train ") == 2
    assert "Loaded checkpoint" in log


def test_half_a_copy_of_a_checkpoint_is_replaced_by_the_whole_one(demo, tmp_path):
    whole = (demo[1] / "alibi" / "checkpoint_best.pt").read_bytes()
    (tmp_path / "checkpoint_last.pt").write_bytes(whole[: len(whole) // 2])
    assert not resumable(tmp_path)
    (tmp_path / "checkpoint_1_3.pt").write_bytes(whole)
    assert resumable(tmp_path)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("missing.txt", None, ["missing.txt"]),
        ("latin1.txt", b"one\n\ncaf\xe9\n", ["latin1.txt:3"]),
        ("other.jsonl", b'{"body": "one"}\n', ["other.jsonl:1", "'text'"]),
        ("line.txt", b"only one line", []),
    ],
)
def test_unusable_text_ends_in_one_line(tmp_path, name, content, named):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    run("--data", tmp_path / name, "-o", tmp_path / "demo").refuses(*named)
    assert not (tmp_path / "demo").exists()


def test_a_foreign_folder_is_not_deleted(text, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("mine")
    run("--data", text, "--force", "-o", tmp_path).refuses("--force", "precious")
    assert (tmp_path / "data" / "precious").read_text() == "mine"
