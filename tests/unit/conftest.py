"""Toy character LMs, and scripts run in this process."""

import importlib.util
import logging
import sys

import pytest
import toy


@pytest.fixture
def make_char_lm():
    return toy.make_char_lm


@pytest.fixture(scope="session")
def load_script():
    """Import a script by its name, as a module of its own."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, toy.ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(toy.ROOT / "scripts"))  # as Python does for a script that it runs
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(toy.ROOT / "scripts"))
        return module

    return load


@pytest.fixture
def run_script(load_script, monkeypatch):
    """Run the command line of a script: it returns nothing, or raises what ends it."""

    def run(name, *arguments):
        module = load_script(name)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        monkeypatch.setattr(logging.root.manager, "disable", logging.root.manager.disable)
        module.main()

    return run
