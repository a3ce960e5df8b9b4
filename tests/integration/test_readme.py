"""Every command in README.md runs at toy size, or its real parser accepts it.

Commands are the lines of fenced ``bash`` blocks, Python code the fenced ``python`` blocks. A new kind of command makes
``test_every_command_is_known`` fail until a test for it is added here.
"""

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys

import pytest
import toy
from fairseq import options as fairseq_options

README = (toy.ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands(program):
    """Return the commands that begin with a program, as lists of words."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line and line[0] == program]


PROGRAMS = {"make", "source", "python", "fairseq-train", "fairseq-hydra-train"}
HARMLESS = {"scripts/doctor.py", "scripts/get_data.py"}
SCRIPTS = HARMLESS | {
    "scripts/demo_mlm.py",
    "scripts/diagnose.py",
    "scripts/evaluate_style.py",
    "scripts/export_hf.py",
    "scripts/find_heads.py",
    "scripts/find_label_errors.py",
    "scripts/import_hf.py",
    "scripts/inspect_data.py",
    "scripts/merge_peft.py",
    "scripts/plot_attention.py",
    "scripts/plot_runs.py",
    "scripts/plot_styles.py",
    "scripts/predict_glue.py",
    "scripts/prepare_mlm.py",
    "scripts/prepare_summaries.py",
    "scripts/report.py",
    "scripts/run_glue.py",
    "scripts/sample.py",
    "scripts/summarize.py",
    "scripts/surprise.py",
}


def run(words, **options):
    environment = {**os.environ, "PATH": f"{toy.BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=toy.ROOT, env=environment, capture_output=True, text=True, timeout=300, **options)
    return done.returncode, done.stdout + done.stderr


def replaced(words, **values):
    """Return a command line with the values of some options replaced."""
    words = list(words)
    for name, value in values.items():
        words[words.index("--" + name.replace("_", "-")) + 1] = str(value)
    return words


def test_every_command_is_known():
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    assert {words[0] for line in lines if (words := shlex.split(line, comments=True))} <= PROGRAMS
    assert {words[1] for words in commands("python")} <= SCRIPTS


@pytest.mark.parametrize("words", commands("make"), ids=shlex.join)
def test_make_targets_exist(words):
    status, output = run(["make", "--dry-run", *words[1:]])
    assert status == 0, output


@pytest.mark.parametrize("words", commands("source"), ids=shlex.join)
def test_the_environment_is_where_install_puts_it(words):
    assert f"{words[1].removesuffix('/bin/activate')}/bin/python" in (toy.ROOT / "scripts/install.sh").read_text()


@pytest.mark.parametrize("words", [w for w in commands("python") if w[1] not in HARMLESS], ids=shlex.join)
def test_scripts_take_their_options(words, monkeypatch):
    """Their own parsers, which reject unknown options."""
    monkeypatch.syspath_prepend(toy.ROOT / "scripts")
    runpy.run_path(str(toy.ROOT / words[1]), run_name="parsed")["parse_args"](words[2:])


@pytest.mark.parametrize("words", [w for w in commands("python") if w[1] in HARMLESS], ids=shlex.join)
def test_scripts_that_only_print(words):
    assert words[1] != "scripts/get_data.py" or words[2:] == ["--list"]  # all else downloads
    status, output = run([sys.executable, *words[1:]])
    assert status == 0, output


def of_task(task):
    return [words for words in commands("fairseq-train") if words[words.index("--task") + 1] == task]


@pytest.mark.slow
@pytest.mark.parametrize("words", of_task("char_lm") + of_task("causal_lm"), ids=" ".join)
def test_models_of_text_files(words, tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    for name in ("drama", "novel"):
        (folder / f"{name}.txt").write_text(f"a line of {name}\n" * 100, encoding="utf-8")
    words = replaced(words, save_dir=tmp_path / "out")
    if "--pieces" in words:
        words = replaced(words, pieces=330)
    if "--valid-data" in words:
        words = replaced(words, valid_data=folder / "drama.txt")
    data = folder if "--style-from" in words else folder / "drama.txt"
    small = ["--max-update", "2", "--batch-size", "2", "--block-size", "16", "--decoder-embed-dim", "16"]
    outcome = toy.run_cli([words[0], data, *words[2:], *small])
    assert outcome.status == 0, outcome.text
    assert (tmp_path / "out" / "checkpoint_best.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", of_task("clap_masked_lm"), ids=" ".join)
def test_fairseq_train(words, toy_data, tmp_path):
    small = {"--max-update": "2", "--batch-size": "4", "--tokens-per-sample": "32", "--save-dir": str(tmp_path)}
    given = [word for pair in small.items() for word in pair]  # of an option given twice, the last counts
    status, output = run([words[0], str(toy_data), *words[2:], *given, "--cpu"])
    assert status == 0, output
    assert (tmp_path / "checkpoint_best.pt").exists()


def test_the_options_in_the_table_exist():
    words = ["data", "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--optimizer", "fused_adamw"]
    for row in re.findall(r"^\| (`--.*?) \|", README, flags=re.M):
        for option in re.findall(r"--[\w-]+", row):
            # The option is given without a value: an existing option requires one, or needs none.
            with contextlib.redirect_stderr(io.StringIO()) as complaint, contextlib.suppress(SystemExit):
                fairseq_options.parse_args_and_arch(fairseq_options.get_training_parser(), [*words, option])
            assert "unrecognized arguments" not in complaint.getvalue(), option


@pytest.mark.slow
@pytest.mark.parametrize("words", commands("fairseq-hydra-train"), ids=shlex.join)
def test_fairseq_hydra_train(words, toy_data, tmp_path):
    own = [f"task.data={toy_data}", f"checkpoint.save_dir={tmp_path}", "optimization.max_update=2"]
    small = ["dataset.batch_size=4", "task.tokens_per_sample=32", "dataset.num_workers=0", "common.cpu=true"]
    status, output = run([*words, *own, *small])
    assert status == 0, output
    assert (tmp_path / "checkpoint_best.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.strip().splitlines()[-1][:40])
def test_python_code_of_the_readme_runs(code, toy_data, tmp_path):
    train = toy.train_arguments(toy_data, tmp_path, "--tokens-per-sample", 64, updates=2)
    outcome = toy.run_cli([*train, "--omit-mask"])
    assert outcome.status == 0, outcome.text
    (tmp_path / "zero_clap.pt").write_bytes((tmp_path / "checkpoint_best.pt").read_bytes())
    code = code.replace("path/to/published", str(tmp_path))
    code = code.replace("path/to/sp.model", str(toy_data / "sentencepiece.bpe.model"))
    (tmp_path / "code.py").write_text(code)
    outcome = toy.run_cli([tmp_path / "code.py"])
    assert outcome.status == 0, outcome.text
    assert "<mask>" not in outcome.out.splitlines()[-1]


def test_paths_named_in_the_text_exist():
    names = re.findall(r"`((?:plugins|scripts|examples|benchmarks|tests|requirements)/[\w/.-]*)`", README)
    assert len(names) > 5
    assert [name for name in names if not (toy.ROOT / name).exists()] == []
