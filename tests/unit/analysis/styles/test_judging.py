"""Judgment of generated text: references, conditions, seeds."""

import numpy as np
import pytest

from plugins.analysis.styles import judging
from plugins.analysis.styles.judging import Judging


def first_letter(windows):
    """A judge for texts like "aaaabbbb": a and b are styles, any other letter is none."""
    return np.array(["ab".find(window[0]) for window in windows], np.int64)


JUDGING = Judging(["x", "y"], [2, 4], 2, 5)
BY_SEED = {1: {0: ["aaaa"], 1: ["bbaa"]}, 2: {0: ["aabb"], 1: ["bbbb"]}}


def test_references_request_every_style_equally_often():
    found = judging.references(["a" * 250, "b" * 300], 100, 3, seed=1)
    assert list(found) == ["real", "mixture, 100 at a time", "mixture, 25 at a time", "random letters"]
    texts, asked = found["real"]
    assert asked == [0, 0, 1, 1, 1] and texts == ["a" * 100] * 2 + ["b" * 100] * 3
    for name in list(found)[1:]:
        texts, asked = found[name]
        assert asked == [0, 1] * 3 and all(len(text) == 100 for text in texts)
    assert all(len(set(text)) == 1 for text in found["mixture, 100 at a time"][0])
    for text in found["mixture, 25 at a time"][0]:
        assert text in ("a" * 25 + "b" * 25 + "a" * 25 + "b" * 25, "b" * 25 + "a" * 25 + "b" * 25 + "a" * 25)
    assert found == judging.references(["a" * 250, "b" * 300], 100, 3, seed=1)
    assert found != judging.references(["a" * 250, "b" * 300], 100, 3, seed=2)


def test_texts_of_all_seeds_keep_their_requested_styles():
    assert judging.flat(BY_SEED) == [("aaaa", 0), ("bbaa", 1), ("aabb", 0), ("bbbb", 1)]


def test_labels_of_the_same_windows_are_computed_once():
    calls = []
    label = judging.remembering(lambda windows: calls.append(windows) or first_letter(windows))
    assert label(["ab", "b"]).tolist() == label(["ab", "b"]).tolist() == [0, 1] and len(calls) == 1
    assert label(["b", "ab"]).tolist() == [1, 0]


def test_success_is_over_texts_and_over_the_means_of_the_seeds():
    found = JUDGING.transfer(first_letter, BY_SEED, [0.5, 0.25])
    assert found["success"]["mean"] == 0.75 and found["success"]["n"] == 4
    assert found["over_seeds"] == {"mean": 0.75, "standard_error": 0.0, "n": 2, "values": [0.75, 0.75]}
    assert found["above_base"] == {0: 0.25, 1: 0.5}
    one = JUDGING.transfer(first_letter, {1: {0: ["aaaa"], 1: ["aaaa"]}, 2: {0: ["aaaa"], 1: ["bbbb"]}})
    assert one["over_seeds"]["values"] == [0.5, 1.0] and "above_base" not in one


def test_text_without_a_requested_style_gives_the_base_rates():
    report = {"consistency": {}, "transfer": {}}
    JUDGING.of_condition(report, "free", {1: {0: ["aabbcc"], 1: ["aa"]}}, first_letter, first_letter)
    assert report["base_rates"] == {"x": 0.5, "y": 0.25, "none": 0.25}
    assert list(report["consistency"]["free"]) == ["own_style"] and report["transfer"] == {}
    JUDGING.of_condition(report, "given", BY_SEED, first_letter, lambda windows: np.zeros(len(windows), int))
    assert list(report["consistency"]["given"]) == ["own_style", "asked_style", "nearest_is_asked"]
    assert report["consistency"]["given"]["asked_style"][2]["mean"] == 0.75
    assert report["consistency"]["given"]["nearest_is_asked"][2]["mean"] == 0.5
    given = report["transfer"]["given"]
    assert given["success"]["mean"] == 0.75 and given["nearest"]["success"]["mean"] == 0.5
    assert given["above_base"][0] == pytest.approx(0.25) and "above_base" not in given["nearest"]


def test_without_base_rates_there_is_no_success_above_them():
    report = {"consistency": {}, "transfer": {}}
    JUDGING.of_condition(report, "prompted", BY_SEED, first_letter, first_letter)
    assert "above_base" not in report["transfer"]["prompted"]


def test_a_judge_is_tested_on_200_windows_of_each_kind_without_style():
    counts = []

    def predict(windows):
        counts.append(len(windows))
        return np.full(len(windows), -1) if len(counts) == 1 else np.zeros(len(windows), int)

    found = JUDGING.test(predict, ["aaaa" * 5, "bbbb" * 5])
    assert counts[:3] == [200] * 3 and found["called_none"] == {"letters": 1.0, "shuffled": 0.0, "mixture": 0.0}
    assert list(found["accuracy"]) == [2, 4] and found["accuracy"][2]["mean"] == 0.5


def test_windows_of_all_texts_are_labeled():
    assert JUDGING.label(first_letter, ["aab", "bb"]).tolist() == [0, 1]


def test_both_judges_report_and_agree_or_not(monkeypatch):
    fitted = []

    class Judge:
        def __init__(self, kind, styles, seed):
            self.kind = kind
            fitted.append((kind, styles, seed))

        def fit(self, texts, lengths):
            fitted.append((texts, lengths))

        def predict(self, windows):
            return first_letter(windows) if self.kind == "svm" else np.zeros(len(windows), int)

        nearest = predict

    monkeypatch.setattr(judging, "StyleJudge", Judge)
    learn, test, real = ["aa", "bb"], ["aaaa" * 9, "bbbb" * 9], ["a" * 250, "b" * 250]
    found = JUDGING.judge((learn, test, real), {"given": BY_SEED}, 8, 2)
    assert fitted[:2] == [("svm", ["x", "y"], 5), ({"x": "aa", "y": "bb"}, [2, 4])] and fitted[2][0] == "bayes"
    assert list(found["judges"]) == ["svm", "bayes"] and found["judges"]["svm"]["accuracy"][2]["mean"] == 1
    assert found["judges"]["bayes"]["accuracy"][2]["mean"] == 0.5
    assert set(found["judges"]["svm"]["consistency"]) > {"real", "given"}
    assert found["agreement"]["real"]["share"] == 0.5 and found["agreement"]["generated"]["n"] == 8
