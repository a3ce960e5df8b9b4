"""The characters of models that come without a dictionary."""

import io
import json
import pickle
import time

import pytest
import toy

from plugins.hub.characters import read_characters

META = {"vocab_size": 3, "itos": {0: "a", 1: "b", 2: "c"}, "stoi": {"a": 0, "b": 1, "c": 2}}


@pytest.mark.parametrize(
    "source", ["abc", ["a", "b", "c"], {0: "a", 1: "b", 2: "c"}, {"2": "c", "0": "a", "1": "b"}, META]
)
def test_every_format_of_characters_returns_the_list(source, tmp_path):
    path = tmp_path / "itos.json"
    path.write_text(json.dumps(source))
    assert read_characters(source) == read_characters(path) == read_characters(str(path)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "source", ["cab", ["c", "a", "b"], {1: "a", 0: "c", 2: "b"}, {"itos": {0: "c", 1: "a", 2: "b"}}]
)
def test_any_order_is_kept(source, tmp_path):
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(source))
    assert read_characters(source) == read_characters(tmp_path / "meta.pkl") == ["c", "a", "b"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nanogpts_meta_is_read(protocol, tmp_path):
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(META, protocol))
    assert read_characters(tmp_path / "meta.pkl") == ["a", "b", "c"]


class Bomb:
    def __reduce__(self):
        return io.open, ("ran.txt", "w")


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps({"itos": Bomb()}))
    with toy.refused("meta.pkl", f"{open.__module__}.open"):
        read_characters("meta.pkl")
    assert not (tmp_path / "ran.txt").exists()


def laughs():
    found = ["a"]
    for _ in range(60):  # 2^60 characters in its repr
        found = [found, found]
    return found


@pytest.mark.parametrize(
    "source, named",
    [
        ({0: "a", 2: "b"}, "index 1"),
        ({"x": "a"}, "keys"),
        (["ab"], "'ab'"),
        ([1, 2], "int"),
        (["a", None], "index 1"),
        ({float("inf"): "a"}, "keys"),
        (laughs(), "list"),
        ({0: 10**6000}, "int"),
        ("aab", "'a'"),
        (7, "int"),
        ({"a", "b"}, "set"),  # without an order
    ],
)
def test_input_that_is_not_characters(source, named):
    with toy.refused(named):
        read_characters(source)


@pytest.mark.parametrize("name, content", [("a.json", b"{"), ("meta.pkl", b"\x80"), ("meta.pkl", b"")])
def test_damaged_files_are_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with toy.refused(name):
        read_characters(tmp_path / name)
    with toy.refused("none.json"):
        read_characters(tmp_path / "none.json")


def test_the_search_for_a_duplicate_is_linear():
    characters = [chr(code) for code in range(0x10000, 0x10000 + 200_000)]
    start = time.process_time()
    with toy.refused(repr(characters[-1])):
        read_characters([*characters, characters[-1]])
    assert time.process_time() - start < 5  # a count of the list for each character takes 20 minutes


def test_a_pickle_that_refers_to_other_files_is_refused(tmp_path):
    (tmp_path / "meta.pkl").write_bytes(b"\x80\x02}X\x04\x00\x00\x00itosX\x01\x00\x00\x00aQs.")
    with toy.refused("meta.pkl") as error:
        read_characters(tmp_path / "meta.pkl")
    assert "damaged" not in str(error.value)
