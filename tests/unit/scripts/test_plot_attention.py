"""scripts/plot_attention.py: its figures, its files, and errors."""

import json

import numpy as np
import pytest
import toy

from plugins import hub
from plugins.analysis.attention.capture import attention_of
from plugins.errors import UserError

pytest.importorskip("matplotlib")
PNG = b"\x89PNG"


@pytest.fixture
def checkpoint(make_char_lm, tmp_path):
    return toy.save_char_lm(make_char_lm("\n abcאבגד"), tmp_path / "checkpoint_best.pt")


def test_all_heads_and_one_are_drawn_and_the_weights_written(run_script, checkpoint, tmp_path):
    run_script("plot_attention", checkpoint, "אבג ד", "-o", tmp_path / "all.png", "--json", tmp_path / "a.json")
    run_script("plot_attention", checkpoint, "אבג ד", "-o", tmp_path / "one.png", "--layer", 1, "--head", 0)
    all_heads, one = ((tmp_path / name).read_bytes() for name in ("all.png", "one.png"))
    assert all_heads.startswith(PNG) and one.startswith(PNG) and all_heads != one
    written = json.loads((tmp_path / "a.json").read_text())
    tokens, attention = attention_of(hub.load(checkpoint), "אבג ד")
    assert written["tokens"] == tokens == list("אבג ד")
    np.testing.assert_allclose(written["attention"], np.concatenate(attention), atol=1e-6)


def test_the_text_may_be_in_a_file_and_keeps_its_line_breaks(run_script, checkpoint, tmp_path):
    (tmp_path / "t.txt").write_text("ab\nc", newline="")
    run_script(
        "plot_attention", checkpoint, f"FILE:{tmp_path / 't.txt'}", "-o", tmp_path / "a.svg", "--json", tmp_path / "j"
    )
    assert json.loads((tmp_path / "j").read_text())["tokens"] == list("ab\nc")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_masked_lm_shows_its_special_tokens(run_script, toy_data, tmp_path):
    folder = toy.save_masked_lm(tmp_path, toy_data)
    output = ("-o", tmp_path / "a.png", "--json", tmp_path / "a.json")
    run_script("plot_attention", folder, "the <mask> follows a garden .", *output)
    tokens = json.loads((tmp_path / "a.json").read_text())["tokens"]
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>") and "<mask>" in tokens


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["abz"], ["z", 3]),
        ([""], []),
        (["a" * 17], [17, 16]),
        (["ab", "--layer", 2, "--head", 0], ["--layer 2", "--head 0", 1]),
        (["ab", "--layer", 0, "--head", -1], ["--head -1"]),
        (["FILE:nowhere.txt"], ["nowhere.txt"]),
        (["ab", "--device", "nowhere"], ["nowhere"]),
        (["ab", "-o", "a.docx"], ["a.docx"]),
    ],
)
def test_errors_are_one_line_and_leave_no_file(run_script, checkpoint, tmp_path, monkeypatch, arguments, named):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with toy.refused(*named, error=(UserError, SystemExit)):
        run_script("plot_attention", checkpoint, *arguments)
    assert not list((tmp_path / "here").iterdir())


def test_layer_and_head_go_together(run_script, capsys):
    with toy.refused(2, error=SystemExit):
        run_script("plot_attention", "x", "ab", "--layer", "1")
    toy.names(capsys.readouterr().err.splitlines()[-1], "--layer", "--head")
