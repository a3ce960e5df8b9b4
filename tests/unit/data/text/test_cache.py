"""Entries of the cache: found by key, checked, rebuilt."""

import json
import os
from pathlib import Path

import pytest
import toy

from plugins.data.text import cache
from plugins.data.text.sources import CorpusSpec

KEY = {"files": {"train": [["a.txt", "digest", None, False]]}, "format": (1, 2)}


def write(text, calls=None):
    def encode(folder):
        if calls is not None:
            calls.append(folder)
        Path(folder, "data").write_text(text)
        return {"length": len(text)}

    return encode


def test_an_entry_is_written_once_for_a_key(tmp_path):
    calls = []
    folder, content = cache.cached(str(tmp_path), KEY, write("abc", calls))
    assert content["length"] == 3 and Path(folder, "data").read_text() == "abc"
    assert cache.cached(str(tmp_path), KEY, write("other", calls)) == (folder, content) and len(calls) == 1
    other, _ = cache.cached(str(tmp_path), KEY | {"format": 3}, write("x"))
    assert other != folder and sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, (folder, other)))


def test_entries_of_changed_files_are_removed_and_those_of_other_files_stay(tmp_path):
    old, _ = cache.cached(str(tmp_path), KEY, write("a"))
    foreign, _ = cache.cached(str(tmp_path), {**KEY, "files": {"train": [["b.txt", "x", None, False]]}}, write("b"))
    (tmp_path / "notes").mkdir()
    new, _ = cache.cached(str(tmp_path), {**KEY, "files": {"train": [["a.txt", "new", None, False]]}}, write("c"))
    assert sorted(os.listdir(tmp_path)) == sorted([*map(os.path.basename, (foreign, new)), "notes"])
    assert not os.path.exists(old)


@pytest.mark.parametrize("damage", ["content", "missing", "description", "key"])
def test_a_damaged_entry_is_written_again_with_a_warning(tmp_path, caplog, damage):
    folder, _ = cache.cached(str(tmp_path), KEY, write("abc"))
    description = Path(folder, cache.DESCRIPTION)
    if damage == "content":
        Path(folder, "data").write_text("abd")
    elif damage == "missing":
        Path(folder, "data").unlink()
    elif damage == "description":
        description.write_text(description.read_text().replace('"length": 3', '"length": 4'))
    else:  # of another key, with a checksum that is right
        stored = json.loads(description.read_text())["content"] | {"key": {}}
        description.write_text(json.dumps({"content": stored, "digest": cache.checksum(stored)}))
    assert cache.cached(str(tmp_path), KEY, write("new"))[1]["length"] == 3
    assert Path(folder, "data").read_text() == "new" and folder in caplog.text


def test_a_link_in_the_place_of_an_entry_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").touch()
    folder, _ = cache.cached(str(tmp_path / "cache"), KEY, write("abc"))
    cache.remove(folder)
    os.symlink(tmp_path / "precious", folder)
    cache.cached(str(tmp_path / "cache"), KEY, write("abc"))
    assert not os.path.islink(folder) and (tmp_path / "precious" / "thesis").exists()


def test_an_entry_that_is_damaged_when_read_back_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "read_entry", lambda folder, key=None: None)
    with toy.refused(tmp_path, "--data-cache"):
        cache.cached(str(tmp_path), KEY, write("abc"))


def test_the_description_of_sources_is_options_and_digests(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    spec = CorpusSpec((str(tmp_path / "a.txt"),), test_fraction=0.25)
    found = cache.describe_sources(spec, spec.sources())
    assert found == {
        "options": {"unit": "char", "style_from": "none", "style_key": "style", "jsonl_key": "text",
                    "shares": ["13/20", "3/4"]},
        "files": {"train": [[str(tmp_path / "a.txt"), "cf4ab791c62b8d2b2109c90275287816", None, False]],
                  "valid": [], "test": []},
    }  # fmt: skip
    with toy.refused(tmp_path / "b.txt"):
        cache.digest(tmp_path / "b.txt")
