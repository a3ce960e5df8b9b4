"""The code in exported folders: complete, licensed, and nothing that cannot be copied."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from plugins.hub.huggingface import remote_code

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("shell", ["modeling_decoder_lm", "modeling_clap_roberta"])
def test_every_import_of_the_code_is_in_the_folder(shell):
    found = remote_code.files_of(shell)
    assert f"{shell}.py" in found and len(found) > 5
    for name, source in found.items():
        if name == "LICENSE":
            continue
        assert source.startswith("# Part of fairseq-workbench") and "plugins" not in source.split('"""')[2]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert f"{node.module}.py" in found
    assert found["LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "configuration_clap_roberta.py" in found or shell == "modeling_decoder_lm"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from .a import x\nfrom .b import y\nimport torch\nfrom torch import nn", {"a", "b"}),
        ("from __future__ import annotations", set()),
        ("def f():\n    from .c import z", {"c"}),
    ],
)
def test_imports_from_the_folder(source, expected):
    assert remote_code.imported(source, Path("x.py")) == expected


@pytest.mark.parametrize(
    "source",
    ["from plugins.data import x", "from plugins import x", "import plugins", "import os, plugins.data",
     "from . import a", "from ..a import b", "from .a.b import c"],
)  # fmt: skip
def test_imports_that_cannot_be_copied_are_located(source):
    with pytest.raises(ValueError, match=r"x\.py:2"):
        remote_code.imported(f"\n{source}", Path("x.py"))


def test_an_installed_package_has_its_license_among_its_files(monkeypatch, tmp_path):
    monkeypatch.setattr(remote_code, "MODULES", tmp_path / "plugins" / "modules")
    (tmp_path / "INSTALLED").write_text("the license")
    entries = [SimpleNamespace(name="METADATA"), SimpleNamespace(
        name="LICENSE", read_text=lambda encoding: (tmp_path / "INSTALLED").read_text(encoding)
    )]  # fmt: skip
    monkeypatch.setattr(remote_code.metadata, "files", lambda name: entries if name == "fairseq-workbench" else None)
    assert remote_code.license_text() == "the license"
    for found in ([], None):
        monkeypatch.setattr(remote_code.metadata, "files", lambda name, found=found: found)
        assert "MIT license" in remote_code.license_text()
