"""The import of fairseq."""

import builtins
import importlib.metadata
import logging
import sys
import warnings

import pytest

from plugins.compat import importing


def test_the_pinned_version_passes_and_any_other_is_a_warning_that_names_both():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importing.check_version("fairseq-fixed 0.12.3.1")
    for other in ("fairseq 0.12.3.1", "fairseq-fixed 0.12.4", "an unknown version"):
        with pytest.warns(UserWarning, match=f"fairseq-fixed 0.12.3.1, but {other}"):
            importing.check_version(other)


@pytest.mark.parametrize("names, found", [
    (["fairseq-fixed", "fairseq"], "fairseq-fixed 1.2"), (["fairseq"], "fairseq 1.2"), ([], "an unknown version"),
])  # fmt: skip
def test_the_version_is_found_under_either_name(monkeypatch, names, found):
    def version(name):
        if name not in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert importing.installed() == found


def test_the_root_logger_is_left_as_it_was(monkeypatch):
    checked = []
    monkeypatch.setattr(importing, "check_version", checked.append)
    monkeypatch.setattr(importing, "installed", lambda: "x")
    monkeypatch.setattr(logging.root, "level", 17)
    before = logging.root.handlers[:], logging.root.manager.disable
    importing.import_fairseq()
    assert (logging.root.handlers, logging.root.manager.disable) == before and logging.root.level == 17
    assert checked == ["x"]


def test_handlers_and_levels_that_fairseq_sets_are_removed(monkeypatch):
    original = builtins.__import__

    def noisy(name, *given, **more):
        if name == "fairseq":
            logging.root.addHandler(logging.NullHandler())
            logging.root.setLevel(logging.DEBUG)
            seen.append(logging.root.manager.disable)
        return original(name, *given, **more)

    seen = []
    monkeypatch.setattr(importing, "check_version", lambda found: None)
    monkeypatch.setattr(builtins, "__import__", noisy)
    before = logging.root.handlers[:], logging.root.level
    importing.import_fairseq()
    assert (logging.root.handlers, logging.root.level) == before and seen == [logging.INFO]


def test_only_the_programs_of_fairseq_report_errors_in_one_line(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for name in [name for name in sys.modules if name.startswith("fairseq_cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    importing.report_errors()
    assert sys.excepthook is sys.__excepthook__
    monkeypatch.setitem(sys.modules, "fairseq_cli.train", sys)
    importing.report_errors()
    assert sys.excepthook.reports_user_errors
