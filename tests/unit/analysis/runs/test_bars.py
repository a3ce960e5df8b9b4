"""Numbers of bar charts, from the files of benchmarks and evaluations."""

import json
import math

import numpy as np
import pytest
import toy

from plugins.analysis.runs import bars


def evaluation(prompted=0.5, given=None, error=0.1):
    def scores(mean, error, n):
        return {"nearest_is_asked": {"50": {"mean": 0.9}, "200": {"mean": mean, "standard_error": error, "n": n}}}

    consistency = {"free": {"own_style": {"200": {"mean": 0.9}}}, "prompted": scores(prompted, error, 8)}
    if given is not None:
        consistency["given"] = scores(given, None, 1)
    return {"checkpoint": "x", "styles": ["a", "b"], "sees_the_future": False, "options": {"window": 200},
            "judges": {"svm": {"consistency": consistency}}}  # fmt: skip


def test_one_evaluation_has_the_error_over_its_texts():
    ((name, (values, errors)),) = bars.consistency({"base": [evaluation(0.5)]}).items()
    assert name == "with a prompt of the style" and values.tolist() == [0.5] and errors.tolist() == [[0.1], [0.1]]


def test_evaluations_of_several_seeds_have_the_error_over_the_seeds():
    series = bars.consistency({"base": [evaluation(0.5), evaluation(0.7)]})
    values, errors = series["with a prompt of the style"]
    assert values == pytest.approx([0.6]) and errors[0] == pytest.approx([0.1])  # 0.1414 / sqrt(2)


def test_a_configuration_without_a_condition_is_nan_in_it():
    series = bars.consistency({"base": [evaluation()], "styles": [evaluation(given=0.8)]})
    values, errors = series["with the style given"]
    assert math.isnan(values[0]) and values[1] == 0.8 and np.isnan(errors).all()
    assert bars.consistency({"base": [evaluation()]}, judge="bayes") == {}


def test_speeds_reach_from_least_to_most(tmp_path):
    rows = [{"contestant": "slow", "characters_per_second": {"median": 5, "min": 4, "max": 8}, "to_cache": {}},
            {"contestant": "fast", "characters_per_second": {"median": 9, "min": 9, "max": 10}}]  # fmt: skip
    (tmp_path / "speed.json").write_text(json.dumps({"rows": rows}))
    names, unit, (values, reach) = bars.read_speeds(tmp_path / "speed.json")
    assert (names, unit, values.tolist()) == (["slow", "fast"], "characters per second", [5, 9])
    assert reach.tolist() == [[1, 0], [3, 1]]


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"checkpoint": "c", "styles": [], "sees_the_future": false}', None]
)
def test_a_file_that_is_not_an_evaluation_is_refused(tmp_path, content):
    path = tmp_path / "e.json"
    if content is not None:
        path.write_text(content)
    with toy.refused("e.json"):
        bars.read_evaluation(path)


@pytest.mark.parametrize("rows", ['[{"contestant": "x"}]', "[3]", "null"])
def test_a_file_without_speeds_is_refused(tmp_path, rows):
    (tmp_path / "s.json").write_text(f'{{"rows": {rows}}}')
    with toy.refused("s.json"):
        bars.read_speeds(tmp_path / "s.json")


def test_a_score_without_a_number_is_nan_and_the_conditions_keep_their_order():
    found = evaluation(None, given=0.5, error=None)
    series = bars.consistency({"a": [found], "b": [evaluation(0.5)]})
    assert list(series) == ["with a prompt of the style", "with the style given"]
    values, errors = series["with a prompt of the style"]
    assert math.isnan(values[0]) and values[1] == 0.5 and math.isnan(errors[0][0])


def test_series_of_one_value_are_one_series():
    one, two = ((np.array([value]), np.full((2, 1), value / 2)) for value in (1.0, 3.0))
    names, (values, errors) = bars.one_by_one({"a": one, "b": two})
    assert (names, values.tolist(), errors.tolist()) == (["a", "b"], [1, 3], [[0.5, 1.5], [0.5, 1.5]])
