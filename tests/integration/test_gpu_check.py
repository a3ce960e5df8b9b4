"""benchmarks/gpu_check.py in its toy form on the CPU, from this folder and packed into one file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CHECK = str(ROOT / "benchmarks" / "gpu_check.py")
ABSENT = ("fairseq", "hydra", "omegaconf", "antlr4", "bitarray", "__editable__")


def run(*words, **options):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    done = run(CHECK, "--tiny", "-o", str(folder))
    return done, json.loads((folder / "gpu_check.json").read_text())["rows"], (folder / "gpu_check.md").read_text()


def test_every_row_is_measured_and_every_law_is_kept(checked):
    done, rows, _ = checked
    assert done.returncode == 0, done.stderr
    assert not [row for row in rows if "failed" in row or "law" in row]
    assert {row["part"] for row in rows} == {"ceiling", "attention", "loss", "exact", "steps", "decoders", "train"}


def test_peers_and_ours_are_in_one_table(checked):
    _, rows, table = checked
    models = {row["model"] for row in rows if row["part"] == "steps"}
    assert models == {"learned", "alibi", "alibi-flex", "alibi-clap", "rotary", "fairseq", "hf-roberta", "modernbert"}
    assert all(model in table for model in models)


def test_a_resumed_run_ends_like_an_unbroken_one(checked):
    _, rows, _ = checked
    runs = {row["precision"]: row["last_loss"] for row in rows if row["part"] == "train"}
    assert runs["mixed-precision, resumed"] == pytest.approx(runs["mixed-precision"], rel=5e-3)


def test_a_violated_check_sets_the_exit_status(tmp_path):
    script = (
        "import sys; sys.path.insert(0, 'benchmarks'); from gpu import kernels; import gpu_check\n"
        "kernels.ceiling = lambda table: table.add('ceiling', holds=False, type='none')\n"
        f"sys.argv[1:] = ['--tiny', '--only', 'ceiling', '-o', {str(tmp_path)!r}]; gpu_check.main()"
    )
    assert run("-c", script, cwd=ROOT).returncode == 1


def test_without_a_gpu_it_says_what_to_do(tmp_path):
    done = run(CHECK, "-o", str(tmp_path), env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 1
    assert "--tiny" in done.stderr


def test_the_packed_check_needs_no_fairseq(tmp_path):
    packed = tmp_path / "gpu_check.pyz"
    done = run(CHECK, "--bundle", str(packed))
    if done.returncode:
        pytest.skip(f"pip has no index here: {done.stderr.strip()[-200:]}")
    assert packed.stat().st_size < 20_000_000
    bare = tmp_path / "bare"  # the packages of this environment without fairseq and what it needs
    bare.mkdir()
    for entry in Path(pytest.__file__).parents[1].iterdir():
        if not entry.name.lower().startswith(ABSENT):
            (bare / entry.name).symlink_to(entry)
    alone = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(bare)}
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    words = [str(python), "-s", str(packed), "--tiny", "--only", "ceiling", "train", "-o", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, env=alone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "gpu_check.md").exists()
