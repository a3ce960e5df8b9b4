"""Planted noise: which rows and classes each kind touches, and how early errors are found."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import planting

LABELS = np.repeat([0, 1, 2, 3], [400, 300, 250, 50])


def table(given):
    """Return how often each label became another one, (4, 4)."""
    found = np.bincount(LABELS * 4 + given, minlength=16).reshape(4, 4)
    np.fill_diagonal(found, 0)
    return found


def test_uniform_noise_has_the_rate_and_reaches_every_class():
    found = table(planting.plant(LABELS, 4, "uniform", 0.2, 1))
    assert found.sum() == 200 and (found[:3] + np.eye(4)[:3] > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_each_kind_of_noise_changes_the_stated_labels(seed):
    made = {kind: table(planting.plant(LABELS, 4, kind, 0.2, seed)) for kind in planting.KINDS[:-1]}
    assert (made["one_class"].sum(1) > 0).sum() == 1
    assert (made["pair"] > 0).sum() == 2 and ((made["pair"] > 0) == (made["pair"] > 0).T).all()
    assert [tuple(pair) for pair in np.argwhere(made["cyclic"])] == [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert made["cyclic"].sum() == 200
    assert made["rare_class"].sum() == made["rare_class"][:, 3].sum() == 10
    assert (made["asymmetric"] > 0).sum() == 2


def test_annotators_make_the_mistakes_of_the_weak_model():
    weak = np.eye(4)[(LABELS + (np.arange(1000) % 3 == 0)) % 4]
    given = planting.plant(LABELS, 4, "annotator", 0.1, 0, weak)
    changed = given != LABELS
    assert changed.sum() == 100 and (given[changed] == weak.argmax(1)[changed]).all()


def test_two_classes_work_with_every_kind():
    labels = np.arange(200) % 2
    for kind in planting.KINDS[:-1]:
        assert 0 < (planting.plant(labels, 2, kind, 0.2, 3) != labels).sum() <= 60


def test_bad_requests_are_named():
    for kind, rate, named in (("random", 0.1, "uniform"), ("pair", 0, "rate"), ("annotator", 0.1, "weak")):
        with toy.refused(named):
            planting.plant(LABELS, 4, kind, rate)


def test_average_precision():
    """scikit-learn's average_precision_score of the negated scores."""
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    score, wrong = random.random(200), random.random(200) < 0.2
    expected = metrics.average_precision_score(wrong, -score)
    assert planting.average_precision(score, wrong) == pytest.approx(expected)


def test_linear_probabilities_are_out_of_fold():
    texts = [f"word{i} {'good' if i % 2 else 'bad'} film" for i in range(60)]
    labels = np.arange(60) % 2
    p = planting.linear_probabilities(texts, labels, 2, np.arange(60) % 3)
    assert (p.argmax(1) == labels).all() and np.allclose(p.sum(1), 1)
    weak = planting.weak_probabilities(texts * 2, np.tile(labels, 2), 2)
    assert weak.shape == (120, 2)


def test_a_reviewer_who_errs():
    wrong = np.zeros(5000, bool)
    assert planting.judge_with_errors(wrong, 0.1).mean() == pytest.approx(0.1, abs=0.02)
    assert not planting.judge_with_errors(wrong, 0.0).any()


def test_shares_of_the_classes_that_lose_rows():
    """A fifth of the class; for asymmetric noise 1.25 and 0.75 times that, and never more than half of a class."""
    sizes = np.array([400, 300, 250, 50])
    for seed in range(4):
        one, pair, cyclic = (
            table(planting.plant(LABELS, 4, kind, 0.2, seed)) for kind in ("one_class", "pair", "cyclic")
        )
        for found in (one, pair, cyclic):
            lost = found.sum(1)
            assert set(lost[lost > 0]) <= set(sizes[lost > 0] // 5)
        assert (one > 0).sum() == 3 and np.count_nonzero(cyclic.sum(1)) == 4
        asymmetric = planting.plant(LABELS, 4, "asymmetric", 0.2, seed)
        found = table(asymmetric)
        shares = sorted((found.sum(1) / sizes)[found.sum(1) > 0])
        assert shares == pytest.approx([0.15, 0.25], abs=0.011)
        first, second = np.argsort(-found.sum(1) / sizes)[:2]
        assert found[first, second] > 0 == found[second, first], "the second class loses rows to a third one"
        most = table(planting.plant(LABELS, 4, "asymmetric", 0.5, seed)).sum(1) / sizes
        assert sorted(most[most > 0]) == pytest.approx([0.375, 0.5], abs=0.011)


def test_with_two_classes_asymmetric_noise_goes_both_ways():
    labels = np.repeat([0, 1], 100)
    given = planting.plant(labels, 2, "asymmetric", 0.2, 0)
    assert sorted([(given[:100] == 1).sum(), (given[100:] == 0).sum()]) == [15, 25]


def test_the_rarest_class_gains_rows_but_at_most_half_of_the_others():
    labels = np.array([0] * 3 + [1] * 6)
    assert (planting.plant(labels, 3, "rare_class", 0.4) == 0).sum() == 4
    assert (planting.plant(labels, 3, "rare_class", 0.01) == 0).sum() == 4, "one at least; a class without rows is none"
    labels = np.array([0] * 90 + [1] * 100)
    assert (planting.plant(labels, 2, "rare_class", 0.5) == 0).sum() == 90 + 45
    labels = np.array([0] * 5 + [1] * 5)
    assert (planting.plant(labels, 2, "rare_class", 0.5) != labels).sum() == 2


def test_the_seed_decides_and_rates_up_to_a_half_are_accepted():
    one, two, other = (planting.plant(LABELS, 4, "uniform", 0.5, seed) for seed in (1, 1, 2))
    assert (one == two).all() and (one != other).any() and (one != LABELS).sum() == 500
    for rate in (0.51, -0.1):
        with toy.refused(f"rate {rate:g}"):
            planting.plant(LABELS, 4, "uniform", rate)
    with toy.refused("mistakes"):
        planting.plant(LABELS, 4, "annotator", 0.1, 0, np.eye(4)[LABELS])


def test_other_folds_than_the_wanted_one_are_not_predicted():
    texts = [f"word{i % 3} {'good' if i % 2 else 'bad'} film" for i in range(30)]
    p = planting.linear_probabilities(texts, np.arange(30) % 2, 2, np.arange(30) % 3, only=1)
    assert (p[np.arange(30) % 3 != 1] == 0.5).all() and (np.abs(p[1::3, 0] - 0.5) > 0.2).all()
    absent = planting.linear_probabilities(texts, np.arange(30) % 2, 3, np.arange(30) % 3)
    assert (absent[:, 2] < 1e-5).all() and (absent[:, 2] > 0).all()


def test_a_weak_model_is_trained_on_a_tenth_without_the_row(monkeypatch):
    asked = []

    def linear(texts, labels, num_classes, row_folds):
        asked.append(row_folds)
        return np.full((100, 2), float(len(asked)))

    monkeypatch.setattr(planting, "linear_probabilities", linear)
    found = planting.weak_probabilities(["x"] * 100, np.arange(100) % 2, 2, 3)
    assert [np.bincount(row_folds).tolist() for row_folds in asked] == [[10, 90], [10, 90]]
    assert not ((asked[0] == 0) & (asked[1] == 0)).any(), "two tenths"
    assert (found == np.where(asked[0] == 0, 2, 1)[:, None]).all(), "rows of the first tenth by the second model"


def test_precision_and_means_by_group():
    assert planting.precision_at(np.array([True, False, True, True]), 2) == 0.5
    assert planting.average_precision(np.array([0.3, 0.1, 0.2]), np.array([False, False, False])) is not None
    assert np.isnan(planting.average_precision(np.array([0.3, 0.1]), np.zeros(2, bool)))
    rows = [
        {"a": "x", "n": 1.0, "m": 2},
        {"a": "y", "n": 5.0, "m": 1},
        {"a": "x", "n": 3.0, "m": 2},
        {"a": "x", "n": np.nan, "m": 2},
    ]
    x, y = planting.means(rows, ["a", "m"], ["n"])
    assert x == {"a": "x", "m": 2, "plantings": 3, "n": 2, "n_sd": 1} and y == {
        "a": "y",
        "m": 1,
        "plantings": 1,
        "n": 5,
        "n_sd": 0,
    }
    [bare] = planting.means([{"a": "x", "n": np.nan}], ["a"], ["n"])
    assert np.isnan(bare["n"]) and np.isnan(bare["n_sd"])
    wrong = np.ones(4000, bool)
    assert planting.judge_with_errors(wrong, 0.25).mean() == pytest.approx(0.75, abs=0.03)
    assert (planting.judge_with_errors(wrong, 0.25, 1) != planting.judge_with_errors(wrong, 0.25, 2)).any()
