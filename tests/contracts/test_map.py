"""The map in CONTRIBUTING.md names every file of the package, and only existing files."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "plugins"


def places():
    """Return the paths in the map: files, or folders that it names as a whole."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = text.split("\n### Map\n")[1].split("\n## ")[0].splitlines()
    found = []
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        floor = re.fullmatch(r"`([\w/]+)/`", cells[0])
        if floor:
            names = re.findall(r"`([\w/]+)`", " ".join(cells[1:]))
            found += [ROOT / floor[1] / name for name in names] or [ROOT / floor[1]]
    return [path.with_suffix(".py") if path.with_suffix(".py").exists() else path for path in found]


def test_every_place_exists():
    assert [str(path) for path in places() if not path.exists()] == []


def test_every_file_of_the_package_has_one_place():
    named = places()
    assert len(named) == len(set(named))
    files = {path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    missing = {path for path in files if not {path, *path.parents} & set(named)}
    assert sorted(str(path.relative_to(ROOT)) for path in missing) == []
