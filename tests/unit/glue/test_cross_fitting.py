"""The files and names of runs, without training."""

import numpy as np
import pytest
import toy

from plugins import jobs
from plugins.data.glue import reader
from plugins.diagnostics.datasets import Rows
from plugins.glue import cross_fitting


def rows(labels, splits, scores=None, names=("train", "dev")):
    count = len(labels)
    texts = [[f"a {i}\tb" for i in range(count)], [f"c\n{i}" for i in range(count)]]
    return Rows(("x", "y"), texts, np.array(labels), ["no", "yes"], np.array(splits), list(names),
                [str(i) for i in range(count)], scores)  # fmt: skip


def test_written_rows_are_read_back_whatever_is_in_them(tmp_path):
    spec = cross_fitting.write_task(tmp_path, rows([0, 1, 1], [0, 0, 1]))
    found = reader.read(tmp_path / "train.jsonl", spec, "train")
    assert found.texts == [["a 0\tb", "a 1\tb"], ["c\n0", "c\n1"]] and found.labels.tolist() == [0, 1]
    assert reader.read(tmp_path / "valid.jsonl", spec, "valid").labels.tolist() == [1]


def test_scores_are_written_as_scores(tmp_path):
    spec = cross_fitting.write_task(tmp_path, rows([0, 1], [0, 0], np.array([0.5, 4.0])))
    assert spec.is_regression and reader.read(tmp_path / "train.jsonl", spec, "train").labels.tolist() == [0.5, 4.0]


def test_unlabeled_rows_and_other_splits_are_left_out():
    found = cross_fitting.train_and_valid(rows([0, 1, -1, 1, 0], [0, 0, 0, 1, 2], names=("train", "test", "dev")))
    assert found.labels.tolist() == [0, 1, 0] and found.splits.tolist() == [0, 0, 1]
    with toy.refused(1):
        cross_fitting.train_and_valid(rows([0, -1], [0, 0]))


def cell(folds, splits=None, **options):
    count = len(folds) if splits is None else len(splits)
    splits = [0] * count if splits is None else splits
    return cross_fitting.Cell("full", rows([i % 2 for i in range(count)], splits), np.array(folds), **options)


def setting(tmp_path, **given):
    (tmp_path / "base.pt").write_bytes(b"weights")
    options = {"output": tmp_path / "out", "checkpoint": tmp_path / "base.pt", "seeds": [1, 2], "given": {}}
    return cross_fitting.Setting(**options | {"from_yaml": {}, "cpu": True, "cache": None} | given)


class Tokenizer:
    """The tokenizer of a folder, as the identity of a run sees it."""

    content = "a"

    def __init__(self, folder):
        pass

    def fingerprint(self):
        return self.content


@pytest.fixture
def planned(monkeypatch):
    """What each run is planned with; nothing is read."""
    calls = []

    def command(run, folder, checkpoint, save_dir, train, longest, named, cpu):
        calls.append((run.seed, save_dir.name, train, longest, named["arch"], cpu))
        return [str(folder), "--lr", "1", str(checkpoint)], 7

    monkeypatch.setattr(cross_fitting.dataset, "FolderTokenizer", Tokenizer)
    monkeypatch.setattr(cross_fitting.dataset, "load", lambda *_: "data")
    monkeypatch.setattr(cross_fitting.dataset, "part", lambda data, chosen: chosen.tolist())
    monkeypatch.setattr(cross_fitting.checkpoints, "read_state", lambda path: {})
    monkeypatch.setattr(cross_fitting.checkpoints, "architecture", lambda state, path: "char_lm")
    monkeypatch.setattr(cross_fitting.roberta, "of_checkpoint", lambda state: {})
    monkeypatch.setattr(cross_fitting.plan, "command", command)
    return calls


def test_each_run_trains_without_its_fold(planned, tmp_path):
    """Rows 0 and 2 are held out first, then row 1; row 3 never; row 4 is not used."""
    used = np.array([True, True, True, True, False])
    found = cross_fitting.jobs_of(cell([0, 1, 0, -1, 0], used=used), setting(tmp_path, cache="cached"))
    rest = (cross_fitting.DEFAULT_POSITIONS, "char_lm", True)
    assert planned == [
        (1, "fold1_seed1", [1, 3], *rest), (2, "fold1_seed2", [1, 3], *rest),
        (1, "fold2_seed1", [0, 2, 3], *rest), (2, "fold2_seed2", [0, 2, 3], *rest),
    ]  # fmt: skip
    folder = tmp_path / "out" / "data" / "full"
    assert np.load(folder / "fold1.npy").tolist() == [0, 1, 0, 1, 0]
    assert np.load(folder / "fold2.npy").tolist() == [1, 0, 1, 1, -1]
    first = found[0]
    assert (first.name, first.updates, first.command[0]) == ("full/fold1_seed1", 7, "fairseq-train")
    expected = "--lr 1 --fold 1/2 --fold-file --no-save --record-logits --valid-subset held_out"
    assert first.identity["options"] == expected.split()
    assert first.command[-2:] == ("--cache-dir", "cached")
    assert first.identity["start"][0] == 7 and len({str(job.identity) for job in found}) == 2, "by fold, not by path"


def test_runs_are_identified_by_the_validation_rows_too(planned, tmp_path):
    shared = setting(tmp_path)

    def identities(text):
        one = cell([0, 1], splits=[0, 0, 1, 1])
        one.rows.texts[0][-1] = text
        return [job.identity for job in cross_fitting.jobs_of(one, shared)]

    before, other = identities("a"), identities("b")
    assert identities("a") == before
    changed = [{key for key in old if old[key] != new[key]} for old, new in zip(before, other, strict=True)]
    assert changed == [{"valid"}] * 4


def test_runs_are_identified_by_the_tokenizer_too(planned, tmp_path, monkeypatch):
    def identities():
        return [job.identity for job in cross_fitting.jobs_of(cell([0, 1]), setting(tmp_path))]

    before = identities()
    monkeypatch.setattr(Tokenizer, "content", "b")
    assert all(old["tokenizer"] != new["tokenizer"] for old, new in zip(before, identities(), strict=True))


def test_a_second_command_is_refused_before_it_replaces_the_data(planned, tmp_path):
    data = tmp_path / "out" / "data"
    with jobs.exclusive(tmp_path / "out" / "runs"), toy.refused(tmp_path / "out" / "runs"):
        cross_fitting.run([cell([0, 1])], setting(tmp_path), jobs.Resources(cpu=True))
    assert not data.exists()


def test_a_run_without_a_cache_says_so_and_seeds_may_be_the_cells(planned, tmp_path):
    found = cross_fitting.jobs_of(cell([0, 1], seeds=[9]), setting(tmp_path))
    assert [job.name for job in found] == ["full/fold1_seed9", "full/fold2_seed9"]
    assert found[0].command[-1] == cross_fitting.NO_CACHE


def test_several_learning_rates_are_refused(planned, tmp_path):
    with toy.refused("--lr", "--batch-size"):
        cross_fitting.jobs_of(cell([0, 1]), setting(tmp_path, given={"lr": [1e-5, 2e-5]}))


def test_validation_rows_are_evaluated_where_there_are_some():
    assert cross_fitting.splits(cell([0, 1])) == "held_out"
    assert cross_fitting.splits(cell([0, 1], splits=[0, 0, 1])) == "held_out,valid"


class Logits:
    """Recorded logits: by run, split and epoch, the number of the run, the row and the epoch."""

    def __init__(self, missing=()):
        self.missing = missing

    def __call__(self, path, split):
        fold, seed = (int(part[4:]) for part in path.parent.name.split("_"))
        count = {"held_out": 4, "train": 4, "valid": 2}[split]
        values = [np.stack([np.full(count, 10 * seed + fold + epoch / 4), np.arange(count)], 1) for epoch in range(2)]
        if split in self.missing:
            values[1][0] = np.nan
        return values


def test_logits_are_collected_by_seed_row_and_epoch(monkeypatch, tmp_path):
    monkeypatch.setattr(cross_fitting.logits, "read", Logits())
    found = cross_fitting.collect(cell([0, 1, 0, -1], splits=[0, 0, 0, 0, 1, 1]), setting(tmp_path))
    assert [values.shape for values in found.held_out] == [(2, 4, 2)] * 2
    assert found.held_out[1][..., 0].tolist()[0][:3] == [11.25, 12.25, 11.25]
    assert found.held_out[0][1, :3].tolist() == [[21, 0], [22, 1], [21, 2]] and np.isnan(found.held_out[0][:, 3]).all()
    assert [values.shape for values in found.valid] == [(4, 2, 2)] * 2
    assert found.valid[1][:, 0, 0].tolist() == [11.25, 12.25, 21.25, 22.25]
    assert [len(run) for run in found.training] == [2] * 4 and found.training[2][0][0, 0] == 21
    assert cross_fitting.collect(cell([0, 1, 0, -1]), setting(tmp_path)).valid == []
    folder = tmp_path / "fold1_seed1"
    assert cross_fitting.finish("held_out,valid", folder, "cpu") == {"held_out": 2, "valid": 2}


def test_a_row_without_an_answer_is_an_error_that_names_the_cell(monkeypatch, tmp_path):
    monkeypatch.setattr(cross_fitting.logits, "read", Logits(missing=("held_out",)))
    with toy.refused(tmp_path / "out" / "runs" / "full"):
        cross_fitting.collect(cell([0, 1, 0, 1]), setting(tmp_path))


def test_a_row_without_a_label_cannot_be_written(tmp_path):
    with toy.refused("valid"):
        cross_fitting.write_task(tmp_path, rows([0, 1, -1], [0, 0, 1]))
    spec = cross_fitting.write_task(tmp_path, rows([0, 1], [0, 0]))
    assert list(spec.labels) == ["0", "1"] and not spec.is_regression and list(spec.metrics) == ["accuracy"]
    spec = cross_fitting.write_task(tmp_path, rows([0, 1, 0], [0, 0, 2], np.array([0.5, 4.0, np.nan])))
    assert spec.scale == (0.5, 4.0) and list(spec.metrics) == ["pearson"]


@pytest.mark.parametrize(("name", "kept"), [("Validation", 1), ("dev", 1), ("valid", 1), ("test", 0)])
def test_the_second_split_is_recognized_by_its_name(name, kept):
    found = cross_fitting.train_and_valid(rows([0, 1, 1], [0, 0, 1], names=("train", name)))
    assert list(found.split_names) == ["train", name][: 1 + kept] and found.splits.tolist() == [0, 0, 1][: 2 + kept]
    found = cross_fitting.train_and_valid(rows([0, 1, -1], [0, 0, 1]))
    assert list(found.split_names) == ["train"], "without a label it is left out"
    found = cross_fitting.train_and_valid(rows([0, 1], [0, 0], names=("dev",)))
    assert found.splits.tolist() == [0, 0], "the first split is the training split whatever its name"
