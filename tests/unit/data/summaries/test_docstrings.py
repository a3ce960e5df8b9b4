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


@pytest.mark.parametrize("size", ["nan", "inf", "0", "1e30"])
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


@pytest.mark.parametrize("place, split", [(123, "valid"), (0, "valid"), (111, "test"), (140, "test"), (7, "train"),
                                          (272, "train")])  # fmt: skip
def test_five_modules_in_a_hundred_are_for_validation_and_five_for_testing(place, split):
    """Names whose hashes are 0, 4, 5, 9, 10 and 99 of a hundred."""
    assert docstrings.split_of(f"package/module_{place}.py") == split


WORDS = "the river is as wide as the sea and a boat on it can be seen from the hill that is by it now".split()


@pytest.mark.parametrize("summary, body, used", [
    (4, 20, True), (3, 20, False), (30, 20, True), (31, 20, False), (10, 19, False), (10, 21, True),
])  # fmt: skip
def test_a_summary_has_4_to_30_words_and_a_body_at_least_20(summary, body, used):
    first, text = (" ".join((2 * WORDS)[:count]) + "." for count in (summary, body))
    assert docstrings.split_docstring(f"{first}\n\n{text}") == ((text, first) if used else ("", ""))


@pytest.mark.parametrize("first", ["The river is wide", "1 river is as wide.", "(The river is wide)."])
def test_a_summary_is_a_sentence(first):
    assert docstrings.split_docstring(f"{first}\n\n{' '.join(WORDS)}.") == ("", "")


def test_a_paragraph_that_is_repeated_is_kept_once():
    body = " ".join(WORDS) + "."
    found, _ = docstrings.split_docstring(f"The river is wide.\n\n{body}\n\n{body}\n\n{body.title()}")
    assert found.split("\n")[0] == body and found.count(body) == 1


def test_texts_are_compared_by_eight_consecutive_words():
    words = "a b c d e f g h i".split()
    assert len(docstrings.shingles(" ".join(words))) == 2 == len(docstrings.shingles("A b, c d e f g h! i"))
    assert len(docstrings.shingles("a b c")) == len(docstrings.shingles(" ".join(words[:8]))) == 1
    known = docstrings.shingles(" ".join(words[:8]))
    assert docstrings.overlap(" ".join(words), known) == 0.5
    assert docstrings.overlap(" ".join(words[:8]), known) == 1 and docstrings.overlap("x y", known) == 0


def test_a_held_out_document_of_which_half_is_known_is_a_twin(monkeypatch):
    train, half, less = "a b c d e f g h", "a b c d e f g h i", "a b c d e f g h i j"
    rows = [docstrings.Pair(name, text, "") for name, text in (("train", train), ("valid", half), ("test", less))]
    monkeypatch.setattr(docstrings, "pairs", lambda: iter(rows))
    monkeypatch.setattr(docstrings, "split_of", lambda module: module)
    found = docstrings.splits()
    assert {split: len(pairs) for split, pairs in found.items()} == {"train": 1, "valid": 0, "test": 1}


def test_a_folder_has_the_records_and_text_for_pretraining(installed, tmp_path, monkeypatch):
    installed(sort=MODULE)
    asked = []

    def corpus(*given):
        asked.append(given)
        yield from ("first\ndocument", "second")

    monkeypatch.setattr(docstrings, "embedded_corpus", corpus)
    monkeypatch.setattr(docstrings, "held_out_modules", lambda: {"x"})
    monkeypatch.setattr(docstrings, "RECORDS_SIZE", 10)
    counts, size = docstrings.make_folder(tmp_path / "out", 1000)
    assert asked == [(1000, {"x"})] and sum(counts.values()) == 2
    text = (tmp_path / "out" / "pretrain.txt").read_text(encoding="utf-8")
    assert text == "first\ndocument\n\nsecond\n\n" and size == len(text)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pretrain.txt", "test.jsonl", "train.jsonl", "valid.jsonl",
    ]  # fmt: skip
