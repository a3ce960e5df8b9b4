"""Drawing the next token, and the loop over it."""

import pytest
import torch

from plugins.modules.sampling import Race, divided, draw, first, generate, keep_likeliest, new_arrivals, pick, race

LOGITS = torch.tensor([[0.5, 0.1, 0.3, 0.1]]).log()


def kept(logits):
    return (logits > -torch.inf).tolist()


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [True, True, True, True]),
        ({"top_k": 1}, [True, False, False, False]),
        ({"top_k": 2}, [True, False, True, False]),
        ({"top_k": 3}, [True, True, True, True]),  # the third and the fourth tie
        ({"top_k": 4}, [True, True, True, True]),
        ({"top_p": 0.4}, [True, False, False, False]),
        ({"top_p": 0.7}, [True, False, True, False]),
        ({"top_p": 1.0}, [True, True, True, True]),
        ({"top_p": 1e-9}, [True, False, False, False]),
        ({"top_p": 0.55}, [True, False, True, False]),
        ({"top_k": 1, "top_p": 0.9}, [True, False, False, False]),
    ],
)
def test_top_k_and_top_p_keep_the_likeliest_tokens(options, expected):
    options = {"top_k": min(options["top_k"], 4), **options} if "top_k" in options else options
    assert kept(keep_likeliest(LOGITS, **options)) == [expected]


@pytest.mark.parametrize("top_p, count", [(0.25, 1), (0.5, 2), (0.75, 3), (0.76, 4)])
def test_the_nucleus_ends_where_its_mass_is_exactly_p(top_p, count):
    assert sum(kept(keep_likeliest(torch.zeros(1, 4), top_p=top_p))[0]) == count


def test_kept_tokens_keep_their_logits():
    assert keep_likeliest(LOGITS, top_k=2)[0, [0, 2]].tolist() == LOGITS[0, [0, 2]].tolist()


def test_each_row_is_filtered_independently():
    rows = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert kept(keep_likeliest(rows, top_k=1)) == [[True, False, False], [False, False, True]]
    assert kept(keep_likeliest(rows, top_p=0.5)) == [[True, False, False], [False, False, True]]


def test_a_limit_above_the_number_of_tokens_is_none():
    assert draw(LOGITS, top_k=200).shape == (1, 1)


def test_temperature_zero_takes_the_likeliest():
    assert draw(torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]]), temperature=0).tolist() == [[1], [0]]


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_p": 0.9}], ids=str)
@pytest.mark.parametrize("temperature", [1e-30, 1e-38, 1e-320])
def test_a_tiny_temperature_samples_the_most_likely_token(temperature, options):
    rows = torch.tensor([[1.0, 3.0, 2.0], [-5.0, -70.0, -80.0]])
    assert draw(rows, temperature, **options).tolist() == [[1], [0]]


@pytest.mark.parametrize("temperature, share", [(1.0, 0.5), (0.5, 0.25 / 0.36)])
def test_tokens_are_drawn_with_their_probabilities(temperature, share):
    count = 40_000
    drawn = draw(LOGITS.expand(count, -1), temperature, generator=torch.Generator().manual_seed(0))
    assert (drawn == 0).double().mean().item() == pytest.approx(share, abs=5 * 0.5 / count**0.5)


@pytest.mark.parametrize("temperature, drawable", [(0.25, {0}), (1.0, {0, 2}), (100.0, {0, 1, 2, 3})])
def test_the_nucleus_is_that_of_the_tempered_distribution(temperature, drawable):
    """At 0.25 the likeliest token has a probability of 0.88, at 100 the three likeliest have less than 0.76."""
    generator = torch.Generator().manual_seed(0)
    drawn = draw(LOGITS.expand(500, -1), temperature, top_p=0.76, generator=generator)
    assert set(drawn.flatten().tolist()) == drawable


def test_a_race_draws_what_multinomial_draws():
    ours, theirs = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for logits in torch.randn(50, 3, 65):
        token = first(*race(logits, new_arrivals(logits, ours)))
        assert torch.equal(token, torch.multinomial(logits.softmax(-1), 1, generator=theirs))


@pytest.mark.parametrize("temperature", [1e-300, 0.5, 1e300])
def test_a_race_object_draws_the_same(temperature):
    ours = Race(temperature, torch.Generator().manual_seed(1))
    theirs = torch.Generator().manual_seed(1)
    for logits in torch.randn(9, 3, 65):
        assert torch.equal(ours(logits), draw(logits, temperature, generator=theirs))


def test_nothing_is_drawn_from_logits_that_are_not_finite():
    with pytest.raises(ValueError, match="NaN"):
        draw(torch.tensor([[0.0, 1.0], [0.0, torch.nan]]))


def test_division_by_a_temperature_keeps_differences_over_it():
    rows = divided(torch.tensor([[1.0, 3.0, 2.0], [200.0, 100.0, 0.0]]), 0.5)
    assert (rows[:, :1] - rows).tolist() == [[0.0, -4.0, -2.0], [0.0, 200.0, 400.0]]


@pytest.mark.parametrize("uniform, token", [(0.0, 1), (0.2499, 1), (0.25, 2), (0.7499, 3), (0.75, 4), (1 - 2**-53, 4)])
def test_a_uniform_number_selects_the_token_whose_interval_contains_it(uniform, token):
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, 0.0, 0.0]])
    assert pick(logits, torch.tensor([uniform], dtype=torch.float64)).tolist() == [token]


# The loop


class Counter:
    """A model whose next token is the number of tokens in its context; it records its arguments."""

    window = None

    def __init__(self, cached):
        self.cached, self.length, self.calls = cached, 0, []

    def reset(self):
        self.length = 0

    def __call__(self, tokens):
        self.calls.append(tokens.tolist()[0])
        self.length = self.length + tokens.size(1) if self.cached else tokens.size(1)
        return torch.full((tokens.size(0), 1), float(self.length))

    def run(self, prompt, length, block_size, refresh=1):
        cache = self if self.cached else None
        steps = generate(self, lambda logits: logits.long(), torch.tensor([prompt]), length, block_size, refresh, cache)
        return [step.item() for step in steps]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "refresh, contexts", [(1, [3, 4, 4, 4, 4, 4]), (2, [3, 4, 3, 4, 3, 4]), (4, [3, 4, 1, 2, 3, 4])]
)
def test_the_context_past_the_block(cached, refresh, contexts):
    assert Counter(cached).run([7, 8, 9], 6, block_size=4, refresh=refresh) == contexts


def test_a_cache_is_fed_each_token_once():
    model = Counter(cached=True)
    assert model.run([7, 8], 3, block_size=9) == [2, 3, 4]
    assert model.calls == [[7, 8], [2], [3]]


def test_a_full_cache_restarts_with_the_last_tokens():
    model = Counter(cached=True)
    model.run([7, 8, 9], 4, block_size=4, refresh=2)
    assert model.calls == [[7, 8, 9], [3], [9, 3, 4], [3]]


def test_without_a_cache_the_whole_context_is_encoded():
    model = Counter(cached=False)
    model.run([7, 8], 2, block_size=9)
    assert model.calls == [[7, 8], [7, 8, 2]]


@pytest.mark.parametrize("cached", [True, False])
def test_of_a_long_prompt_the_last_block_counts(cached):
    model = Counter(cached)
    model.run([1, 2, 3, 4, 5], 1, block_size=4)
    assert model.calls == [[2, 3, 4, 5]]


def test_generating_no_tokens_does_not_call_the_model():
    model = Counter(cached=True)
    assert model.run([7], 0, block_size=4) == [] and model.calls == []


def test_a_cache_in_use_is_emptied_first():
    model = Counter(cached=True)
    assert model.run([7, 8], 1, block_size=4) == model.run([7, 8], 1, block_size=4) == [2]


def test_a_sliding_cache_is_not_rebuilt():
    model = Counter(cached=True)
    model.window = 4
    assert model.run([7, 8, 9, 6, 5, 4], 3, block_size=4) == [6, 7, 8]
    assert model.calls == [[7, 8, 9, 6, 5, 4], [6], [7]]
