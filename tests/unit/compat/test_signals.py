"""SIGTERM during training."""

import os
import signal
import sys

import pytest
import torch
import toy
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from plugins.compat import signals


def config(processes=1, **common):
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.distributed_training.distributed_world_size = processes
    cfg.common.update(common)
    return cfg


def train(main, cfg=None):
    """Run a function as the training of a run."""
    return signals.report_termination(lambda cfg, main: main(cfg), cfg or config(), main)


def terminated(cfg=None):
    os.kill(os.getpid(), signal.SIGTERM)


def handled(cfg):
    """Return whether SIGTERM is handled during a run."""
    return train(lambda cfg: signal.getsignal(signal.SIGTERM), cfg) != signal.SIG_DFL


def child(function):
    """Return how a fork ends that calls a function: its status, or the negative number of a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_sigterm_is_one_line_and_the_status_of_the_signal(capsys):
    with pytest.raises(SystemExit) as ended:
        train(terminated)
    assert ended.value.code == 143
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_is_reported_if_the_cleanup_of_a_block_fails():
    def main(cfg):
        try:
            terminated()
        finally:
            raise AttributeError

    with pytest.raises(SystemExit):
        train(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(error):
        train(toy.raising(error))


def test_an_error_of_a_run_that_went_on_stays_what_it_is():
    """Python drops an exception in a ``__del__``."""

    def main(cfg):
        try:
            terminated()
        except KeyboardInterrupt:
            pass
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(main)


def test_a_second_signal_ends_the_process():
    def main(cfg):
        try:
            terminated()
        except KeyboardInterrupt:
            terminated()

    assert child(lambda: train(main)) == -signal.SIGTERM


def test_the_signal_ends_a_fork_at_once():
    assert train(lambda cfg: child(terminated)) == -signal.SIGTERM


def test_a_handler_of_the_run_itself_is_kept():
    before = signal.getsignal(signal.SIGTERM)
    try:
        train(lambda cfg: signal.signal(signal.SIGTERM, signal.SIG_IGN))
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "9"},
        {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"},
    ],
)
def test_signals_of_a_launched_process_are_left_alone(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not handled(config())


def test_signals_of_a_run_on_several_gpus_are_left_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not handled(config(processes=2))
    assert handled(config(processes=2, cpu=True))  # the default is the number of GPUs


def test_signals_of_a_process_with_an_address_are_left_alone():
    cfg = config(processes=2)
    cfg.distributed_training.distributed_init_method = "tcp://localhost:9"
    assert not handled(cfg)


@pytest.mark.parametrize("environment", [{"SLURM_NTASKS": "2"}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1"}])
def test_a_single_process_on_any_machine_handles_the_signal(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert handled(config())


def test_the_signal_also_ends_runs_whose_crashes_are_suppressed():
    assert not handled(config(suppress_crashes=True))


@pytest.fixture
def hydra(monkeypatch):
    """Import ``fairseq_cli.hydra_train``, with hydra started."""
    import fairseq_cli
    from hydra.core.hydra_config import HydraConfig

    monkeypatch.setitem(sys.modules, "fairseq_cli.hydra_train", fairseq_cli)
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_hydra_imports_the_package_too_late_to_wrap_the_run(hydra):
    signals.handle_late(lambda cfg: None, config())
    with pytest.raises(KeyboardInterrupt):
        terminated()


@pytest.mark.parametrize("case", ["suppressed", "another program", "no hydra"])
def test_the_signal_is_left_alone_elsewhere(hydra, monkeypatch, case):
    if case == "another program":
        monkeypatch.delitem(sys.modules, "fairseq_cli.hydra_train")
    elif case == "no hydra":
        monkeypatch.delitem(sys.modules, "hydra.core.hydra_config")
    called = []
    signals.handle_late(called.append, config(suppress_crashes=case == "suppressed"))
    assert len(called) == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
