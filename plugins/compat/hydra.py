"""The working directory under ``fairseq-hydra-train``.

Defect: hydra changes to its output folder before the plugin is imported, so relative paths of the command line would be
resolved there.
"""

import os
import sys

from .patching import repaired


def install() -> None:
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
