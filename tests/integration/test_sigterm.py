"""SIGTERM to a run of ``fairseq-train`` and of ``fairseq-hydra-train``."""

import signal
import time

import pytest
import toy

pytestmark = pytest.mark.slow
ENDLESS = 10**6
YAML = """
# @package _group_
common: {user_dir: USER_DIR, cpu: true, log_format: simple, log_interval: 1000}
checkpoint: {save_dir: run, no_epoch_checkpoints: true, save_interval_updates: 5, keep_interval_updates: 1}
dataset: {batch_size: 8, num_workers: 0, disable_validation: true}
optimization: {max_update: 1000000, lr: [0.001]}
task: {_name: clap_masked_lm, data: DATA, tokens_per_sample: 32}
criterion: {_name: clap_masked_lm}
optimizer: {_name: fused_adamw}
lr_scheduler: {_name: fixed}
model: {_name: clap_roberta, encoder_layers: 2, encoder_embed_dim: 32, encoder_ffn_embed_dim: 64,
        encoder_attention_heads: 4}
"""


def terminated(command, folder, **options):
    """Start a command that trains without end; send SIGTERM when it has saved a checkpoint, and return its outcome."""
    process = toy.start_cli(command, folder, **options)
    try:
        end = time.monotonic() + 120
        while not (folder / "run" / "checkpoint_last.pt").exists():
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        return toy.finish(process)
    finally:
        process.kill()


def test_a_run_that_is_terminated_leaves_only_its_checkpoints(toy_data, tmp_path):
    saving = ["--save-interval-updates", 5, "--keep-interval-updates", 1, "--disable-validation"]
    more = [*saving, "--log-interval", 1000, "--num-workers", 2]
    command = toy.train_arguments(toy_data, tmp_path / "run", *more, updates=ENDLESS)
    outcome = terminated(command, tmp_path, real=True)
    assert outcome.status == 143 and outcome.err.endswith("interrupted\n"), outcome.text[-3000:]
    assert "Traceback" not in outcome.text
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert not [name for name in names if name == ".lock" or name.endswith((".part", ".tmp"))], names


@pytest.mark.parametrize("suppressed", [False, True])
def test_hydra_ends_when_it_is_terminated(toy_data, tmp_path, suppressed):
    """With ``suppress_crashes``, fairseq would start the next of several runs."""
    text = YAML.replace("USER_DIR", str(toy.ROOT / "plugins")).replace("DATA", str(toy_data))
    (tmp_path / "toy.yaml").write_text(text)
    command = ["fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "toy"]
    outcome = terminated([*command, f"common.suppress_crashes={suppressed}"], tmp_path)
    if suppressed:
        assert outcome.status == -signal.SIGTERM
    else:
        assert outcome.err.endswith("interrupted\n") and outcome.status != 0, outcome.text[-3000:]
        assert not [path for path in (tmp_path / "run").iterdir() if path.name == ".lock" or path.suffix == ".part"]
