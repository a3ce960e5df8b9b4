"""SIGTERM during training."""

import os
import signal

import pytest
from fairseq.dataclass.configs import FairseqConfig
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from plugins.compat import interrupting, patching


@pytest.fixture
def train():
    """Run a function as the training of a run with ``processes`` processes."""

    def run(main, processes=1):
        cfg = OmegaConf.structured(FairseqConfig())
        cfg.distributed_training.distributed_world_size = processes
        return interrupting.report_termination(lambda cfg, main: main(cfg), cfg, main)

    return run


def terminated(cfg):
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_one_line_and_the_status_of_the_signal(train, capsys):
    with pytest.raises(SystemExit) as ended:
        train(terminated)
    assert ended.value.code == 143
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_is_reported_if_the_cleanup_of_a_block_fails(train):
    def main(cfg):
        try:
            terminated(cfg)
        finally:
            raise AttributeError

    with pytest.raises(SystemExit):
        train(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_other_errors_stay_what_they_are(train, error):
    def main(cfg):
        raise error

    with pytest.raises(error):
        train(main)


@pytest.mark.parametrize("several", ["option", "WORLD_SIZE", "SLURM_NTASKS"])
def test_signals_of_a_run_of_several_processes_are_left_alone(train, monkeypatch, several):
    if several != "option":
        monkeypatch.setenv(several, "2")
    seen = train(lambda cfg: signal.getsignal(signal.SIGTERM), processes=2 if several == "option" else 1)
    assert seen == signal.SIG_DFL


def test_hydra_imports_the_package_too_late_to_wrap_the_run(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(interrupting, "started_by_hydra", lambda: True)
    monkeypatch.setattr(distributed_utils, "call_main", distributed_utils.call_main)
    try:
        interrupting.install()
        assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
        patching.REPAIRS.pop()
