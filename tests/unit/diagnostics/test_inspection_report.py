"""Tables of an inspection, against numbers counted by hand."""

import csv
import json

import pytest
from inspection_rows import CAT, DOG, data

from plugins.diagnostics import inspection, inspection_report


@pytest.fixture(scope="module")
def found():
    return inspection.inspect(data(), draws=3)


def test_words_are_ranked_by_significance(found):
    words = inspection_report.word_rows(found)
    assert [(row["word"], row["label"], row["count"]) for row in words] == [
        *((word, "n", 21) for word in CAT.split()), *((word, "p", 21) for word in DOG.split()),
    ]  # fmt: skip
    assert words[0]["p"] == pytest.approx(20 / 21) and words[0]["z"] == pytest.approx(4.36931449)
    assert words[-1]["p"] == 1 and words[0]["q"] == pytest.approx(1.24637e-5, rel=1e-4)
    assert inspection_report.word_rows(found, q=1e-6) == []


def test_duplicates_are_listed_by_group(found):
    rows = list(inspection_report.duplicate_rows(found))
    assert [row["group"] for row in rows].count(1) == 22 and [row["group"] for row in rows].count(2) == 20
    assert rows[0] == {"group": 1, "kind": "exact", "split": "train", "index": "0", "label": "n", "text": CAT}
    assert {row["kind"] for row in rows} == {"exact"}
    assert "42" in {row["index"] for row in rows}, "the row of the test split"


def test_conflicts_are_pairs_with_different_labels(found):
    (pair,) = inspection_report.conflict_rows(found)
    assert pair == {
        "similarity": 1.0, "split_a": "train", "index_a": "0", "label_a": "n", "text_a": CAT, "split_b": "train",
        "index_b": "40", "label_b": "p", "text_b": CAT,
    }  # fmt: skip


def test_words_of_either_class_carry_its_divergence(found):
    (row,) = inspection_report.divergence_rows(found)
    assert (row["class_a"], row["class_b"]) == ("n", "p")
    assert row["words_a"].split() == CAT.split() and set(row["words_b"].split()) >= set(DOG.split())
    assert row["floor"] < 0.02 < 0.6 < row["jsd"] < 1
    assert row["above_floor"] == pytest.approx(row["jsd_equal"] - row["floor_equal"])


def test_the_summary_has_every_section_and_the_tables_their_rows(found, tmp_path):
    inspection_report.write(found, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    for line in (
        "| train | 42 | 20 | 22 | 0.998 |",
        "| test | 2 | 1 | 0 | 0.000 |",
        "| text | train | all | 3 | 3 | 3.5 | 4 | 4 | 8 |",
        "| train | exact | 42 | 39 |",
        "| test in train | near | 2 | 1 |",
        "Groups with conflicting labels: 1 exact, 1 near.",
        "| `cat` | n | 21 | 0.95 | 4.4 | 1.2e-05 |",
        "| `dog` | p | 21 | 1.00 | 4.4 | 1.2e-05 |",
    ):
        assert line in text.splitlines(), line
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Sizes", "## Lengths (words)", "## Duplicates", "## Divergence of classes (Jensen-Shannon, bits)",
        "## Words that give labels away", "## Linear probe",
    ]  # fmt: skip
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["words"]["significant_pairs"] == 7 == summary["words"]["judged"]
    sizes = {}
    for name in ("words", "duplicates", "conflicts", "divergence", "probe"):
        with (tmp_path / f"{name}.csv").open() as file:
            sizes[name] = len(list(csv.DictReader(file)))
    assert sizes == {"words": 7, "duplicates": 42, "conflicts": 1, "divergence": 1, "probe": 1}


def probe(bits, **more):
    rows = [{"words": m, "bits": b, "share_of_all": b / bits} for m, b in ((10, 0.1), (40, 0.3), (160, 0.4))]
    return {"all_words_bits": bits, "all_words_accuracy": 0.8, "majority_accuracy": 0.5, "by_words": rows, **more}


def test_the_sentence_on_the_probe_is_about_forty_words():
    sentence = inspection_report.probe_sentence(probe(0.5))
    for part in ("0.500 bits", "0.800", "0.500", "40 words", "60 %"):
        assert part in sentence
    assert "40 words" not in inspection_report.probe_sentence(probe(0.004))
    assert "words give" not in inspection_report.probe_sentence(probe(0.5, by_words=[]))
