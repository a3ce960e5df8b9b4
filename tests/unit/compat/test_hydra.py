"""Runs of fairseq-hydra-train: the working directory, and the jobs of a multirun."""

import os
import sys
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from plugins.compat import hydra


@pytest.fixture
def started(monkeypatch):
    """Return a function that pretends that hydra started this program with these values."""

    def start(initialized=True, **config):
        found = SimpleNamespace(initialized=lambda: initialized, get=lambda: SimpleNamespace(**config))
        monkeypatch.setitem(sys.modules, "hydra.core.hydra_config", SimpleNamespace(HydraConfig=found))

    return start


def test_the_output_folder_is_left_for_where_the_command_was_started(started, tmp_path, monkeypatch):
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path / "outputs")
    runtime = OmegaConf.create({"cwd": str(tmp_path), "output_dir": str(tmp_path / "outputs")})
    started(initialized=False, runtime=runtime)
    hydra.leave_output_folder()
    assert os.getcwd() == str(tmp_path / "outputs")
    started(runtime=runtime)
    hydra.leave_output_folder()
    assert os.getcwd() == str(tmp_path)
    runtime.cwd = "/"
    hydra.leave_output_folder()  # elsewhere already
    assert os.getcwd() == str(tmp_path)


def test_a_program_that_hydra_did_not_start_stays_where_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "hydra.core.hydra_config", raising=False)
    hydra.leave_output_folder()
    assert os.getcwd() == str(tmp_path) and hydra.multirun_folder() is None


@pytest.mark.parametrize("mode, given, expected", [
    ("RunMode.MULTIRUN", ["task.data=x"], "job_3"), ("RunMode.RUN", [], None),
    ("RunMode.MULTIRUN", ["checkpoint.save_dir=a,b"], None), ("RunMode.MULTIRUN", ["+checkpoint.save_dir=a"], None),
])  # fmt: skip
def test_each_job_of_a_multirun_has_a_folder_unless_the_command_names_them(started, mode, given, expected):
    started(mode=mode, overrides=SimpleNamespace(task=given), job=SimpleNamespace(num=3))
    assert hydra.multirun_folder() == expected
    started(initialized=False, mode=mode, overrides=SimpleNamespace(task=given), job=SimpleNamespace(num=3))
    assert hydra.multirun_folder() is None


def test_a_job_saves_in_its_own_folder(monkeypatch, tmp_path):
    shared = str(tmp_path / "runs")
    monkeypatch.setattr(hydra, "multirun_folder", lambda: "job_1")
    cfg = OmegaConf.create({"checkpoint": {"save_dir": shared}, "model": {"save_dir": shared}, "task": None})
    hydra.begin_run(cfg)
    assert cfg.checkpoint.save_dir == cfg.model.save_dir == str(tmp_path / "runs" / "job_1")
    assert os.path.isdir(cfg.checkpoint.save_dir)
    hydra.begin_run(cfg)  # the folder may exist


def test_a_single_run_keeps_its_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(hydra, "multirun_folder", lambda: None)
    cfg = OmegaConf.create({"checkpoint": {"save_dir": str(tmp_path)}, "model": {"save_dir": "other"}, "task": {}})
    hydra.begin_run(cfg)
    assert (cfg.checkpoint.save_dir, cfg.model.save_dir) == (str(tmp_path), "other")


def test_an_output_folder_that_hydra_does_not_name_is_the_present_one(started, tmp_path, monkeypatch):
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path / "outputs")
    started(runtime=OmegaConf.create({"cwd": str(tmp_path)}))
    hydra.leave_output_folder()
    assert os.getcwd() == str(tmp_path)


def test_only_a_part_that_shares_the_folder_follows_it(monkeypatch, tmp_path):
    monkeypatch.setattr(hydra, "multirun_folder", lambda: "job_0")
    cfg = OmegaConf.create({"checkpoint": {"save_dir": str(tmp_path)}, "model": {"save_dir": "other"},
                            "task": {"save_dir": str(tmp_path), "data": "x"}})  # fmt: skip
    hydra.begin_run(cfg)
    assert (cfg.model.save_dir, cfg.task.save_dir) == ("other", str(tmp_path / "job_0"))
