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
