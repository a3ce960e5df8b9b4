"""Each script shows its help, and finds a missing input, in a new Python without importing torch or fairseq."""

import re
import subprocess
import sys

import pytest
import toy

SCRIPTS = [path for path in sorted((toy.ROOT / "scripts").glob("[!_]*.py")) if "__main__" in path.read_text()]
HEAVY = {"torch", "fairseq", "numpy", "transformers", "matplotlib"}


def run(script, *arguments):
    """Run a script; return the process, its lines on stderr, and the names of the modules that it imported."""
    command = [sys.executable, "-X", "importtime", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    return done, [line for line in lines if not line.startswith("import time:")], imported


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_imports_nothing_heavy(script):
    done, _, imported = run(script, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: "), done.stderr[-2000:]
    assert "argparse" in imported and not imported & HEAVY


# Arguments of which one names a missing file, NONE; the others name this file, HERE, and a folder, DIR
MISSING = {
    "apply_labels": ["HERE", "NONE", "-o", "OUT"],
    "benchmark_label_errors": ["--lines", "HERE", "NONE", "-o", "OUT"],
    "benchmark_selection": ["HERE", "--pool", "NONE", "--specs", "HERE", "--number", "1", "-o", "OUT"],
    "choose_threshold": ["HERE", "NONE"],
    "compare_data": ["HERE", "NONE", "-o", "OUT"],
    "compare_losses": ["DIR", "--checkpoint", "NONE", "-o", "OUT"],
    "compare_summaries": ["a=HERE", "b=NONE", "-o", "OUT"],
    "demo_diagnose": ["--checkpoint", "NONE", "-o", "OUT"],
    "demo_glue": ["--glue-dir", "NONE", "-o", "OUT"],
    "demo_mlm": ["--data", "NONE", "-o", "OUT"],
    "diagnose": ["--data", "HERE", "NONE", "--checkpoint", "HERE", "-o", "OUT"],
    "embed": ["HERE", "HERE", "NONE", "-o", "OUT.npz"],
    "evaluate_embeddings": ["HERE", "NONE", "-o", "OUT"],
    "evaluate_style": ["NONE", "-o", "OUT"],
    "export_hf": ["NONE", "-o", "OUT"],
    "find_heads": ["HERE", "NONE", "-o", "OUT"],
    "find_label_errors": ["NONE", "-o", "OUT"],
    "flip_preferences": ["NONE", "--share", "0.1", "-o", "OUT"],
    "get_data": ["enwik8", "--from", "NONE", "-o", "OUT"],
    "glue_collapse": ["--glue-dir", "DIR", "--models", "NONE", "-o", "OUT"],
    "import_hf": ["NONE", "-o", "OUT"],
    "inspect_data": ["HERE", "NONE", "-o", "OUT"],
    "lexical_bias": ["HERE", "--words", "NONE", "--glue-dir", "DIR", "-o", "OUT"],
    "long_context": ["mine=NONE", "--text", "HERE", "-o", "OUT"],
    "merge_peft": ["HERE", "--base", "NONE", "-o", "OUT"],
    "plot_attention": ["HERE", "FILE:NONE", "-o", "OUT"],
    "plot_embeddings": ["NONE", "DIR", "-o", "OUT"],
    "plot_runs": ["NONE", "-o", "OUT"],
    "plot_styles": ["HERE", "--text", "NONE", "-o", "OUT"],
    "predict_glue": ["--checkpoint", "NONE", "--glue-dir", "DIR", "-o", "OUT"],
    "prepare_mlm": ["--train", "HERE", "NONE", "-o", "OUT"],
    "report": ["HERE", "--text", "NONE", "-o", "OUT"],
    "run_glue": ["--glue-dir", "DIR", "--checkpoint", "NONE", "--output", "OUT"],
    "sample": ["HERE", "--prompt", "FILE:NONE"],
    "search_texts": ["HERE", "HERE", "NONE", "--query", "text"],
    "select_data": ["--specs", "HERE", "--pool", "NONE", "--number", "1", "-o", "OUT"],
    "slim_checkpoint": ["NONE", "-o", "OUT"],
    "study_flips": ["HERE", "--valid", "NONE", "--checkpoint", "HERE", "-o", "OUT"],
    "summarize": ["HERE", "NONE", "-o", "OUT"],
    "sweep": ["NONE", "-o", "OUT"],
    "surprise": ["HERE", "FILE:NONE", "-o", "OUT"],
    "transfer": ["NONE", "--tasks", "CoLA", "RTE", "--checkpoint", "HERE", "-o", "OUT"],
}
WITHOUT_INPUT = {"doctor", "measure_memory", "plan_run", "prepare_summaries"}


def test_every_script_with_an_input_has_a_case():
    assert MISSING.keys() | WITHOUT_INPUT == {path.stem for path in SCRIPTS}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_input_is_found_before_anything_heavy_is_imported(name, tmp_path):
    places = {"HERE": __file__, "DIR": str(tmp_path), "NONE": str(tmp_path / "none"), "OUT": str(tmp_path / "out")}
    words = [re.sub("HERE|DIR|NONE|OUT", lambda found: places[found[0]], word) for word in MISSING[name]]
    done, errors, imported = run(toy.ROOT / "scripts" / f"{name}.py", *words)
    (line,) = errors
    assert done.returncode == 1 and line.startswith(f"error: {tmp_path / 'none'}: ")
    assert not imported & HEAVY and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name, words in MISSING.items() if "OUT" in " ".join(words)])
def test_an_output_below_a_file_is_refused_before_anything_heavy_is_imported(name, tmp_path):
    (tmp_path / "none").touch()
    places = {"HERE": __file__, "DIR": str(tmp_path), "NONE": __file__, "OUT": str(tmp_path / "none" / "out")}
    words = [re.sub("HERE|DIR|NONE|OUT", lambda found: places[found[0]], word) for word in MISSING[name]]
    done, errors, imported = run(toy.ROOT / "scripts" / f"{name}.py", *words)
    (line,) = errors
    assert done.returncode == 1 and line.startswith("error: ") and str(tmp_path / "none") in line
    assert not imported & HEAVY and [path.name for path in tmp_path.iterdir()] == ["none"]


# Arguments of which one is a name that there is not, WRONG
WRONG = {
    "apply_labels": ["HERE", "HERE", "--glue-task", "WRONG", "-o", "OUT"],
    "benchmark_label_errors": ["--glue-dir", "DIR", "--task", "WRONG", "-o", "OUT"],
    "compare_losses": ["DIR", "--checkpoint", "HERE", "--losses", "triplet", "WRONG", "-o", "OUT"],
    "diagnose": ["--glue-dir", "DIR", "--task", "WRONG", "--checkpoint", "HERE", "-o", "OUT"],
    "embed": ["HERE", "HERE", "--pooling", "WRONG", "-o", "OUT.npz"],
    "evaluate_embeddings": ["HERE", "DIR", "--glue-task", "WRONG", "-o", "OUT"],
    "evaluate_style": ["HERE", "--device", "WRONG", "-o", "OUT"],
    "find_heads": ["HERE", "HERE", "-o", "OUT.WRONG"],
    "get_data": ["WRONG", "-o", "OUT"],
    "glue_collapse": ["--glue-dir", "DIR", "--models", "DIR", "--tasks", "WRONG", "-o", "OUT"],
    "inspect_data": ["--glue-task", "WRONG", "--glue-dir", "DIR", "-o", "OUT"],
    "lexical_bias": ["HERE", "--words", "HERE", "--data", "TABLE", "--text", "WRONG", "-o", "OUT"],
    "long_context": ["HERE", "--text", "HERE", "--scaling", "WRONG", "-o", "OUT"],
    "measure_memory": ["--variants", "baseline,WRONG", "-o", "OUT", "--", "fairseq-train", "DATA"],
    "plan_run": ["--arch", "WRONG", "--tokens", "1M", "--batch", "1k", "--gpu", "cpu"],
    "plot_attention": ["HERE", "text", "-o", "OUT.WRONG"],
    "plot_embeddings": ["HERE", "DIR", "--pooling", "WRONG", "-o", "OUT"],
    "plot_runs": ["LOG", "--metric", "WRONG", "-o", "OUT"],
    "predict_glue": ["--checkpoint", "HERE", "--glue-dir", "DIR", "--task", "RTE", "--split", "WRONG"],
    "run_glue": ["--glue-dir", "DIR", "--checkpoint", "HERE", "--tasks", "all", "WRONG", "--output", "OUT"],
    "sample": ["HERE", "--device", "WRONG"],
    "search_texts": ["HERE", "HERE", "HERE", "--query", "text", "--pooling", "WRONG"],
    "select_data": ["--specs", "HERE", "--pool", "TABLE", "--text", "WRONG", "--number", "1", "-o", "OUT"],
    "summarize": ["HERE", "TABLE", "--summary-column", "WRONG"],
    "transfer": ["DIR", "--tasks", "CoLA", "WRONG", "--checkpoint", "HERE", "-o", "OUT"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_name_is_found_before_anything_heavy_is_imported(name, tmp_path):
    (tmp_path / "table.jsonl").write_text('{"text": "a", "summary": "b"}\n')
    (tmp_path / "train.log").write_text(
        "| INFO | valid | epoch 001 | valid on 'valid' subset | loss 5.1 | num_updates 9\n"
    )  # noqa: E501
    places = {"HERE": __file__, "DIR": str(tmp_path), "OUT": str(tmp_path / "out"), "WRONG": "xyz",
              "TABLE": str(tmp_path / "table.jsonl"), "LOG": str(tmp_path / "train.log")}  # fmt: skip
    words = [re.sub("|".join(places), lambda found: places[found[0]], word) for word in WRONG[name]]
    done, errors, imported = run(toy.ROOT / "scripts" / f"{name}.py", *words)
    (line,) = errors
    assert done.returncode == 1 and line.startswith("error: ") and "xyz" in line
    assert not imported & HEAVY and not (tmp_path / "out").exists()


CHECKPOINTS = ('metavar="CKPT', "flags.add_checkpoint(", "job_options.add_fine_tuning(")
LOADING = [path for path in SCRIPTS if any(words in path.read_text() for words in CHECKPOINTS)]


@pytest.mark.parametrize("script", LOADING, ids=lambda path: path.stem)
def test_scripts_that_load_checkpoints_accept_user_dir(script):
    text = script.read_text()
    if "reading.opened(args" in text:  # shared by two commands
        text += (toy.ROOT / "scripts" / "reading.py").read_text(encoding="utf-8")
    assert "command.add_user_dir(parser)" in text
    assert "user_dir.load(args.user_dir)" in text or '"--user-dir", args.user_dir' in text  # passed to another script
