"""Pairs of docstring bodies and first lines."""

import itertools
import json
import runpy
from pathlib import Path

import pytest

from plugins.data.summaries import docstrings
from plugins.data.text import documents, prose_sources

BODY = """The smallest element of the sequence is compared with every other one, and the two of them change places
    whenever they stand in the wrong order, until no more pairs are left to be compared."""
MODULE = '''"""Sort ``things`` by their *size*.

    {body}

    >>> sort([2, 1])
    [1, 2]
    """

def again():
    """Return all of the things once more.

    {body}
    """

def other():
    """Count what was sorted before.

    {other}
    """

def short():
    """Return the number of things."""
'''
OTHER = """It is an error to ask for the number of things that were sorted before any of them has been given to this
    module, since nobody can know how many there are going to be in the end."""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Stand-ins for the installed packages: {name: source} to write into."""

    def install(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source.format(body=BODY, other=OTHER), encoding="utf-8")
        monkeypatch.setattr(prose_sources, "_package_folders", lambda: iter([("toys", tmp_path)]))

    return install


def test_a_docstring_is_split_into_its_body_as_prose_and_its_first_line(installed):
    installed(sort=MODULE)
    first, last = docstrings.pairs()
    assert (first.module, first.summary) == ("toys/sort.py", "Sort things by their size.")
    assert first.document == " ".join(BODY.split()), "no code, one line a paragraph"
    assert last.summary == "Count what was sorted before.", "the body of the second is that of the first"


@pytest.mark.parametrize(
    "text", ["", "Sort.", "Sort the things by size.", "Sort the things by size.\n\nNot much.", "sort(x)\n\n" + BODY]
)
def test_docstrings_without_a_body_or_a_first_sentence_are_skipped(text):
    assert docstrings.split_docstring(text) == ("", "")


def test_all_pairs_of_a_module_are_in_one_split_and_about_one_in_ten_is_held_out():
    names = [f"package/module_{i}.py" for i in range(2000)]
    counts = [[docstrings.split_of(name) for name in names].count(split) for split in docstrings.SPLITS]
    assert [docstrings.split_of("numpy/linalg/_linalg.py") for _ in range(2)] == ["train"] * 2
    assert sum(counts) == 2000 and all(60 < count < 140 for count in counts[1:])


def test_twins_of_training_documents_are_not_held_out(installed, monkeypatch):
    variant = MODULE.replace("Sort", "Order").replace("{body}", "{body} It was changed a little at its end.")
    installed(sort=MODULE, sorted=variant.replace("things", "objects"))
    monkeypatch.setattr(docstrings, "split_of", lambda name: "test" if name.endswith("sorted.py") else "train")
    found = docstrings.splits()
    assert [pair.summary[:5] for pair in found["train"]] == ["Sort ", "Count"]
    assert found["test"] == []
    assert docstrings.held_out_modules() == {"toys/sorted.py"}


def test_files_contain_one_record_per_line(installed, tmp_path):
    installed(sort=MODULE)
    out = tmp_path / "out"
    out.mkdir()
    counts = docstrings.write(out)
    split = docstrings.split_of("toys/sort.py")
    assert counts[split] == 2 and sum(counts.values()) == 2
    records = [json.loads(line) for line in (out / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    document, summary = " ".join(BODY.split()), "Sort things by their size."
    assert records[0] == {"id": "toys/sort.py#0", "document": document, "summary": summary}


def test_text_for_pretraining_leaves_out_the_modules_that_are_held_out(installed):
    installed(sort=MODULE, kept=MODULE.replace("{body}", "{other}"))
    texts = list(documents.embedded_corpus(10**9, skipped={"toys/sort.py"}))
    assert any(" ".join(OTHER.split()) in text for text in texts)
    assert not any(" ".join(BODY.split()) in text for text in texts)


def test_modules_are_named_by_package_and_path():
    for name, path in itertools.islice(prose_sources.modules(), 50):
        assert name.startswith("numpy/") and path.as_posix().endswith("/" + name)


@pytest.mark.parametrize("size", ["nan", "inf", "0"])
def test_a_size_that_is_not_a_number_is_refused_before_reading(size, tmp_path, monkeypatch, capsys):
    script = Path(__file__).parents[4] / "scripts" / "prepare_summaries.py"
    monkeypatch.setattr("sys.argv", [str(script), "-o", str(tmp_path / "out"), "--megabytes", size])
    monkeypatch.setattr(docstrings, "write", lambda folder: pytest.fail("read"))
    with pytest.raises(SystemExit):
        runpy.run_path(str(script), run_name="__main__")
    assert "--megabytes" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    script = Path(__file__).parents[4] / "scripts" / "prepare_summaries.py"
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", [str(script), "-o", str(tmp_path / "file" / "out")])
    with pytest.raises(SystemExit, match="file/out"):
        runpy.run_path(str(script), run_name="__main__")
