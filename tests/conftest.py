"""Shared state of all tests: fixed seeds, float32, few threads, nothing left over from another test."""

import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
for path in (str(ROOT / "tests"), str(ROOT)):  # so that `import toy` and `import plugins` work from anywhere
    if path not in sys.path:
        sys.path.insert(0, path)
sys.path.append(str(ROOT / "scripts"))  # the files that scripts share, as Python does for a script that it runs


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a background job: the tests of Ctrl-C would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def start_fresh():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    torch.set_num_threads(1)  # toy tensors: a second thread does not help


@pytest.fixture(scope="session")
def golden():
    """The folder with checkpoints and outputs of the reference implementations."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("needs ../shared/golden: reference checkpoints, which are not in the repository")
    return folder


@pytest.fixture(scope="session")
def glue():
    """A folder with the official files of CoLA, RTE and MRPC."""
    folder = ROOT.parent / "shared" / "data" / "glue"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/glue: files of GLUE, which are not in the repository")
    return folder


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    """A data folder of a small grammar; read it, do not write to it."""
    import toy

    return toy.make_data(tmp_path_factory.mktemp("toy") / "data")
