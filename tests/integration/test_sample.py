"""The real command line of scripts/sample.py, on a checkpoint of a character LM."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy

import plugins

ROOT = Path(__file__).parents[2]
STYLES = ["drama", "novel"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a checkpoint, as training leaves it, of a model with random weights."""
    folder = tmp_path_factory.mktemp("run")
    lm = toy.make_char_lm(sorted("\n :abcdefghרומ"), STYLES, block_size=32)
    toy.save_char_lm(lm, folder / "checkpoint_best.pt")
    return folder


def start(*arguments, **options):
    command = [sys.executable, ROOT / "scripts" / "sample.py", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, **pipes, **options)


def run(*arguments):
    """Return (exit status, what it printed, its errors)."""
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def test_one_sample_is_the_prompt_and_its_continuation(folder):
    status, out, err = run(folder, "--prompt", "abc:", "--length", 60, "--style", "drama:0.7,novel:0.3", "--seed", 5)
    assert status == 0, err
    lm = plugins.hub.load(folder)
    assert out == "abc:" + lm.sample("abc:", 60, seed=5, style={"drama": 0.7, "novel": 0.3}) + "\n"
    assert err == ""


def test_several_samples_with_nanogpts_options(folder, tmp_path):
    (tmp_path / "prompt.txt").write_text("\ufeffרומ\n", encoding="utf-8")  # the mark is dropped
    status, out, err = run(
        folder / "checkpoint_best.pt", f"--start=FILE:{tmp_path / 'prompt.txt'}", "--num_samples=3",
        "--max_new_tokens=20", "--top_k=5", "--temperature=1.0", "--seed=1", "--style", "novel",
    )  # fmt: skip
    assert status == 0, err
    options = {"temperature": 1.0, "top_k": 5, "seed": 1, "style": "novel", "n": 3}
    texts = plugins.hub.load(folder).sample("רומ\n", 20, **options)
    assert out == "---------------\n".join(f"רומ\n{text}\n" for text in texts)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--prompt", "abz"], "'z' (U+007A) at character 3"),
        (["--style", "poem"], "no style 'poem'"),
        (["--style", "drama:x"], "--style drama:x: 'drama:x' is not NAME:WEIGHT"),
        (["--start", "FILE:none.txt"], "none.txt: No such file"),
        (["--temperature", "-1"], "temperature=-1.0"),
    ],
)
def test_bad_arguments_are_one_line(folder, arguments, message):
    status, out, err = run(folder, *arguments)
    assert status == 1 and out == ""
    assert err.count("\n") == 1 and err.startswith("error: ") and message in err


def test_help_needs_nothing_heavy():
    code = f"""
import runpy, sys
sys.argv = ["sample.py", "--help"]
try:
    runpy.run_path({str(ROOT / "scripts" / "sample.py")!r}, run_name="__main__")
except SystemExit:
    print("HEAVY", "torch" in sys.modules or "fairseq" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "--style" in out and "HEAVY False" in out


def test_characters_come_as_they_are_drawn_and_a_closed_pipe_ends_it(folder):
    process = start(folder, "--prompt", "abc:", "--length", 5_000_000)
    assert process.stdout.read(14).startswith(b"abc:")  # long before it is done
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert err == b""
