"""Checks before training starts."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from plugins.compat import trainer


@pytest.fixture
def resumed(monkeypatch, tmp_path):
    """Check a checkpoint that three processes look for: ``found`` says what each of them sees."""

    def check(*found, restore_file="checkpoint_last.pt", suffix=""):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed_utils, "all_gather_list", lambda data: list(found))
        checkpoint = SimpleNamespace(save_dir=str(tmp_path), restore_file=restore_file, checkpoint_suffix=suffix)
        trainer.check_checkpoint_is_shared(checkpoint)

    return check


def test_a_checkpoint_that_some_processes_do_not_see_is_named_with_their_ranks(resumed, tmp_path):
    with toy.refused(tmp_path / "checkpoint_last.pt", "rank 1, 2"):
        resumed(True, False, False)


@pytest.mark.parametrize("found", [True, False])
def test_processes_that_see_the_same_may_start(resumed, found):
    resumed(found, found, found)


def test_the_checkpoint_looked_for_is_that_of_the_options(resumed, tmp_path):
    with toy.refused(tmp_path / "checkpoint_last-rank0.pt", "rank 0"):
        resumed(False, True, suffix="-rank0")
    with toy.refused("other.pt", "rank 1") as refusal:
        resumed(True, False, restore_file="other.pt")
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("optimizer, flat", [("adam", False), ("fused_adamw", True), ("adafactor", True)])
def test_a_trainer_gets_checked_options_that_all_workers_can_load_with(monkeypatch, optimizer, flat):
    cfg = OmegaConf.create({"checkpoint": {"load_checkpoint_on_all_dp_ranks": False}, "optimizer": {"_name": optimizer},
                            "common": {"fp16_no_flatten_grads": False, "cpu": True}})  # fmt: skip
    called = []
    checks = {(trainer.precision, "check"): 1, (trainer.precision, "set_matmul_precision"): 1,
              (trainer.preflight, "check_run"): 2, (trainer.sharding, "prepare"): 1,
              (trainer.allocator, "keep_freed_memory"): 0, (trainer, "check_checkpoint_is_shared"): 1}  # fmt: skip
    for owner, name in checks:
        monkeypatch.setattr(owner, name, lambda *given, name=name: called.append((name, *given)))
    made = trainer.checked_trainer(
        lambda *given, **more: (given, more), "self", cfg, "task", "model", "criterion", 5, x=6
    )
    assert made == (("self", cfg, "task", "model", "criterion", 5), {"x": 6})
    assert cfg.checkpoint.load_checkpoint_on_all_dp_ranks and cfg.common.fp16_no_flatten_grads == flat
    assert sorted(name for name, *_ in called) == sorted(name for _, name in checks)
    assert ("check_run", cfg, "criterion") in called


def iterator(self, subset, disable_iterator_cache):
    dataset = self.task.datasets[subset]
    if dataset is None:
        raise KeyError(subset)
    return dataset, disable_iterator_cache


def test_each_training_set_has_one_copy_for_validation():
    """fairseq loads another one for each epoch of sharded data."""
    first, second = SimpleNamespace(part=1), SimpleNamespace(part=2)
    task = SimpleNamespace(datasets={"train": first, "valid": "valid set"})
    own = SimpleNamespace(task=task, cfg=OmegaConf.create({"dataset": {"train_subset": "train"}}))
    copies = [trainer.get_valid_iterator(iterator, own, "train")[0] for _ in range(2)]
    task.datasets["train"] = second
    found = trainer.get_valid_iterator(iterator, own, "train", True)
    assert copies[0] is copies[1] is not first and found == (second, True) and found[0] is not second
    assert trainer.get_valid_iterator(iterator, own, "valid") == ("valid set", False)
    assert task.datasets["train"] is second


def test_the_training_set_is_put_back_after_an_error():
    training = object.__new__(type("Dataset", (), {}))
    own = SimpleNamespace(
        task=SimpleNamespace(datasets={"train": training}),
        cfg=OmegaConf.create({"dataset": {"train_subset": "train"}}),
    )
    with pytest.raises(ZeroDivisionError):
        trainer.get_valid_iterator(lambda *given: 1 / 0, own, "train")
    assert own.task.datasets == {"train": training}
    own.task.datasets["train"] = None  # not loaded: fairseq's error
    with pytest.raises(KeyError):
        trainer.get_valid_iterator(iterator, own, "train")


def test_a_single_process_looks_for_no_others(monkeypatch, tmp_path):
    monkeypatch.setattr(distributed_utils, "all_gather_list", lambda data: 1 / 0)
    options = SimpleNamespace(save_dir=str(tmp_path), restore_file="checkpoint_last.pt", checkpoint_suffix="")
    trainer.check_checkpoint_is_shared(options)


def test_diverged_training_ends_in_one_line():
    own = SimpleNamespace(get_num_updates=lambda: 4)
    with toy.refused("update 5", "--lr"):
        trainer.train_step(toy.raising(FloatingPointError("gradients are Nan/Inf")), own)


def test_gradients_that_differ_between_workers_are_no_divergence():
    text = "Fatal error: gradients are inconsistent between workers. Try --ddp-backend=legacy_ddp."
    with pytest.raises(FloatingPointError, match="inconsistent between workers"):
        trainer.train_step(toy.raising(FloatingPointError(text)), None)


def test_a_checkpoint_of_another_model_is_named():
    def original(self, filename):
        try:
            raise RuntimeError("size mismatch for w")
        except RuntimeError:
            raise Exception("Cannot load model parameters from checkpoint")  # noqa: B904 (as fairseq does)

    with toy.refused("x.pt", "size mismatch for w"):
        trainer.load_checkpoint(original, None, "x.pt")
    with pytest.raises(KeyError):
        trainer.load_checkpoint(toy.raising(KeyError("other")), None, "x.pt")


@pytest.mark.parametrize(
    ("done", "most", "trains"), [(299, 300, True), (300, 300, False), (301, 300, False), (9, 0, True)]
)
def test_a_run_that_is_finished_makes_no_update(done, most, trains):
    cfg, run = OmegaConf.create({"optimization": {"max_update": most}}), SimpleNamespace(get_num_updates=lambda: done)
    losses, should_stop = trainer.train(lambda *given: ([1.5], False), cfg, run, "task", "batches")
    assert (losses, should_stop) == (([1.5], False) if trains else ([None], True))
