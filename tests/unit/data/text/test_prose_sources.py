"""Docstrings and licenses of what is installed."""

from pathlib import Path

import pytest

from plugins.data.text import prose_sources

MODULE = '''"""Of the module."""
class A:
    """Of A."""
    def f(self):
        pass
    async def g(self):
        """Of g."""
if True:
    def h():
        """Within a condition."""
'''


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_docstrings_are_in_order_and_missing_ones_are_empty(tmp_path):
    assert prose_sources.docstrings(write(tmp_path / "a.py", MODULE)) == ["Of the module.", "Of A.", "", "Of g."]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""One."""', 0),
        ('"""One."""\nx = """two"""', 1),
        (MODULE + "(", 0),
        (MODULE + "\0", 0),
        (b"\xff" + MODULE.encode(), 0),
    ],
)
def test_a_module_with_one_docstring_or_errors_has_none(tmp_path, text, count):
    assert len(prose_sources.docstrings(write(tmp_path / "a.py", text))) == count


@pytest.fixture
def installed(tmp_path, monkeypatch):
    for name in ("b.py", "a.py", "tests/c.py", "sub/site-packages/d.py", "sub/e.py", "notes.txt"):
        write(tmp_path / "package" / name, MODULE.replace("Of A", f"Of {name}"))
    write(tmp_path / "site" / "x.dist-info" / "LICENSE", "first")
    write(tmp_path / "site" / "x.dist-info" / "licenses" / "LICENCE.txt", "second")
    write(tmp_path / "site" / "x.dist-info" / "METADATA", "none")
    (tmp_path / "site" / "y.dist-info" / "LICENSES").mkdir(parents=True)
    monkeypatch.setattr(prose_sources, "_package_folders", lambda: [("package", tmp_path / "package")])
    monkeypatch.setattr(prose_sources, "_language_reference", lambda: ["topic"])
    monkeypatch.setattr(prose_sources.sysconfig, "get_path", lambda name: str(tmp_path / "site"))


def test_texts_are_reference_then_licenses_then_modules_without_tests(installed):
    names = [name for name, _ in prose_sources.modules()]
    assert names == ["package/a.py", "package/b.py", "package/sub/e.py"]
    found = list(prose_sources.installed_texts())
    assert found[:3] == ["topic", "first", "second"]
    assert found[3] == "Of the module.\n\nOf a.py.\n\n\n\nOf g." and len(found) == 6
    assert len(list(prose_sources.installed_texts(skipped=["package/b.py"]))) == 5


def test_packages_are_located_in_their_order():
    folders = list(prose_sources._package_folders())
    assert [name for name, _ in folders][:3] == ["numpy", "scipy", "sklearn"]
    assert {"python", "torch"} < {name for name, _ in folders}
    assert all(Path(folder).is_dir() for _, folder in folders)


def test_topics_of_the_reference_are_sorted():
    from pydoc_data.topics import topics

    assert list(prose_sources._language_reference()) == [topics[name] for name in sorted(topics)]
