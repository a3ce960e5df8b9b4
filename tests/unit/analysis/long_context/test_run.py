"""Comparison of checkpoints: files, table, names and the figure's title."""

import json
import statistics

import pytest
import toy

from plugins.analysis.long_context.figure import conclusion
from plugins.analysis.long_context.run import tokens_in
from plugins.analysis.runs import grids
from plugins.modules.positions import DECODER_SCHEMES

pytest.importorskip("matplotlib")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abac abad\nface bad cab egg hagbad bead\n" * 20)
    return path


@pytest.fixture
def checkpoints(make_char_lm, tmp_path):
    return [
        toy.save_char_lm(make_char_lm(positions=positions), tmp_path / positions / "checkpoint_best.pt").parent
        for positions in ("learned", "alibi", "rotary")
        if (tmp_path / positions).mkdir() is None
    ]


def test_all_results_are_written_and_drawn(run_script, checkpoints, text, tmp_path, capsys):
    options = ("--lengths", "1x", "4x", "--windows", 3, "--stride", 4, "--scaling", "none", "yarn")
    run_script("long_context", *checkpoints, "--text", text, *options, "-o", tmp_path / "long")
    written = json.loads((tmp_path / "long" / "long_context.json").read_text())
    assert list(written["results"]) == ["learned", "alibi", "rotary", "rotary, yarn"]
    assert [row["length"] for row in written["results"]["alibi"]] == [16, 64]
    assert (tmp_path / "long" / "long_context.png").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and "16" in lines[2]


def test_one_name_for_two_checkpoints_is_refused_unless_they_get_names(run_script, checkpoints, text, tmp_path, capsys):
    options = ("--text", text, "--lengths", "1x", "--windows", 2, "--stride", 4, "-o", tmp_path / "long")
    with toy.refused("alibi", "NAME=CKPT"):
        run_script("long_context", checkpoints[1], checkpoints[1], *options)
    run_script("long_context", checkpoints[1], f"again={checkpoints[1]}", *options)
    assert "again" in capsys.readouterr().out


def test_checkpoints_of_one_name_are_pooled(run_script, make_char_lm, text, tmp_path):
    folders = []
    for seed in (1, 2, 3):
        (tmp_path / str(seed)).mkdir()
        lm = make_char_lm(positions="alibi", seed=seed)
        folders.append(toy.save_char_lm(lm, tmp_path / f"{seed}/checkpoint_best.pt"))
    options = ("--lengths", "1x", "4x", "--windows", 3, "--stride", 4, "-o", tmp_path / "long")
    run_script("long_context", *(f"alibi={path}" for path in folders), "--text", text, *options)
    written = json.loads((tmp_path / "long" / "long_context.json").read_text())
    each = [run[1]["sliding"]["mean"] for run in written["runs"]["alibi"]]
    pooled = written["results"]["alibi"][1]
    assert len(set(each)) == 3 and pooled["runs"] == 3
    assert pooled["sliding"]["mean"] == pytest.approx(statistics.mean(each))
    assert pooled["sliding"]["standard_error"] == pytest.approx(statistics.stdev(each) / 3**0.5)


@pytest.mark.parametrize("length, tokens", [("512", 512), ("4x", 64), ("1.5x", 24)])
def test_lengths_are_tokens_or_multiples(length, tokens):
    assert tokens_in(length, 16) == tokens


@pytest.mark.parametrize("length", ["x", "4y", "-3", "0x", "7"])
def test_other_lengths_are_refused_by_name(length):
    with toy.refused(f"--lengths {length}"):
        tokens_in(length, 16)


def series(*losses):
    rows = [{"times": 1.0, "sliding": {"mean": losses[0]}}]
    return [*rows, {"times": 8.0, "sliding": {"mean": losses[1]}} if len(losses) > 1 else {"times": 8.0, "limit": 16}]


def test_the_title_names_the_best_the_worst_and_what_ends():
    title = conclusion({"a": series(2.0, 1.9), "b": series(1.5, 3.0), "c": series(1.0, 1.25), "d": series(2.0)})
    assert "8 times" in title
    assert "a gains 0.10" in title and "b loses 1.50" in title and "d ends" in title and "c " not in title


def test_the_example_trains_every_scheme_of_the_decoder_with_each_seed():
    runs = grids.read_grid(toy.ROOT / "examples/long_context/grids/characters.yaml", "DATA").runs
    schemes = [run.arguments[run.arguments.index("--positions") + 1] for run in runs]
    assert sorted(schemes) == sorted(3 * list(DECODER_SCHEMES))
