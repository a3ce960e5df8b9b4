"""Each script shows its help in a new Python, at once: without importing torch or fairseq."""

import re
import subprocess
import sys

import pytest
import toy

SCRIPTS = [path for path in sorted((toy.ROOT / "scripts").glob("[!_]*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_imports_nothing_heavy(script):
    command = [sys.executable, "-X", "importtime", script, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("usage: "), done.stderr[-2000:]
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, flags=re.M))
    assert "argparse" in imported and not imported & {"torch", "fairseq", "transformers", "matplotlib"}


LOADING = [path for path in SCRIPTS if 'metavar="CKPT' in path.read_text()]


@pytest.mark.parametrize("script", LOADING, ids=lambda path: path.stem)
def test_a_script_that_loads_a_checkpoint_takes_the_users_plugin(script):
    text = script.read_text()
    assert "command.add_user_dir(parser)" in text
    assert "user_dir.load(args.user_dir)" in text or '"--user-dir", args.user_dir' in text  # passed to another script
