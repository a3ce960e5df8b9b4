"""Repairs of fairseq and torch: safe checkpoints, preflight checks, command-line slips."""

import argparse
import os
import pickle
import re
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils, options
from fairseq.data import iterators
from fairseq.file_io import PathManager

from plugins import compat
from plugins.errors import UserError


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def state(**more):
    history = [{"criterion_name": "x", "optimizer_name": "y", "lr_scheduler_state": {}, "num_updates": 1}]
    extra = {"train_iterator": {"epoch": 1}}
    return {
        "args": None,
        "cfg": None,
        "model": {"w": torch.ones(2)},
        "optimizer_history": history,
        "extra_state": extra,
        **more,
    }


READERS = {"read_state": compat.read_state, "fairseq": lambda path: checkpoint_utils.load_checkpoint_to_cpu(path)}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("old_format", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(tmp_path, reader, old_format):
    marker, path = tmp_path / "it-ran", str(tmp_path / "evil.pt")
    torch.save(state(extra=Malicious(marker)), path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(UserError, match=re.escape(path)) as error:
        READERS[reader](path)
    assert not marker.exists()
    assert "system" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_trap_of_these_tests_works(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "it-ran")))
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("reader", READERS)
def test_a_bare_pickle_is_refused_and_nothing_runs(tmp_path, reader):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(state(extra=Malicious(tmp_path / "it-ran"))))
    with pytest.raises(UserError, match="evil.pt"):
        READERS[reader](str(path))
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.95])
def test_a_truncated_checkpoint_gives_one_line_that_names_it(tmp_path, reader, keep):
    path = tmp_path / "cut.pt"
    torch.save(state(extra=torch.ones(1000)), path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep in (0, 1, 100) else int(keep * len(content))])
    with pytest.raises(UserError, match="cut.pt: truncated, or not a checkpoint") as error:
        READERS[reader](str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_checkpoint_is_named(tmp_path, reader):
    with pytest.raises(UserError, match="nowhere.pt: no such checkpoint"):
        READERS[reader](str(tmp_path / "nowhere.pt"))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("old_format", [False, True])
def test_plain_data_of_fairseq_and_numpy_loads(tmp_path, reader, old_format):
    path = str(tmp_path / "plain.pt")
    extra = {"train_iterator": {"epoch": 1}, "best": np.float64(1.5),
             "f": np.float32(2.5), "n": np.int64(3), "i": np.int32(4), "b": np.bool_(True),
             "options": argparse.Namespace(lr=[0.1]), "dtype": torch.float16}  # fmt: skip
    torch.save(state(extra_state=extra), path, _use_new_zipfile_serialization=not old_format)
    loaded = READERS[reader](path)["extra_state"]
    assert (loaded["best"], loaded["f"], loaded["n"], loaded["i"], loaded["b"]) == (1.5, 2.5, 3, 4, True)
    assert loaded["options"].lr == [0.1]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [[1, 2], {"weights": torch.ones(2)}, torch.ones(3)], ids=["list", "dict", "tensor"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, reader, content):
    path = str(tmp_path / "odd.pt")
    torch.save(content, path)
    with pytest.raises(UserError, match="odd.pt"):
        READERS[reader](path)


def test_torchs_own_reader_stays_safe(tmp_path):
    """The repairs add to what may be read; they never switch the protection off."""
    path = tmp_path / "evil.pt"
    torch.save(Malicious(tmp_path / "it-ran"), path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
    assert not (tmp_path / "it-ran").exists()


def test_what_was_repaired_is_listed():
    assert len(compat.REPAIRS) >= 6
    assert all(name and what for name, what in compat.REPAIRS)
    assert len({name for name, _ in compat.REPAIRS}) == len(compat.REPAIRS)


def test_installing_twice_changes_nothing():
    before = list(compat.REPAIRS), checkpoint_utils.load_checkpoint_to_cpu
    compat.install(None, None)
    assert (compat.REPAIRS, checkpoint_utils.load_checkpoint_to_cpu) == before


def test_bf16_does_not_mean_tpu(toy_data):
    parser = options.get_training_parser()
    args = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--criterion", "clap_masked_lm",
            "--optimizer", "fused_adamw", "--bf16"]  # fmt: skip
    parsed = options.parse_args_and_arch(parser, args)
    assert parsed.bf16
    assert not parsed.tpu


def common(**given):
    return SimpleNamespace(
        **{"cpu": False, "fp16": False, "memory_efficient_fp16": False, "amp": False, "bf16": False, **given}
    )


@pytest.mark.parametrize("flag", ["fp16", "memory_efficient_fp16", "bf16", "memory_efficient_bf16", "amp"])
def test_half_precision_on_a_cpu_is_refused(flag):
    with pytest.raises(UserError, match=f"--{flag.replace('_', '-')} needs a GPU, and --cpu was given"):
        compat.check_precision(common(cpu=True, **{flag: True}))


def test_half_precision_without_a_gpu_is_refused_and_with_one_it_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU"):
        compat.check_precision(common(fp16=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    compat.check_precision(common(fp16=True))
    compat.check_precision(common(bf16=True))


def test_processes_that_fairseq_does_not_see_are_refused(monkeypatch):
    def config(world):
        return SimpleNamespace(distributed_training=SimpleNamespace(distributed_world_size=world))

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were launched.*--distributed-world-size"):
        compat.check_world_size(config(1))
    compat.check_world_size(config(2))
    monkeypatch.setenv("WORLD_SIZE", "1")
    compat.check_world_size(config(1))
    monkeypatch.delenv("WORLD_SIZE")
    compat.check_world_size(config(1))


def test_training_starts_from_the_run_to_resume_else_from_the_model_named(tmp_path):
    last, other, missing = tmp_path / "checkpoint_last.pt", tmp_path / "other.pt", tmp_path / "missing.pt"
    other.touch()
    start = compat.starting_checkpoint
    default = "checkpoint_last.pt"
    assert start(str(tmp_path), default, None) is None
    assert start(str(tmp_path), default, str(other)) == str(other)
    assert start(str(tmp_path), str(other), None) == str(other)
    assert start(str(tmp_path), str(missing), None) is None
    last.touch()
    assert start(str(tmp_path), default, str(other)) == str(last)
    assert start(None, None, None) is None
    assert start("${checkpoint.save_dir}", default, None) is None


def test_help_shows_the_options_of_the_chosen_parts(capsys):
    parser = options.get_training_parser()
    chosen = ["--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--optimizer", "fused_adamw"]
    with pytest.raises(SystemExit) as end:
        options.parse_args_and_arch(parser, [*chosen, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert all(flag in shown for flag in ("--alibi-bos", "--omit-mask", "--decay-all", "--max-update"))


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path, monkeypatch):
    source, target = tmp_path / "new.pt", tmp_path / "checkpoint_last.pt"
    source.write_text("new")
    target.write_text("old")

    def killed(src_path, dst_path, overwrite=False):
        Path(dst_path).write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compat.copy_whole(killed, source, target)
    assert target.read_text() == "old"
    assert PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_text() == "new"


def test_threads_that_read_ahead_end_when_the_program_does(monkeypatch):
    monkeypatch.setattr(compat, "READERS", weakref.WeakSet())
    batches = iterators.BufferedIterator(2, range(1000))
    assert next(batches) == 0
    (reader,) = compat.READERS
    assert reader.is_alive()  # it waits for room
    compat.stop_reading_ahead()
    assert not reader.is_alive()


def mixed_precision(kind, params, **more):
    from fairseq.dataclass.configs import FairseqConfig
    from omegaconf import OmegaConf, open_dict

    from plugins.optim.fused_adamw import FusedAdamWConfig

    cfg = OmegaConf.structured(FairseqConfig())
    with open_dict(cfg):
        cfg.optimizer = OmegaConf.structured(FusedAdamWConfig(_name="fused_adamw", lr=[0.1], weight_decay=0.5))
        cfg.common.update(more)
    return kind.build_optimizer(cfg, params)


def test_float32_copies_keep_what_the_optimiser_groups_parameters_by():
    from fairseq.optim import FP16Optimizer

    params = [torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16)) for _ in range(3)]
    params[1].no_weight_decay, params[2].lr_scale = True, 0.25
    optimizer = mixed_precision(FP16Optimizer, params, bf16=True)
    groups = {(g["weight_decay"], g["lr_scale"]) for g in optimizer.fp32_optimizer.param_groups}
    assert groups == {(0.5, 1.0), (0.0, 1.0), (0.5, 0.25)}


@pytest.mark.parametrize("clip", [0.0, 100.0])
def test_amp_undoes_the_scale_of_the_gradients_once(clip, monkeypatch):
    from fairseq.optim import AMPOptimizer

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda **options: scaler)
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = mixed_precision(AMPOptimizer, [param])
    optimizer.fp32_optimizer._optimizer = torch.optim.SGD([param], lr=0.5)
    optimizer.backward((param * torch.tensor([1.0, 2.0])).sum())
    optimizer.clip_grad_norm(clip)
    optimizer.step()
    assert param.tolist() == [-0.5, -1.0]
