"""One training run at a time in a folder."""

import pytest
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import FairseqConfig
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from plugins import locks


@pytest.fixture
def train(monkeypatch):
    """What fairseq-train does with a folder before it writes; ``then`` is called in the middle of the run."""
    monkeypatch.setattr(distributed_utils, "infer_init_method", lambda cfg: None)

    def run(folder, then, no_save=False):
        cfg = OmegaConf.structured(FairseqConfig())
        cfg.checkpoint.no_save = no_save

        def main(cfg):
            checkpoint_utils.verify_checkpoint_directory(str(folder))
            then()

        distributed_utils.call_main(cfg, main)

    return run


def test_a_run_locks_its_folder_until_it_ends(train, tmp_path):
    seen = []
    train(tmp_path / "run", lambda: seen.append(locks.try_lock(tmp_path / "run")))
    assert seen == [None]
    assert not list((tmp_path / "run").iterdir())


def test_a_failed_run_releases_its_folder(train, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, lambda: 1 / 0)
    with locks.lock(tmp_path):
        pass


def test_a_run_that_saves_nothing_needs_no_lock(train, tmp_path):
    train(tmp_path / "run", lambda: None, no_save=True)
    assert not (tmp_path / "run").exists()


def test_a_run_after_one_that_saves_nothing_locks_again(train, tmp_path):
    train(tmp_path / "run", lambda: None, no_save=True)
    checkpoint_utils.verify_checkpoint_directory(str(tmp_path / "run"))
    try:
        assert locks.try_lock(tmp_path / "run") is None
    finally:
        locks.release_training()
