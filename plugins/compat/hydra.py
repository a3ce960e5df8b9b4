"""Runs of ``fairseq-hydra-train``.

Defects: hydra changes to its output folder before the plugin is imported, so relative paths of the command line would
be resolved there. Several runs in one process (``-m``) share a save directory.

Reported: https://github.com/facebookresearch/fairseq/pull/4189 and
https://github.com/hydra-ecosystem/hydra/issues/922 (relative paths).
"""

import os
import sys

from omegaconf import DictConfig, open_dict

from .patching import repaired


def install() -> None:
    """Apply the repairs of this file, and record them."""
    leave_output_folder()
    repaired("hydra paths", "relative paths are resolved against the directory the command was started in")


def leave_output_folder() -> None:
    """Change back to the directory the command was started in, if hydra started this program."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is None or not hydra.HydraConfig.initialized():
        return
    runtime = hydra.HydraConfig.get().runtime
    if os.path.realpath(os.getcwd()) == os.path.realpath(runtime.get("output_dir") or os.getcwd()):
        os.chdir(runtime.cwd)


def begin_run(cfg: DictConfig) -> None:
    """Give each job of a multirun its own save directory."""
    folder = multirun_folder()
    if folder is not None:
        shared = cfg.checkpoint.save_dir
        own = os.path.join(shared, folder)
        os.makedirs(own, exist_ok=True)
        with open_dict(cfg):
            for section in (cfg.checkpoint, cfg.model, cfg.task):
                if section is not None and section.get("save_dir") == shared:
                    section.save_dir = own


def multirun_folder() -> str | None:
    """Return the name of this job's folder in a multirun; None outside of one, or if the command names save_dir."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is None or not hydra.HydraConfig.initialized():
        return None
    config = hydra.HydraConfig.get()
    if not str(config.mode).endswith("MULTIRUN"):
        return None
    given = [text.lstrip("+").partition("=")[0] for text in config.overrides.task]
    return None if "checkpoint.save_dir" in given else f"job_{config.job.num}"
