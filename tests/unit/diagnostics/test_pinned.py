"""Pinned lexical bias, against values computed by hand."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import pinned

P = [0.9, 0.7, 0.2]


@pytest.mark.parametrize(("reference", "expected"), [("above", 0.2), ("half", 0.3), ("mean", 0.8 / 3)])
def test_bias_of_three_words(reference, expected):
    assert pinned.bias(P, reference) == pytest.approx(expected)


def test_bias_of_several_draws_is_one_number_each():
    np.testing.assert_allclose(pinned.bias([[0.9, 0.5], [0.1, 0.3]]), [0.2, 0])


def test_a_list_is_compared_with_draws():
    found = pinned.compare([0.9, 0.7], [[0.5, 0.5], [0.9, 0.5], [1.0, 1.0], [0.7, 0.9]])
    assert vars(found) == pytest.approx({
        "bias": 0.3, "random": 0.25, "random_high": 0.47, "p_value": 3 / 5, "probability": 0.8,
        "random_probability": 0.75,
    })  # fmt: skip


def test_each_word_goes_into_each_template():
    assert pinned.fill(["{}", "so {}!"], ["a", "b"]) == ["a", "so a!", "b", "so b!"]


TEXTS = ["often one", "often two", "often three", "else three", "else two . .", "else four ."]


def test_random_words_are_as_frequent_and_not_of_the_list():
    texts = [f"common{i % 5} rare{i} ." for i in range(200)]
    found = pinned.match(["Common3", "rare7", "absent"], texts, draws=30)
    assert found.words == ["common3", "rare7"] and found.missing == ["absent"] and found.counts.tolist() == [40, 1]
    drawn = np.array(found.vocabulary)[found.draws]
    assert drawn.shape == (30, 2) and not set(drawn.ravel()) & {"common3", "rare7", "."}
    assert all(word.startswith("rare") for word in drawn[:, 1]) and len(set(drawn[:, 1])) > 10


def test_a_word_counts_once_per_text():
    assert pinned.match(["two"], ["two two two", "a b", "two c"]).counts.tolist() == [2]


def test_draws_are_the_same_for_the_same_seed():
    one, two, other = (pinned.match(["often", "two"], TEXTS, draws=9, seed=seed) for seed in (3, 3, 4))
    assert one.vocabulary == two.vocabulary and (one.draws == two.draws).all()
    assert (one.vocabulary, one.draws.tolist()) != (other.vocabulary, other.draws.tolist())


def test_words_that_do_not_occur_are_refused():
    with toy.refused("absent"):
        pinned.match(["absent"], TEXTS)


def test_too_few_other_words_are_refused():
    with toy.refused("2 words"):
        pinned.match(["a", "b"], ["a b c"])


@pytest.mark.parametrize("template", ["no place", "{} and {}"])
def test_a_template_has_one_place(template):
    with toy.refused("--template", template):
        pinned.fill([template], ["a"])


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_values_that_are_not_probabilities_are_refused(value):
    with toy.refused("probabilities"):
        pinned.bias([0.5, value])


def test_an_unknown_reference_is_refused():
    with toy.refused("median"):
        pinned.bias(P, "median")


def test_draws_of_another_size_are_refused():
    with toy.refused("(2,)", "(1, 3)"):
        pinned.compare([0.5, 0.5], [[0.5, 0.5, 0.5]])


def test_one_draw_at_least_and_as_many_other_words_as_listed_ones():
    with toy.refused("--draws 0"):
        pinned.match(["often"], TEXTS, draws=0)
    found = pinned.match(["a", "b"], ["a b c d"], draws=1)
    assert sorted(found.vocabulary) == ["c", "d"] and found.draws.shape == (1, 2)


def test_equal_biases_count_against_the_list():
    found = pinned.compare([0.8, 0.9], [[0.9, 0.8], [0.6, 0.6]], "half")
    assert found.p_value == pytest.approx(2 / 3) and found.bias == pytest.approx(0.35)
    assert pinned.compare([1.0], [[0.5]]).p_value == 0.5


@pytest.mark.parametrize(("listed", "drawn"), [([[0.5]], [[0.5]]), ([0.5], [0.5]), ([0.5], np.zeros((0, 1)))])
def test_probabilities_of_another_shape_are_refused(listed, drawn):
    with toy.refused("probabilities"):
        pinned.compare(listed, drawn)
    with toy.refused("probabilities", "word"):
        pinned.bias(np.zeros((2, 0)))
