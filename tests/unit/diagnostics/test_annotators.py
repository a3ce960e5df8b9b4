"""Several annotators: one step by hand, and the anesthetists of Dawid and Skene."""

import numpy as np
import pytest
import toy

from plugins.diagnostics import annotators

# Dawid and Skene (1979), table 1: for each of 45 patients three judgments of the first anesthetist and one each of four
PATIENTS = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212 1211111
1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 1111111 1121121
1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222
""".split()


@pytest.fixture(scope="module")
def anesthetists():
    votes = np.array([[int(digit) - 1 for digit in row] for row in PATIENTS])  # (45, 7)
    rows = np.repeat(np.arange(45), 7)
    return annotators.vote_counts(rows, np.tile([0, 0, 0, 1, 2, 3, 4], 45), votes.ravel(), (45, 5, 4))


SMALL = np.array([[[1, 0], [1, 0]], [[0, 1], [1, 0]]])  # (2, 2, 2): rows, annotators, classes


def test_one_iteration_by_hand():
    found = annotators.dawid_skene(SMALL, iterations=1)
    np.testing.assert_allclose(found.prior, [0.75, 0.25])
    np.testing.assert_allclose(found.confusion, [[[2 / 3, 1 / 3], [0, 1]], [[1, 0], [1, 0]]])
    np.testing.assert_allclose(found.posterior, [[1, 0], [0.5, 0.5]])
    assert found.log_likelihood == pytest.approx(-1.38629436) and found.iterations == 1


def test_dawid_skene_reproduces_the_published_shares(anesthetists):
    """Shares of the four classes as published."""
    found = annotators.dawid_skene(anesthetists)
    np.testing.assert_allclose(found.prior, [0.40, 0.42, 0.11, 0.07], atol=0.005)
    np.testing.assert_allclose(found.posterior.sum(1), 1)
    np.testing.assert_allclose(found.confusion.sum(-1), 1)
    assert found.posterior[0].argmax() == 0 and found.posterior[10].argmax() == 3


def test_more_iterations_are_more_likely(anesthetists):
    values = [annotators.dawid_skene(anesthetists, n, tolerance=0).log_likelihood for n in (1, 2, 5, 20)]
    assert values == sorted(values) and values[0] < values[-1]


def test_an_annotator_who_is_always_wrong_is_informative():
    """Two are right in 90 %, one exchanges the classes; the majority of three is worse than the estimate."""
    random = np.random.default_rng(0)
    truth = random.integers(2, size=600)
    votes = np.stack([np.where(random.random(600) < p, truth, 1 - truth) for p in (0.9, 0.9, 0.05)], 1)
    counts = np.eye(2)[votes]  # (600, 3, 2)
    found = annotators.dawid_skene(counts)
    right = (found.posterior.argmax(1) == truth).mean()
    assert right > 0.95 > 0.9 > (annotators.majority(counts)[0] == truth).mean()
    np.testing.assert_allclose(found.confusion[2, 0], [0.05, 0.95], atol=0.05)


def test_an_annotator_without_a_class_has_no_errors_there():
    counts = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 0]]])
    found = annotators.dawid_skene(counts)
    assert np.isnan(found.confusion[1, 1]).all() and found.posterior.tolist() == [[1, 0], [0, 1]]


def test_shares_and_majority():
    counts = np.array([[[2, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]]])
    np.testing.assert_allclose(annotators.distribution(counts), [[2 / 3, 1 / 3, 0], [0, 0.5, 0.5]])
    classes, tied = annotators.majority(counts)
    assert classes.tolist() == [0, 1] and tied.tolist() == [False, True]


@pytest.mark.parametrize(
    ("votes", "named"),
    [
        (([0, 1], [0, 0], [0, 2]), "class"),
        (([0, 2], [0, 0], [0, 1]), "row"),
        (([0, 1], [0, -1], [0, 1]), "annotator"),
        (([0, 1], [0, 0], [0, 0.5]), "class"),
        (([0, 1], [0, 0], [0]), "votes"),
        (([0, 0], [0, 0], [0, 1]), "[1]"),
    ],
)
def test_bad_votes_are_named(votes, named):
    with toy.refused("votes", named):
        annotators.vote_counts(*map(np.array, votes), (2, 1, 2))


@pytest.mark.parametrize(
    "counts", [np.ones((2, 2)), np.zeros((1, 1, 2)), -np.ones((1, 1, 2)), [[[np.nan, 1]]], np.zeros((0, 2, 2))]
)
def test_bad_counts_are_refused(counts):
    with toy.refused("counts"):
        annotators.dawid_skene(counts)


def test_the_iterations_end_when_the_likelihood_grows_by_less_than_the_tolerance(anesthetists):
    values = [annotators.dawid_skene(anesthetists, n, tolerance=0).log_likelihood for n in range(1, 12)]
    growth = [(new - old) / abs(new) for old, new in zip(values[:-1], values[1:], strict=True)]
    for tolerance in (1e-2, 1e-3):
        first = next(n for n, share in enumerate(growth, start=2) if share <= tolerance)
        assert annotators.dawid_skene(anesthetists, tolerance=tolerance).iterations == first
    assert annotators.dawid_skene(anesthetists, 3, tolerance=0).iterations == 3


def test_less_than_one_iteration_is_refused():
    with toy.refused("iterations=0"):
        annotators.dawid_skene(SMALL, iterations=0)


def test_a_class_that_no_vote_names_has_probability_zero():
    found = annotators.dawid_skene(np.pad(SMALL, ((0, 0), (0, 0), (0, 1))))
    assert found.prior[2] == 0 and (found.posterior[:, 2] == 0).all()
    np.testing.assert_allclose(found.posterior.sum(1), 1)
