"""Tables of an inspection, against numbers counted by hand."""

import csv
import json

import numpy as np
import pytest
from inspection_rows import CAT, DOG, data

from plugins.diagnostics import duplicates, inspection, inspection_report
from plugins.diagnostics.datasets import UNLABELED, Rows
from plugins.diagnostics.divergence import Divergence, WordCounts
from plugins.diagnostics.lexical import Association, Probe


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


NEAR = "abcdefghijklmnopqrstuvwxyz0123456789"


def near_rows():
    texts = ["other", NEAR, NEAR + "!", NEAR, NEAR + "!", "other"]
    rows = Rows(("text",), [texts], np.array([0, 0, 1, 2, UNLABELED, 0]), ["a", "b", "c"], np.array([0] * 5 + [1]),
                ["train", "test"], list("uvwxyz"))  # fmt: skip
    return {"rows": rows, "duplicates": duplicates.find(texts)}


def test_near_duplicates_are_groups_and_conflicts_the_most_similar_first():
    found = near_rows()
    listed = list(inspection_report.duplicate_rows(found))
    assert [(row["group"], row["kind"], row["index"], row["split"], row["label"]) for row in listed] == [
        (1, "exact", "u", "train", "a"), (1, "exact", "z", "test", "a"), (2, "near", "v", "train", "a"),
        (2, "near", "w", "train", "b"), (2, "near", "x", "train", "c"), (2, "near", "y", "train", ""),
    ]  # fmt: skip
    conflicts = list(inspection_report.conflict_rows(found))
    assert [(row["index_a"], row["index_b"], row["similarity"]) for row in conflicts] == [
        ("v", "x", 1.0), ("v", "w", pytest.approx(32 / 33)), ("x", "w", pytest.approx(32 / 33)),
    ]  # fmt: skip


def test_tables_are_cut_at_their_maximum(monkeypatch):
    monkeypatch.setattr(inspection_report, "LISTED", 1)
    assert {row["group"] for row in inspection_report.duplicate_rows(near_rows())} == {1}
    assert len(list(inspection_report.conflict_rows(near_rows()))) == 1


def test_the_words_of_a_divergence_are_the_twelve_largest_parts():
    shares = np.array([np.arange(1, 21) / 210, np.arange(20, 0, -1) / 210])
    d = Divergence(*(np.array([[0, x], [x, 0]]) for x in (0.5, 0.1, 0.2, 0.4, 0.15)), shares)
    found = {
        "divergence": d,
        "classes": ["a", "b"],
        "vocabulary": list("ABCDEFGHIJKLMNOPQRST"),
        "gothate": np.eye(2) + 0.7,
    }
    [row] = inspection_report.divergence_rows(found)
    assert row["words_a"] == "T S R Q P O" and row["words_b"] == "A B C D E F" and row["gothate_nats"] == 0.7
    values = {"jsd": 0.5, "floor": 0.1, "floor_95": 0.2, "jsd_equal": 0.4, "floor_equal": 0.15, "above_floor": 0.25}
    assert {name: row[name] for name in values} == pytest.approx(values)


def test_pairs_of_three_classes_are_in_order():
    d = Divergence(*[np.arange(9.0).reshape(3, 3)] * 5, np.full((3, 2), 0.5))
    rows = inspection_report.divergence_rows({"divergence": d, "classes": list("abc"), "vocabulary": ["x", "y"]})
    assert [(row["class_a"], row["class_b"], row["jsd"]) for row in rows] == [
        ("a", "b", 1),
        ("a", "c", 2),
        ("b", "c", 5),
    ]


def test_shares_of_the_probe_are_of_all_words():
    columns = [np.array(values) for values in ([10, 40], [0.1, 0.2], [0.6, 0.7], [0.0, 0.05], [0.5, 0.55])]
    first, second = inspection_report.probe_rows(Probe(*columns, 0.4, 0.8, 99, 0.5))
    assert first == {"words": 10, "bits": 0.1, "share_of_all": 0.25, "accuracy": 0.6, "random_bits": 0.0,
                     "random_accuracy": 0.5}  # fmt: skip
    assert second["share_of_all"] == 0.5 and second["words"] == 40
    assert np.isnan(inspection_report.probe_rows(Probe(*columns, 0.0, 0.8, 99, 0.5))[0]["share_of_all"])


def test_only_words_that_indicate_a_label_count_as_significant(found):
    """Of three classes a word that indicates one is significant against the other two."""
    z = np.array([[5.0, -4, -4], [1, 0, -1]])
    q = np.array([[1e-4, 1e-3, 1e-3], [0.04, 0.9, 0.04]])
    ones = np.ones((2, 3))
    a = Association(np.array([30, 20]), ones, z, q, ones, ones, ones)
    changed = found | {"associations": a, "classes": list("abc"), "words": WordCounts(None, ["w", "v"])}
    changed["divergence"] = Divergence(*[np.zeros((3, 3))] * 5, np.full((3, 7), 1 / 7))
    words = inspection_report.summarized(changed)["words"]
    assert words["significant_pairs"] == 2 and words["judged"] == 2
    assert [(row["word"], row["label"]) for row in words["top"]] == [("w", "a"), ("v", "a")]


def test_csv_has_six_digits_and_a_header_also_without_rows():
    rows = [{"a": 1 / 3, "b": "x, y"}, {"a": 12, "b": None}]
    assert inspection_report.as_csv(rows, ("a", "b")) == 'a,b\n0.333333,"x, y"\n12,\n'
    assert inspection_report.as_csv([], ("a", "b")) == "a,b\n"


def test_the_summary_has_the_probe_and_unlabeled_splits_without_entropy(found):
    summary = inspection_report.summarized(found)
    assert summary["probe"]["rows"] == 42 and summary["probe"]["majority_accuracy"] == pytest.approx(22 / 42)
    assert summary["columns"] == ["text"] and [row["words"] for row in summary["probe"]["by_words"]] == [7]
    summary["splits"][1]["entropy_bits"] = None
    summary["words"]["top"] = summary["words"]["top"][:1]
    lines = inspection_report.markdown(summary).splitlines()
    assert "| test | 2 | 1 | 0 |  |" in lines and len([line for line in lines if line.startswith("| `")]) == 1
    [row] = summary["divergence"]
    assert any(line.startswith(f"| n - p | {row['jsd']:.4f} | {row['floor']:.4f} (") for line in lines)
    least = inspection_report.probe_sentence(probe(0.005))
    assert "40 words" in least


def test_a_summary_says_why_no_word_is_judged():
    words = {"judged": 0, "significant_pairs": 0}
    assert "No word" in inspection_report.words_sentence(words)
    assert "3 words" in inspection_report.words_sentence(words | {"judged": 3})


def test_rows_in_two_splits_and_labels_in_conflict_have_a_sentence():
    across = [{"from": "train", "to": "dev", "kind": kind, "rows": 210, "leaked": n}
              for kind, n in (("exact", 7), ("near", 10))]  # fmt: skip
    leaks, conflicts = inspection_report.duplicate_sentences({"across": across, "near_conflicts": 3})
    assert leaks.startswith("10 of 210 rows of dev") and conflicts.endswith(": 3.")
    across[1]["leaked"] = 0
    assert inspection_report.duplicate_sentences({"across": across, "near_conflicts": 0}) == []
