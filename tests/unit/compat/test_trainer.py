"""Checks before training starts."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.distributed import utils as distributed_utils

from plugins.compat import trainer


@pytest.fixture
def resumed(monkeypatch, tmp_path):
    """Check a checkpoint that three processes look for: ``found`` says what each of them sees."""

    def check(*found):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed_utils, "all_gather_list", lambda data: list(found))
        checkpoint = SimpleNamespace(save_dir=str(tmp_path), restore_file="checkpoint_last.pt", checkpoint_suffix="")
        trainer.check_checkpoint_is_shared(checkpoint)

    return check


def test_a_checkpoint_that_some_processes_do_not_see_is_named_with_their_ranks(resumed, tmp_path):
    with toy.refused(tmp_path / "checkpoint_last.pt", "rank 1, 2"):
        resumed(True, False, False)


@pytest.mark.parametrize("found", [True, False])
def test_processes_that_see_the_same_may_start(resumed, found):
    resumed(found, found, found)
