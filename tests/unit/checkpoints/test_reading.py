"""Reading checkpoint files: no code execution, no more memory than the file, one-line errors."""

import argparse
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
import toy
from fairseq import checkpoint_utils

from plugins import checkpoints, hub
from plugins.checkpoints import reading


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def state(**more):
    history = [{"criterion_name": "x", "optimizer_name": "y", "lr_scheduler_state": {}, "num_updates": 1}]
    extra = {"train_iterator": {"epoch": 1}}
    return {
        "args": None,
        "cfg": None,
        "model": {"w": torch.ones(2)},
        "optimizer_history": history,
        "extra_state": extra,
        **more,
    }


READERS = {
    "read_state": checkpoints.read_state,
    "fairseq": lambda path: checkpoint_utils.load_checkpoint_to_cpu(path),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("old_format", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(tmp_path, reader, old_format):
    marker, path = tmp_path / "it-ran", str(tmp_path / "evil.pt")
    torch.save(state(extra=Malicious(marker)), path, _use_new_zipfile_serialization=not old_format)
    with toy.refused(path) as error:
        READERS[reader](path)
    assert not marker.exists()
    assert "system" in str(error.value)
    assert "\n" not in str(error.value)


def test_code_in_a_checkpoint_runs_with_an_unsafe_reader(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "it-ran")))
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("reader", READERS)
def test_a_bare_pickle_is_refused_and_nothing_runs(tmp_path, reader):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(state(extra=Malicious(tmp_path / "it-ran"))))
    with toy.refused("evil.pt"):
        READERS[reader](str(path))
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.95])
def test_a_truncated_checkpoint_gives_one_line_that_names_it(tmp_path, reader, keep):
    path = tmp_path / "cut.pt"
    torch.save(state(extra=torch.ones(1000)), path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep in (0, 1, 100) else int(keep * len(content))])
    with toy.refused("cut.pt") as error:
        READERS[reader](str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_checkpoint_is_named(tmp_path, reader):
    with toy.refused("nowhere.pt"):
        READERS[reader](str(tmp_path / "nowhere.pt"))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("old_format", [False, True])
def test_plain_data_of_fairseq_and_numpy_loads(tmp_path, reader, old_format):
    path = str(tmp_path / "plain.pt")
    extra = {"train_iterator": {"epoch": 1}, "best": np.float64(1.5),
             "f": np.float32(2.5), "n": np.int64(3), "i": np.int32(4), "b": np.bool_(True),
             "options": argparse.Namespace(lr=[0.1]), "dtype": torch.float16}  # fmt: skip
    torch.save(state(extra_state=extra), path, _use_new_zipfile_serialization=not old_format)
    loaded = READERS[reader](path)["extra_state"]
    assert (loaded["best"], loaded["f"], loaded["n"], loaded["i"], loaded["b"]) == (1.5, 2.5, 3, 4, True)
    assert loaded["options"].lr == [0.1]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [[1, 2], {"weights": torch.ones(2)}, torch.ones(3)], ids=["list", "dict", "tensor"])
def test_a_file_that_is_not_a_checkpoint_is_named(tmp_path, reader, content):
    path = str(tmp_path / "odd.pt")
    torch.save(content, path)
    with toy.refused("odd.pt"):
        READERS[reader](path)


def test_torchs_own_reader_stays_weights_only(tmp_path):
    """The patches extend the allow-list; they never disable weights-only loading."""
    path = tmp_path / "evil.pt"
    torch.save(Malicious(tmp_path / "it-ran"), path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", ["V2000000000", "S9", "U9", "O", "M8[s]"])
def test_a_numpy_scalar_that_is_not_numeric_is_refused(tmp_path, reader, dtype):
    class Scalar:
        def __reduce__(self):
            return np._core.multiarray.scalar, (np.dtype(dtype), b"x")

    path = str(tmp_path / "scalar.pt")
    torch.save(state(extra_state={"best": Scalar()}), path)
    with toy.refused("scalar.pt"):
        READERS[reader](path)


@pytest.mark.parametrize("data", [b"", b"1", b"123456789"])
def test_the_bytes_of_a_numpy_scalar_have_the_length_of_its_dtype(data):
    with pytest.raises(ValueError):
        reading.numeric_scalar(np.dtype("float64"), data)


@pytest.mark.parametrize("reader", READERS)
def test_a_tensor_that_claims_more_than_is_stored_is_refused(tmp_path, reader):
    path = str(tmp_path / "wide.pt")
    torch.save(state(model={"wide": torch.ones(1).expand(10**6, 10**6)}), path)
    with toy.refused("wide.pt", "weight wide", "1,000,000,000,000"):
        READERS[reader](path)


def test_a_compressed_archive_is_refused(tmp_path):
    path, bomb = tmp_path / "plain.pt", tmp_path / "bomb.pt"
    torch.save(state(model={"w": torch.zeros(10**6)}), path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert bomb.stat().st_size < path.stat().st_size / 100
    for read in READERS.values():
        with toy.refused("bomb.pt"):
            read(str(bomb))


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "flipped.pt"
    torch.save(state(model={"w": torch.ones(10_000)}), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with toy.refused("flipped.pt", "flipped/data/0"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_read(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.pt")
    with toy.refused("pipe.pt"):
        READERS[reader](str(tmp_path / "pipe.pt"))


@pytest.fixture
def reads(monkeypatch):
    """The paths that are read, one entry per read."""
    paths, read = [], reading.unpickled

    def counted(path, *arguments, **options):
        paths.append(os.path.basename(path))
        return read(path, *arguments, **options)

    monkeypatch.setattr(reading, "unpickled", counted)
    return paths


def test_within_reading_once_a_file_is_read_once_and_again_when_it_changes(tmp_path, reads):
    path = tmp_path / "a.pt"
    torch.save(state(), path)
    with checkpoints.reading_once(), checkpoints.reading_once():
        for reader in READERS.values():
            assert torch.equal(reader(str(path))["model"]["w"], torch.ones(2))
        assert reads == ["a.pt"]
        torch.save(state(model={"w": torch.zeros(3)}), tmp_path / "b.pt")
        os.replace(tmp_path / "b.pt", path)
        assert torch.equal(checkpoints.read_state(path)["model"]["w"], torch.zeros(3))
    checkpoints.read_state(path)
    assert reads == ["a.pt"] * 3


def test_changing_a_returned_value_does_not_change_the_next_read(tmp_path):
    torch.save(state(args=argparse.Namespace(a=[1])), tmp_path / "a.pt")
    with checkpoints.reading_once():
        first = checkpoints.read_state(tmp_path / "a.pt")
        first["args"].a.append(2)
        del first["model"]["w"]
        second = checkpoints.read_state(tmp_path / "a.pt")
    assert second["args"].a == [1] and list(second["model"]) == ["w"]


@pytest.mark.parametrize("kind", ["masked_lm", "char_lm"])
def test_loading_a_model_reads_its_checkpoint_once(tmp_path, toy_data, kind, reads):
    if kind == "masked_lm":
        toy.save_masked_lm(tmp_path, toy_data)
    else:
        toy.save_char_lm(toy.make_char_lm(), tmp_path / "checkpoint_best.pt")
    hub.load(tmp_path)
    hub.Embedder.from_pretrained(tmp_path)
    assert reads == ["checkpoint_best.pt"] * 2


def test_lists_that_contain_each_other_many_times_are_copied_in_linear_time():
    nested, tensor = [], torch.zeros(2)
    for _ in range(60):
        nested = [nested, nested, tensor]
    found = reading.copied({"nested": nested})["nested"]
    assert found is not nested and found[0] is found[1] and found[2] is tensor


@pytest.mark.parametrize("content", [[torch.ones(2)], {"a": torch.ones(2), "b": 3}, torch.ones(2)])
def test_a_file_of_tensors_contains_nothing_else(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with toy.refused(tmp_path / "x.pt"):
        reading.read_tensors(tmp_path / "x.pt")
    torch.save({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / "x.pt")
    found = reading.read_tensors(tmp_path / "x.pt")
    assert found.keys() == {"a", "b"} and torch.equal(found["a"], torch.ones(2))


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    with toy.refused(tmp_path):
        checkpoints.read_state(tmp_path)


def test_a_member_that_is_missing_is_the_file_that_is_named(tmp_path):
    with toy.refused(tmp_path / "other.txt", tmp_path / "x.pt"):
        with reading.named_errors(tmp_path / "x.pt"):
            (tmp_path / "other.txt").read_text()


def test_members_that_claim_more_than_the_file_has_are_refused(tmp_path):
    """A member that is listed twice, so that both read the same bytes of the file."""
    path = tmp_path / "twice.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", bytes(1000))
        archive.filelist.append(archive.filelist[0])
    with toy.refused("twice.pt"):
        reading.check_archive(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", bytes(1000))
    reading.check_archive(str(path))
