"""Which tokens may follow a text."""

import math

import pytest
import torch
import toy

from plugins.modules.constraints import Constraints

END, WORDS = 0, 8


def allowed(rules, *texts):
    """Return the tokens that may follow each text."""
    logits = rules.mask(torch.zeros(len(texts), WORDS), list(texts))
    return [row.isfinite().nonzero().flatten().tolist() for row in logits]


def test_without_rules_the_logits_are_not_even_copied():
    logits = torch.zeros(1, WORDS)
    assert Constraints(END, 5).mask(logits, [[1, 2]]) is logits


def test_a_text_does_not_end_before_its_least_length():
    rules = Constraints(END, 5, min_length=2)
    assert allowed(rules, [1], [1, 2]) == [[1, 2, 3, 4, 5, 6, 7], list(range(8))]


@pytest.mark.parametrize(
    "n, text, banned",
    [(1, [3, 5], {3, 5}), (2, [3, 5, 3], {5}), (2, [3, 5, 4], set()), (3, [1, 2, 3, 1, 2], {3}), (3, [1, 2], set())],
)
def test_no_ngram_is_repeated(n, text, banned):
    assert Constraints(END, 9, no_repeat_ngram=n).banned(text) == banned


def test_the_last_token_of_a_forbidden_sequence_is_forbidden_only_after_the_others():
    rules = Constraints(END, 9, forbidden=((4,), (5, 6)))
    assert rules.banned([1, 2]) == {4}
    assert rules.banned([1, 5]) == {4, 6}


def test_a_text_does_not_end_while_a_forced_sequence_is_missing():
    rules = Constraints(END, 9, forced=(((5, 6),),))
    assert allowed(rules, [1], [5, 6], [5, 6, 1]) == [list(range(1, 8)), list(range(8)), list(range(8))]


def test_one_of_several_ways_to_write_a_forced_word_is_enough():
    rules = Constraints(END, 9, forced=(((5, 6), (7,)),))
    assert END in allowed(rules, [1, 7])[0] and END not in allowed(rules, [1, 5])[0]


def test_only_missing_sequences_are_allowed_when_no_room_is_left():
    rules = Constraints(END, 4, forced=(((5, 6),),))
    assert allowed(rules, [1], [1, 2], [1, 5], [1, 2, 5]) == [list(range(1, 8)), [5], [5, 6], [6]]


def test_without_room_for_two_forced_sequences_the_started_one_continues():
    rules = Constraints(END, 5, forced=(((5, 6),), ((3, 4),)))
    assert allowed(rules, [1], [1, 3], [1, 3, 4]) == [[3, 5], [4], [5]]


def test_a_forced_sequence_may_repeat_an_ngram_if_no_other_token_is_allowed():
    rules = Constraints(END, 6, no_repeat_ngram=1, forced=(((5, 6),),))
    assert allowed(rules, [5, 1, 6], [5, 1, 6, 2]) == [[2, 3, 4, 7], [5]]


def test_the_number_of_needed_tokens_counts_unfinished_sequences():
    rules = Constraints(END, 9, forced=(((5, 6, 7),), ((3, 4),)))
    assert [rules.needed(text) for text in ([], [5], [5, 6], [5, 6, 7], [3, 4, 5, 6], [3, 4, 5, 6, 7])] == [
        5, 4, 3, 2, 1, 0,
    ]  # fmt: skip


def test_the_probability_of_an_end_goes_to_the_beginnings_of_what_is_missing():
    rules = Constraints(END, 9, forced=(((5,),), ((6, 7),)))
    logits = torch.tensor([[0.5, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]]).log()
    shares = rules.mask(rules.invite(logits, [[]]), [[]]).exp()[0].tolist()
    assert shares == pytest.approx([0, 0.1, 0.1, 0.1, 0.05, 0.3, 0.3, 0.05])


def test_the_text_ends_if_the_rules_exclude_every_token():
    rules = Constraints(END, 20, min_length=15, no_repeat_ngram=1)
    logits = torch.full((1, WORDS), -2.0)
    masked = rules.mask(logits, [list(range(1, 8))])
    assert masked[0, END] == -2.0 and masked[0, 1:].isneginf().all()


@pytest.mark.parametrize(
    "options, named",
    [
        ({"min_length": 6}, [6, 5]),
        ({"forced": (((1, 2, 3),), ((4, 5, 6),))}, [6, 5]),
        ({"forbidden": ((),)}, ["forbidden"]),
        ({"forced": (((),),)}, ["forced"]),
        ({"max_length": 0}, ["maximum length", 0]),
        ({"no_repeat_ngram": -1}, ["n-grams", -1]),
        ({"no_repeat_ngram": 2.5}, ["n-grams", 2.5]),
    ],
)
def test_rules_that_contradict_each_other(options, named):
    with toy.refused(*named, error=ValueError):
        Constraints(END, **{"max_length": 5, **options})


def test_other_rows_and_the_given_logits_are_not_changed():
    rules = Constraints(END, 5, min_length=2)
    logits = torch.randn(2, WORDS)
    masked = rules.mask(logits, [[1], [1, 2]])
    assert torch.equal(masked[1], logits[1]) and torch.equal(masked[0, 1:], logits[0, 1:])
    assert masked[0, END] == -math.inf and logits[0, END] > -math.inf


def test_a_sequence_that_is_forced_and_forbidden_is_an_error():
    with toy.refused("[5, 6]", error=ValueError):
        Constraints(END, 9, forbidden=((6,),), forced=(((5, 6), (6, 7)),))
    Constraints(END, 9, forbidden=((6,),), forced=(((5, 6), (7,)),))  # another way is left


def test_chosen_tokens_that_complete_a_forbidden_text_are_struck():
    rules = Constraints(END, 9, breaks=lambda tokens: sum(tokens) == 5)
    logits = torch.zeros(WORDS)
    assert rules.strike(logits, [2], [3, 4]) and logits.isneginf().nonzero().flatten().tolist() == [3]
    assert not rules.strike(logits, [2], [3, 4])


def test_the_end_is_allowed_if_all_other_tokens_are_excluded():
    rules = Constraints(END, 9, breaks=lambda tokens: True)
    logits = torch.zeros(WORDS)
    logits[END] = -torch.inf
    rules.strike(logits, [2], range(WORDS))
    assert logits.isfinite().nonzero().flatten().tolist() == [END]
