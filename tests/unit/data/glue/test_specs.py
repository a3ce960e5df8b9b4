"""The table of GLUE's tasks, and custom specs."""

import pytest
import toy

from plugins.data.glue import specs as glue_specs

OWN = """
name: mood
files: {train: train.csv, valid: dev.csv}
text: sentence
label: mood
labels: [no, yes]
metrics: [accuracy, f1]
"""


def write(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_task_of_the_benchmark_is_there():
    assert list(glue_specs.SPECS) == [
        "CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI", "AX",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "task, labels",
    [
        ("CoLA", ["unacceptable", "acceptable"]),
        ("SST-2", ["negative", "positive"]),
        ("MRPC", ["not_equivalent", "equivalent"]),
        ("QQP", ["not_duplicate", "duplicate"]),
        ("MNLI", ["entailment", "neutral", "contradiction"]),
        ("AX", ["entailment", "neutral", "contradiction"]),
        ("QNLI", ["entailment", "not_entailment"]),
        ("RTE", ["entailment", "not_entailment"]),
        ("WNLI", ["not_entailment", "entailment"]),
        ("STS-B", []),
    ],
)
def test_label_ids_follow_glues_own_order(task, labels):
    assert glue_specs.SPECS[task].id2label == labels


@pytest.mark.parametrize(
    "task, best",
    [("CoLA", "matthews_correlation"), ("STS-B", "pearson"), ("MRPC", "accuracy"), ("MNLI", "accuracy")],
)
def test_the_metric_that_picks_the_best_checkpoint(task, best):
    assert glue_specs.SPECS[task].best == best
    assert best in glue_specs.SPECS[task].metrics


def test_mnli_has_two_validation_splits_the_matched_one_first():
    assert glue_specs.SPECS["MNLI"].valid_splits == ["valid", "valid_mismatched"]


@pytest.mark.parametrize("written", ["SST-2", "sst2", "sst-2", "SST_2"])
def test_names_are_found_however_they_are_written(written):
    assert glue_specs.find(written).name == "SST-2"


def test_an_unknown_task_is_an_error_that_suggests_one():
    with toy.refused("RTE", "--spec"):
        glue_specs.find("RTT")


def test_a_spec_is_restored_from_plain_data():
    for spec in glue_specs.SPECS.values():
        assert glue_specs.from_plain(spec.plain()) == spec


def test_a_spec_of_the_users_own(tmp_path):
    spec = glue_specs.read(write(tmp_path, OWN))
    assert (spec.text, spec.outputs, spec.best, spec.head_name) == (("sentence",), 2, "accuracy", "mood")


def test_unquoted_yes_and_no_stay_as_they_are_written(tmp_path):
    assert glue_specs.read(write(tmp_path, OWN)).labels == ("no", "yes")


def test_a_regression_of_the_users_own(tmp_path):
    text = OWN.replace("labels: [no, yes]", "scale: [1, 7]").replace("[accuracy, f1]", "[spearmanr]")
    spec = glue_specs.read(write(tmp_path, text))
    assert (spec.is_regression, spec.scale, spec.outputs) == (True, (1.0, 7.0), 1)


@pytest.mark.parametrize(
    "old, new, named",
    [
        ("label: mood\n", "", ["'label'"]),
        ("label: mood", "lable: mood\nlabel: mood", ["'lable'"]),
        ("[no, yes]", "[yes]", ["labels"]),
        ("[no, yes]", "[a, b, c]", ["f1"]),
        ("[accuracy, f1]", "[pearson]", ["'pearson'"]),
        ("text: sentence", "text: [a, b, c]", [3]),
        ("labels: [no, yes]", "scale: [5, 0]", ["scale"]),
        ("labels: [no, yes]", "scale: [low, 0]", ["scale"]),
        ("name: mood", "name: [", []),
        ("name: mood", "name: ../mood", ["'../mood'"]),
        ("name: mood", "name: [mood]", ["name"]),
        ("label: mood\n", "label: [mood]\n", ["label"]),
        ("label: mood\n", "label: mood\nhead: a.b\n", ["'a.b'"]),
        ("label: mood\n", "label: sentence\n", ["'sentence'"]),
        ("label: mood\n", "label: mood\nheadless: [a, b]\n", ["headless"]),
        ("{train: train.csv, valid: dev.csv}", "train.csv", ["files"]),
        ("valid: dev.csv", "dev: dev.csv", ["files"]),
        (", valid: dev.csv", "", ["'valid'"]),
        ("dev.csv", "[dev.csv]", ["files"]),
        ("[no, yes]", "[no, [yes]]", ["labels"]),
        ("[no, yes]", "{no: 0, yes: 1}", ["labels"]),
        ("[no, yes]", "[no, yes, no]", ["'no'"]),
        ("text: sentence", "text: [a, a]", ["'a'"]),
        ("[accuracy, f1]", "[combined_score]", ["combined_score"]),
        ("dev.csv", "../../etc/passwd", ["'../../etc/passwd'"]),
        ("dev.csv", "a/../../b.csv", ["'a/../../b.csv'"]),
        ("dev.csv", "/etc/passwd", ["'/etc/passwd'"]),
        ("dev.csv", "https://example.org/dev.csv", ["'https://example.org/dev.csv'"]),
        ("label: mood\n", "label: mood\nfolders: [../other]\n", ["'../other'"]),
        ("label: mood\n", "label: mood\nlabel: other\n", ["own.yaml:6", "'label'"]),
        ("[no, yes]", '["=HYPERLINK(1)", yes]', ["'=HYPERLINK(1)'"]),
        ("[no, yes]", '["a\\nb", yes]', []),
    ],
)
def test_a_bad_spec_is_one_line_that_names_the_file(tmp_path, old, new, named):
    with toy.refused("own.yaml", *named):
        glue_specs.read(write(tmp_path, OWN.replace(old, new)))
