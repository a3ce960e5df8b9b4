"""The real command line of scripts/report.py, on each kind of model."""

import json
import logging
import re
import runpy
import shutil
import sys

import numpy as np
import pytest
import toy

from plugins import checkpoints, hub
from plugins.analysis.report import contents, page
from plugins.errors import UserError

pytestmark = pytest.mark.slow
STYLES = ["drama", "novel"]
SCRIPT = toy.ROOT / "scripts" / "report.py"


@pytest.fixture(scope="module")
def char_lm(tmp_path_factory):
    """A folder with a checkpoint, as training leaves it, of a character LM with random weights."""
    folder = tmp_path_factory.mktemp("characters")
    lm = toy.make_char_lm(sorted("\n <>/abcdefghmskרום"), STYLES, block_size=32)
    toy.save_char_lm(lm, folder / "checkpoint_best.pt")
    return folder


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("masked"), toy_data, **toy.VARIANTS["zero_clap"])


@pytest.fixture
def text(tmp_path):
    def write(content):
        path = tmp_path / "text.txt"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def run(*arguments):
    return toy.finish(toy.start_cli([SCRIPT, *arguments]))


def data_of(path):
    """Return what the script of a page reads."""
    return json.loads(re.search(r'id="report">(.*?)</script>', path.read_text(encoding="utf-8"))[1])


def test_a_character_model_with_styles(char_lm, text, tmp_path):
    output = tmp_path / "new" / "report.html"
    done = run(char_lm, "--text", text("\n abc <mask> רום\n" * 40), "-o", output, "--tokens", 20, "--prompt", "abc",
               "--temperatures", 0.5, 1, "--sample-length", 9, "--seed", 4)  # fmt: skip
    assert done.status == 0 and done.err == "", done.text
    assert done.out == f"{output}: 0.1 MB; open it in a browser\n"
    shown, lm = data_of(output), hub.load(char_lm)
    assert shown["attention"]["tokens"] == list("abc <mask> רום\n\n abc")
    assert (shown["attention"]["layers"], shown["attention"]["heads"]) == (2, 2)
    assert shown["samples"]["styles"] == ["inferred", "drama", "novel", "none"]
    assert shown["samples"]["texts"][1][0] == lm.sample("abc", 9, temperature=0.5, seed=4, style="drama")
    assert np.shape(shown["styles"]["probabilities"]) == (400, 2)
    assert "Induction" in [item["title"] for item in shown["patterns"]["items"]]
    assert "masks" not in shown
    assert not [path for path in output.parent.iterdir() if path != output]  # no temporary file is left


def test_a_masked_lm(masked_lm, text, tmp_path):
    output = tmp_path / "report.html"
    sentence = "the <mask> follows a <mask> ."
    done = run(masked_lm, "--text", text("\n".join(toy.sentences(60))), "-o", output, "--mask", sentence)
    assert done.status == 0, done.text
    shown, lm = data_of(output), hub.load(masked_lm)
    tokens = shown["attention"]["tokens"]
    assert tokens[0] == "<s>" and tokens[-1] == "</s>" and tokens.count("<s>") == 1 and len(tokens) <= 64
    assert shown["masks"][1]["pieces"] == ["the ", {"slot": 0}, " follows a ", {"slot": 1}, " ."]
    expected = [[word for _, _, word in slot] for slot in lm.fill_mask(sentence)]
    assert [[word for word, _ in slot["answers"]] for slot in shown["masks"][1]["slots"]] == expected
    assert "Next token" in [item["title"] for item in shown["patterns"]["items"]]
    assert "samples" not in shown and "styles" not in shown


def test_a_text_with_masks_keeps_them(masked_lm):
    text = "the <mask> watches a garden near the <mask> ."
    report = contents.gather(hub.load(masked_lm), {"model": {}}, "title", text, pattern_texts=0)
    assert report["attention"]["tokens"].count("<mask>") == 2
    assert [slot["truth"] for slot in report["masks"][0]["slots"]] == [None, None]
    assert report["patterns"] is None


@pytest.mark.parametrize("name", ["baseline", "learned_clap", "alibi", "zero_clap"])
def test_published_checkpoints(golden, tmp_path, name):
    for source, target in (("sp.model", "sentencepiece.bpe.model"), ("dict.txt", "dict.txt")):
        shutil.copy(golden / source, tmp_path / target)
    path = shutil.copy(golden / f"{name}.pt", tmp_path)
    text = "The king of France is here, and the queen of England is dead. " * 9
    report = contents.gather(hub.load(path), checkpoints.read_state(path), name, text, pattern_texts=4)
    assert "4 layers of 4 heads" in report["lead"] and "60 updates" in report["lead"]
    assert report["attention"]["weights"].shape[:2] == (4, 4)
    assert "<dd><bdi>4</bdi></dd>" in page.render(report)


def test_a_bad_text_is_one_line_and_nothing_is_written(char_lm, text, tmp_path):
    path = text("abz")
    done = run(char_lm, "--text", path, "-o", tmp_path / "report.html")
    done.refuses(path, "'z'", 3)
    assert done.out == "" and done.err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def main(monkeypatch, *arguments):
    """Run the script in this process, which has imported all it needs."""
    monkeypatch.setattr(sys, "argv", ["report.py", *map(str, arguments)])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # undone after the test
    monkeypatch.setattr(logging, "disable", lambda level: None)
    runpy.run_path(str(SCRIPT))["main"]()


def test_errors_name_the_file(char_lm, text, tmp_path, monkeypatch):
    def refused(named, *arguments, output=tmp_path / "report.html"):
        with toy.refused(named, error=(UserError, SystemExit)):
            main(monkeypatch, char_lm, "-o", output, "--sample-length", 0, *arguments)
        assert not output.exists()

    (tmp_path / "latin.txt").write_bytes("abc é".encode("latin-1"))
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "report.html"
    refused(tmp_path / "none.txt", "--text", tmp_path / "none.txt")
    refused(tmp_path / "latin.txt", "--text", tmp_path / "latin.txt")
    refused(tmp_path / "text.txt", "--text", text(" \n"))
    refused("--mask 'a'", "--text", text("abc"), "--mask", "a")
    refused(below, "--text", text("abc"), output=below)


@pytest.mark.parametrize("wrong", [("--tokens", "0"), ("--sample-length", "-1"), ("--pattern-texts", "-1")])
def test_flags_that_make_no_sense_are_named(wrong, capsys):
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(str(SCRIPT))["parse_args"](["model.pt", "--text", "t", "-o", "r", *wrong])
    assert raised.value.code == 2 and wrong[0] in capsys.readouterr().err
