"""Files of a Hugging Face folder: read with checks, written atomically."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toy
from safetensors.torch import save_file

from plugins.hub import gpt2
from plugins.hub.huggingface import files, roberta_in

PATH = Path("folder/config.json")


def test_sizes_are_positive_integers():
    assert files.sizes_of({"a": 1, "b": 2}, {"a": "ours"}, PATH) == {"ours": 1}
    for value, shown in ((0, "0"), (-1, "-1"), (True, "true"), (2.0, "2.0"), ("2", "2"), (None, "null")):
        with toy.refused(PATH, f"a {shown}"):
            files.sizes_of({"a": value}, {"a": "ours"}, PATH)
    with toy.refused(PATH, "no a"):
        files.sizes_of({}, {"a": "ours"}, PATH)


def test_numbers_have_a_range_and_a_default():
    assert files.number_of({}, "a", 0.5, PATH) == 0.5
    assert [files.number_of({"a": value}, "a", 0.5, PATH) for value in (0, 1, 0.25)] == [0, 1, 0.25]
    for value, shown in ((-0.1, "-0.1"), (1.1, "1.1"), (True, "true"), ("1", "1"), (float("nan"), "NaN")):
        with toy.refused(PATH, f"a {shown}"):
            files.number_of({"a": value}, "a", 0.5, PATH)


def test_a_number_can_be_required_to_be_positive():
    assert files.number_of({"a": 1e-9}, "a", 0.5, PATH, positive=True) == 1e-9
    with toy.refused(PATH, "a 0"):
        files.number_of({"a": 0}, "a", 0.5, PATH, positive=True)


def test_booleans_are_no_strings_or_numbers():
    assert files.flag_of({}, "a", True, PATH) and files.flag_of({"a": True}, "a", False, PATH)
    assert not files.flag_of({"a": False}, "a", True, PATH) and not files.flag_of({"a": None}, "a", True, PATH)
    for value, shown in (("false", "false"), (0, "0"), ([], "[]")):
        with toy.refused(PATH, f"a {shown}"):
            files.flag_of({"a": value}, "a", True, PATH)


def test_a_value_that_the_model_does_not_have_is_named():
    files.check_fixed({"a": 1, "other": 3}, {"a": 1, "b": 2}, PATH, "causal_lm")
    with toy.refused(PATH, "b 3", "causal_lm", "only 2"):
        files.check_fixed({"b": 3}, {"a": 1, "b": 2}, PATH, "causal_lm")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), (None, "null"), ([1], "[1]"), ("x" * 100, "x" * 100), ("x" * 101, "x" * 97 + "...")],
)
def test_values_are_shown_briefly(value, expected):
    assert files.shown(value) == expected


def test_layers_are_counted_by_their_highest_number():
    assert files.count_layers({"h.0.a": 1, "h.11.b": 1, "h.x.c": 1, "g.99.a": 1}, "h.") == 12
    assert files.count_layers({}, "h.") == 0
    files.check_size(PATH, "n", 3, 3)
    with toy.refused(PATH, "n 3", 4):
        files.check_size(PATH, "n", 3, 4)


def test_weights_are_searched_in_order(tmp_path):
    index = {"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "1.safetensors"}}
    with toy.refused(tmp_path):
        files.weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    assert files.weight_files(tmp_path) == [tmp_path / "pytorch_model.bin"]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert files.weight_files(tmp_path) == [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    (tmp_path / "model.safetensors").touch()
    assert files.weight_files(tmp_path) == [tmp_path / "model.safetensors"]


@pytest.mark.parametrize("parts", [{"a": "../x.safetensors"}, {"a": "sub/x.safetensors"}, {}, [], None])
def test_an_index_names_files_of_its_folder(tmp_path, parts):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with toy.refused(tmp_path / "model.safetensors.index.json", "weight_map"):
        files.weight_files(tmp_path)


def test_a_folder_is_written_whole_and_read_back(tmp_path):
    tensors = {"a": torch.tensor([[1.5, 2.5]]).t(), "position_ids": torch.tensor([3])}
    content = {"c.json": {"é": 1}, "d/e.txt": "text é", "f.bin": b"\x00"}
    files.write_folder(tmp_path / "new" / "hf", content, tensors, "bfloat16")
    folder = tmp_path / "new" / "hf"
    found = files.read_weights(folder)
    assert {name: (tensor.dtype, tensor.tolist()) for name, (tensor, _) in found.items()} == {
        "a": (torch.bfloat16, [[1.5], [2.5]]), "position_ids": (torch.int64, [3]),
    }  # fmt: skip
    assert found["a"][1] == folder / "model.safetensors"
    assert (folder / "c.json").read_text(encoding="utf-8") == '{\n  "é": 1\n}\n'
    assert (folder / "d" / "e.txt").read_text(encoding="utf-8") == "text é" and (
        folder / "f.bin"
    ).read_bytes() == b"\x00"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["hf"]
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o666 & ~files.umask()}


def test_the_mask_of_permissions_is_not_changed():
    before = files.umask()
    assert files.umask() == before


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_nothing_is_overwritten(tmp_path, kind):
    folder = tmp_path / "hf"
    folder.mkdir() if kind == "folder" else folder.symlink_to(tmp_path / "nowhere")
    with toy.refused(folder):
        files.write_folder(folder, {}, {})
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_another_process_has_written_meanwhile_is_kept(tmp_path, monkeypatch):
    def meanwhile(*arguments):
        (tmp_path / "hf").mkdir()
        (tmp_path / "hf" / "theirs").touch()

    monkeypatch.setattr(files, "save_tensors", meanwhile)
    with toy.refused(tmp_path / "hf", "exists"):
        files.write_folder(tmp_path / "hf", {"a": "b"}, {})
    assert [path.name for path in tmp_path.rglob("*")] == ["hf", "theirs"]


def test_weights_that_do_not_fit_onto_the_disk_are_one_line(tmp_path, monkeypatch):
    class SafetensorError(Exception):
        """What the library raises, which is no OSError."""

    error = SafetensorError("I/O error: No space left on device (os error 28)")
    monkeypatch.setattr(files.safetensors(), "save_file", toy.raising(error))
    with toy.refused(tmp_path / "hf", "No space left on device"):
        files.write_folder(tmp_path / "hf", {}, {"a": torch.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_tensors", full)
    with toy.refused(tmp_path / "hf", "No space left on device"):
        files.write_folder(tmp_path / "hf", {"a": "b"}, {})
    assert not list(tmp_path.iterdir())


def test_large_weights_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SHARD_SIZE", "1KB")
    tensors = {name: torch.full((200,), float(i)) for i, name in enumerate("abc")}
    files.write_folder(tmp_path / "hf", {}, tensors, None, stem="adapter_model")
    index = json.loads((tmp_path / "hf" / "adapter_model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == 3 and index["metadata"] == {"total_size": 2400}
    for name, file in index["weight_map"].items():
        assert file.startswith("adapter_model-0000")
        assert torch.equal(files.read_tensors(tmp_path / "hf" / file)[name], tensors[name])


def test_damaged_and_missing_weights_are_named(tmp_path):
    with toy.refused(tmp_path / "a.safetensors", "no such file"):
        files.read_tensors(tmp_path / "a.safetensors")
    for name in ("a.safetensors", "b.bin"):
        (tmp_path / name).write_bytes(b"nonsense")
        with toy.refused(tmp_path / name):
            files.read_tensors(tmp_path / name)


def test_a_folder_is_known_by_its_config(tmp_path):
    assert not files.is_folder(tmp_path)
    (tmp_path / "config.json").touch()
    assert files.is_folder(str(tmp_path))


@pytest.mark.parametrize("tensor", [torch.tensor([1.0, float("nan")]), torch.tensor([1, 2])])
def test_weights_are_finite_floating_point_numbers(tmp_path, tensor):
    save_file({"w": tensor}, tmp_path / "model.safetensors")
    with toy.refused(tmp_path / "model.safetensors", "weight w"):
        files.check_finite(files.read_weights(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with toy.refused(tmp_path / name):
        files.read_weights(tmp_path)


def test_a_tensor_has_dimensions(tmp_path):
    with toy.refused("model.safetensors", "wte"):
        files.check_finite({"wte": (torch.tensor(1.0), tmp_path / "model.safetensors")})


def test_a_tensor_in_two_parts_is_named(tmp_path):
    for number in "12":
        torch.save({"a": torch.zeros(2), f"b{number}": torch.zeros(2)}, tmp_path / f"{number}.bin")
    index = {"weight_map": {"a": "1.bin", "b1": "1.bin", "b2": "2.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with toy.refused(tmp_path / "2.bin", "contains a", "1.bin"):
        files.read_weights(tmp_path)


def test_only_tensors_that_a_model_takes_over_are_finite(tmp_path):
    unused = {"roberta.pooler.dense.weight": torch.tensor([float("nan")])}
    mask = {"h.0.attn.bias": torch.tensor([float("-inf")])}
    save_file({"w": torch.ones(1)} | unused | mask, tmp_path / "model.safetensors")
    assert "w" in files.check_finite({k: v for k, v in roberta_in.read_weights(tmp_path).items() if k not in mask})
    assert "w" in files.check_finite({k: v for k, v in gpt2.read_weights(tmp_path).items() if k not in unused})


def test_a_tuned_model_is_not_exported():
    files.check_untuned(SimpleNamespace(peft="none"))
    with toy.refused("--peft lora", "merge_peft.py"):
        files.check_untuned(SimpleNamespace(peft="lora"))
    with toy.refused("--peft prompt", "--export"):
        files.check_untuned(SimpleNamespace(peft="prompt"))
