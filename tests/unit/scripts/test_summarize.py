"""scripts/summarize.py: its command line, and a reader that closes the pipe."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "summarize.py"


@pytest.fixture
def script(load_script):
    return load_script("summarize")


@pytest.mark.parametrize("more", [["--beam", "4"], ["--separator", "TL;DR:"], ["--top-p", "0.9"], ["--force", "word"]])
def test_options_of_a_model_are_refused_where_sentences_are_copied(script, capsys, more):
    assert script.parse_args(["lead-3", "x.csv", "--limit", "2", "-o", "out"]).limit == 2
    with pytest.raises(SystemExit):
        script.parse_args(["lead-3", "x.csv", *more])
    assert f"{more[0]} has no effect on lead-3" in capsys.readouterr().err
    assert script.parse_args(["model.pt", "x.csv", *more])


def test_the_number_of_copied_sentences_is_below_a_billion(script):
    assert [script.lead(name) for name in ("lead-3", "lead-0", "lead-" + 20 * "9", "model.pt")] == [3, 0, 0, 0]


@pytest.mark.slow
def test_a_closed_output_pipe_is_not_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text((json.dumps({"article": "word " * 100}) + "\n") * 500)
    command, pipe = [sys.executable, SCRIPT, "lead-1", path], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=SCRIPT.parents[1]) as done:
        assert done.stdout.readline()
        done.stdout.close()
        assert b"Traceback" not in done.stderr.read()
