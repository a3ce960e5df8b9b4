"""examples/interpretability/README.md: scripts take its commands, its Python runs, its figures exist."""

import importlib.util
import re
import shlex

import pytest
import toy

from plugins import hub

FOLDER = toy.ROOT / "examples" / "interpretability"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands():
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def parser_of(script):
    """Return the function that parses a script's command line; None where it is part of more."""
    path = toy.ROOT / script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, "parse_args", None)


SCRIPTS = [words[1:] for words in commands() if words[0] == "python"]


def test_attention_and_heads_are_in_it():
    assert {"scripts/plot_attention.py", "scripts/find_heads.py"} <= {words[0] for words in SCRIPTS}


@pytest.mark.parametrize("words", SCRIPTS, ids=[" ".join(words)[:50] for words in SCRIPTS])
def test_scripts_take_their_commands(words, monkeypatch):
    monkeypatch.syspath_prepend(toy.ROOT / "scripts")  # as Python does for a script that it runs
    parse = parser_of(words[0])
    if parse is not None:
        parse(words[1:])


@pytest.mark.slow
def test_the_training_command_trains(tmp_path):
    training = next(words[1:] for words in commands() if words[0] == "fairseq-train")
    text = tmp_path / "text.txt"
    text.write_text("to be, or not to be: that is the question.\n" * 40)
    paths = {word: str(text) for word in training if word.startswith("data/")}
    paths |= {"plugins": str(toy.ROOT / "plugins"), "checkpoints/heads-2": str(tmp_path / "run"), "1800": "2"}
    done = toy.run_cli(["fairseq-train", *(paths.get(word, word) for word in training)])
    assert done.status == 0, done.text
    lm = hub.load(tmp_path / "run")
    assert len(lm.model.decoder.transformer.h) == 6 and lm.model.decoder.transformer.heads == 6


@pytest.mark.slow
def test_its_python_runs(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("What say you?\n" * 100)
    options = ["--decoder-layers", "4", "--decoder-embed-dim", "16", "--max-update", "1", "--save-dir", str(tmp_path)]
    command = ["fairseq-train", str(text), "--user-dir", str(toy.ROOT / "plugins"), "--cpu", "--task", "char_lm"]
    assert toy.run_cli([*command, "--arch", "char_lm_nano", *options]).status == 0
    load = hub.load
    monkeypatch.setattr(hub, "load", lambda path: load(tmp_path))
    for code in blocks("python"):
        exec(code, {})


def test_its_figures_exist():
    figures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert figures and all((FOLDER / name).read_bytes().startswith(b"\x89PNG") for name in figures)
