"""Digests of what a job reads."""

import pytest
import toy

from plugins.jobs import inputs


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data/a.txt", "data/cache/x.bin", "valid.txt", "base/checkpoint_best.pt", "glue/CoLA.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)


def test_a_digest_changes_with_a_content_and_a_name_only(tmp_path):
    def made(name, files):
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return inputs.digest(tmp_path / name)

    files = {"a.txt": "x", "b/c.txt": "y"}
    assert made("one", files) == made("two", files)
    others = [made("three", files | {"a.txt": "z"}), made("four", {"a.txt": "x", "b/d.txt": "y"})]
    assert len({made("one", files), *others}) == 3
    alone = inputs.digest(tmp_path / "one" / "a.txt")
    assert inputs.digest(None, tmp_path / "one" / "a.txt") == alone != inputs.digest(tmp_path / "three" / "a.txt")


def test_hidden_files_and_those_that_are_written_are_not_part_of_a_folder(texts, tmp_path):
    def now():
        return inputs.digest("data", without=["data/cache"])

    before = now()
    (tmp_path / "data" / ".lock").touch()
    (tmp_path / "data" / "cache" / "x.bin").write_text("other")
    assert now() == before
    (tmp_path / "data" / "b.txt").touch()
    assert now() != before


def test_to_a_checkpoint_belongs_its_tokenizer(tmp_path):
    def now():
        return inputs.digest(tmp_path / "model.pt")

    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "dict.txt").write_text("a 1\n")
    (tmp_path / "merges.txt").write_text("a b\n")
    before = now()
    (tmp_path / "train.log").write_text("log")
    assert now() == before
    (tmp_path / "merges.txt").write_text("b a\n")
    assert now() != before


def test_linked_folders_belong_to_a_folder_also_if_they_lead_back(texts, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "data" / "linked").symlink_to(other)
    (other / "back").symlink_to(tmp_path / "data")
    before = inputs.digest("data")
    (other / "part.txt").write_text("more")
    assert inputs.digest("data") != before


def test_a_number_is_no_path(texts, tmp_path):
    for name in ("512", "1e-3"):
        (tmp_path / name).mkdir()
    assert inputs.of_commands([["--max-tokens", "512", "--lr", "1e-3"]]) == [{}]
    assert list(inputs.of_commands([["512"]])[0]) == ["512"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with toy.refused("gone.txt"):
        inputs.digest(tmp_path / "gone.txt")


def test_the_paths_that_commands_read_are_arguments_and_values_of_options(texts):
    command = (
        "data:valid.txt --task glue --cpu --valid-data=valid.txt --finetune-from-model base/checkpoint_best.pt "
        "--lr 1e-3 --restore-file checkpoint_last.pt --save-dir base --data-cache data/cache"
    )
    (found,) = inputs.of_commands([command.split()])
    assert found == {path: inputs.digest(path, without=["data/cache"])
                     for path in ("data", "valid.txt", "base/checkpoint_best.pt")}  # fmt: skip


def test_what_one_command_writes_is_not_read_by_another(texts, tmp_path):
    commands = [["data", "--data-cache", "data/cache"], ["data"]]
    before = inputs.of_commands(commands)
    (tmp_path / "data" / "cache" / "x.bin").write_text("other")
    assert inputs.of_commands(commands) == before and before[0] == before[1]


@pytest.mark.parametrize("limit, named", [(3, True), (4, False)])
def test_a_large_folder_is_named_while_it_is_read(texts, tmp_path, monkeypatch, capsys, limit, named):
    (tmp_path / "large").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "large" / name).write_text("x")
    monkeypatch.setattr(inputs, "LARGE", limit)
    inputs.digest(tmp_path / "large")
    assert (str(tmp_path / "large") in capsys.readouterr().err) == named
