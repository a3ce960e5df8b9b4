"""Toy character LMs, and scripts run in this process."""

import importlib.util
import logging
import sys

import pytest
import toy


@pytest.fixture
def make_char_lm():
    return toy.make_char_lm


@pytest.fixture
def run_script(monkeypatch):
    """Run the command line of a script: it returns nothing, or raises what ends it."""

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(name, toy.ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        monkeypatch.setattr(logging.root.manager, "disable", logging.root.manager.disable)
        module.main()

    return run
