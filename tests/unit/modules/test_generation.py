"""Greedy texts, sampled ones and beam search, against texts made one at a time and against all texts there are."""

import itertools

import pytest
import torch
import toy
from bigrams import Bigrams

from plugins.modules.constraints import Constraints, contains
from plugins.modules.decoder import Decoder
from plugins.modules.generation import Search, generate
from plugins.modules.positions import DECODER_SCHEMES as POSITIONS
from plugins.modules.soft_prompt import SoftPrompt

END, WORDS, BLOCK = 0, 6, 40


class Model:
    """A decoder with random weights and a tied output; it counts the rows that it is given."""

    def __init__(self, words=WORDS, positions="learned", scale=0.5, seed=1):
        torch.manual_seed(seed)
        self.decoder = Decoder(words, BLOCK, 16, 32, 2, 2, positions=positions).eval()
        for parameter in self.decoder.parameters():
            parameter.data.add_(scale * torch.randn_like(parameter))
        self.new_cache, self.rows = self.decoder.new_cache, []

    def extract_features(self, tokens, cache=None):
        self.rows.append(len(tokens))
        return self.decoder(tokens, cache), {}

    def output_layer(self, features):
        return features @ self.decoder.wte.weight.T / 4

    @torch.no_grad()
    def log_probs(self, text):
        """Return the log-probabilities (T, V) of what follows each token of a text, without a cache."""
        return self.output_layer(self.decoder(torch.tensor([text]))[0]).log_softmax(-1)


def prompts_of(*lengths):
    return [torch.randint(1, WORDS, (length,), generator=torch.Generator().manual_seed(length)) for length in lengths]


# of models whose texts do not all have the same length
SEEDS = {"learned": 2, "sinusoidal": 1, "alibi": 1, "rotary": 1}


def greedy_by_hand(model, prompt, length):
    text = prompt.tolist()
    for _ in range(length):
        token = int(model.log_probs(text)[-1].argmax())
        if token == END:
            break
        text.append(token)
    return text[len(prompt) :]


@pytest.mark.parametrize("positions", POSITIONS)
def test_greedy_texts_of_prompts_of_different_lengths_are_those_of_each_without_a_cache(positions):
    model, prompts = Model(positions=positions, seed=SEEDS[positions]), prompts_of(3, 17, 1, 9, 4)
    found = generate(model, prompts, Constraints(END, 12), Search())
    assert found == [greedy_by_hand(model, prompt, 12) for prompt in prompts]
    assert len({len(text) for text in found}) > 1, "some end, some do not"
    assert model.rows[0] == 5 and model.rows[-1] < 5, "rows whose text has ended are dropped"


@pytest.mark.parametrize("search", [Search(temperature=0.9, top_k=4, seed=3), Search(beam=3)], ids=["sampled", "beam"])
def test_a_text_does_not_depend_on_the_rest_of_the_batch(search):
    model, prompts, rules = Model(), prompts_of(3, 17, 1, 9), Constraints(END, 10, no_repeat_ngram=3)
    together = generate(model, prompts, rules, search, names="abcd")
    alone = [
        generate(model, [prompt], rules, search, names=[name])[0] for prompt, name in zip(prompts, "abcd", strict=True)
    ]
    assert together == alone


def test_samples_follow_the_seed_and_the_name():
    model, prompts, rules = Model(), prompts_of(4) * 2, Constraints(END, 12)
    same = generate(model, prompts, rules, Search(temperature=1.0), names=["a", "a"])
    assert same[0] == same[1]
    other = generate(model, prompts, rules, Search(temperature=1.0), names=["a", "b"])
    assert other[0] == same[0] and other[1] != same[1]
    assert generate(model, prompts, rules, Search(temperature=1.0, seed=2), names=["a", "a"]) != same


def test_temperatures_may_be_tiny_or_huge():
    model, prompts, rules = Model(), prompts_of(3, 9), Constraints(END, 8, min_length=8)
    greedy = generate(model, prompts, rules, Search())
    for temperature in (1e-38, 1e-300):
        assert generate(model, prompts, rules, Search(temperature=temperature)) == greedy
    drawn = generate(model, prompts, rules, Search(temperature=1e300))
    assert len(set(sum(drawn, []))) > 2 and END not in sum(drawn, [])


@pytest.mark.parametrize("temperature, top_k", [(1.0, None), (0.5, None), (2.0, 3)])
def test_first_tokens_come_as_often_as_they_are_likely(temperature, top_k):
    model, prompt, count = Model(), prompts_of(5)[0], 4000
    expected = model.log_probs(prompt.tolist())[-1] / temperature
    if top_k:
        expected[expected < expected.topk(top_k).values[-1]] = -torch.inf
    expected = expected.softmax(-1) * count
    search = Search(temperature=temperature, top_k=top_k)
    texts = generate(model, [prompt] * count, Constraints(END, 1), search)
    found = torch.bincount(torch.tensor([text[0] if text else END for text in texts]), minlength=WORDS)
    assert (found[expected == 0] == 0).all()
    seen = expected > 0
    chi_squared = ((found - expected)[seen] ** 2 / expected[seen]).sum().item()
    assert chi_squared < 25, "of 5 degrees of freedom, less than one time in 5000"


def score_of(model, prompt, text, rules, penalty=1.0):
    whole = [*text, END] if len(text) < rules.max_length else list(text)
    log_probs = model.log_probs([*prompt, *whole])[len(prompt) - 1 : -1]
    return log_probs[torch.arange(len(whole)), whole].sum().item() / len(whole) ** penalty


@torch.no_grad()
def scores_of_all(model, prompt, rules, penalty):
    """Return {text: score} of every text within the length limits."""
    longest = list(itertools.product(range(1, WORDS), repeat=rules.max_length))
    tokens = torch.cat([torch.tensor(prompt).expand(len(longest), -1), torch.tensor(longest)], dim=1)
    log_probs = model.output_layer(model.decoder(tokens)).log_softmax(-1)[:, len(prompt) - 1 : -1]  # (N, L, V)
    scores = {}
    for text, table in zip(longest, log_probs.double().tolist(), strict=True):
        total = 0.0
        for length, (token, row) in enumerate(zip(text, table, strict=True)):
            scores[text[:length]] = (total + row[END]) / (length + 1) ** penalty
            total += row[token]
        scores[text] = total / len(text) ** penalty
    return scores


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_an_exhaustive_beam_finds_the_best_text(penalty):
    rules, prompt = Constraints(END, 4), prompts_of(5)[0]
    for seed in range(3):
        model = Model(scale=0.3, seed=seed)
        (found,) = generate(model, [prompt], rules, Search(beam=5**4, length_penalty=penalty))
        scores = scores_of_all(model, prompt.tolist(), rules, penalty)
        assert scores[tuple(found)] == pytest.approx(max(scores.values()), abs=1e-5)
        assert scores[tuple(found)] == pytest.approx(score_of(model, prompt.tolist(), found, rules, penalty), abs=1e-5)


def test_an_exhaustive_beam_finds_the_best_text_that_satisfies_the_constraints():
    forced, forbidden = (((3, 3),), ((4,), (2, 1))), ((5,), (1, 2))
    rules, prompt = Constraints(END, 4, min_length=3, forced=forced, forbidden=forbidden), prompts_of(5)[0]

    def allowed(text):
        held = all(any(contains(text, way) for way in group) for group in forced)
        return len(text) >= 3 and held and not any(contains(text, words) for words in forbidden)

    for seed in range(3):
        model = Model(scale=0.3, seed=seed)
        (found,) = generate(model, [prompt], rules, Search(beam=5**4))
        scores = scores_of_all(model, prompt.tolist(), rules, 1.0)
        best = max(score for text, score in scores.items() if allowed(text))
        assert allowed(found) and scores[tuple(found)] == pytest.approx(best, abs=1e-5)


def test_a_wider_beam_finds_likelier_texts_on_average():
    model, rules, prompts = Model(), Constraints(END, 8), prompts_of(*range(1, 20))
    means = []
    for beam in (1, 4):
        texts = generate(model, prompts, rules, Search(beam=beam))
        means.append(sum(score_of(model, p.tolist(), t, rules) for p, t in zip(prompts, texts, strict=True)))
    assert means[1] > means[0]


@pytest.mark.parametrize("beam, expected", [(2, [1]), (3, [])])
def test_a_text_ends_only_if_its_end_is_among_the_best_of_the_beam(beam, expected):
    """After the prompt the end comes third with 0.2, and no other text has more than 0.5 * 0.3."""
    table = [[1.0, 0, 0, 0], [0.3, 0.2, 0.25, 0.25], [0.1, 0.3, 0.3, 0.3], [0.2, 0.5, 0.3, 0.0]]
    search = Search(beam=beam, length_penalty=0.0)
    assert generate(Bigrams(torch.tensor(table).log()), [torch.tensor([3])], Constraints(END, 6), search) == [expected]


@pytest.mark.parametrize("search", [Search(), Search(beam=3), Search(temperature=0.8)], ids=["greedy", "beam", "drawn"])
def test_texts_after_a_tuned_prompt_are_those_of_the_same_embeddings_as_tokens(search):
    """A prompt made of token embeddings, and the same tokens before each prompt."""
    plain, tuned, rules, words = Model(positions="alibi"), Model(positions="alibi"), Constraints(END, 8), [3, 5, 2]
    tuned.decoder.prompt = SoftPrompt(tuned.decoder.look_up(torch.tensor(words)))
    prompts = prompts_of(3, 9, 1)
    expected = generate(plain, [torch.cat([torch.tensor(words), prompt]) for prompt in prompts], rules, search)
    assert generate(tuned, prompts, rules, search) == expected


@pytest.mark.parametrize("positions", POSITIONS)
def test_greedy_texts_after_a_tuned_prompt_are_those_without_a_cache(positions):
    model, prompts = Model(positions=positions, seed=SEEDS[positions]), prompts_of(3, 9, 1)
    model.decoder.prompt = SoftPrompt(torch.randn(4, 16))
    expected = [greedy_by_hand(model, prompt, 8) for prompt in prompts]
    assert generate(model, prompts, Constraints(END, 8), Search()) == expected


SEARCHES = {"greedy": Search(), "sampled": Search(temperature=1.5), "beam": Search(beam=4)}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_generated_text_satisfies_the_constraints(search):
    forced = (((3, 4),), ((2, 2), (4, 4)))
    rules = Constraints(END, 12, min_length=6, forbidden=((5,), (1, 2)), forced=forced)
    for text in generate(Model(), prompts_of(*range(1, 25)), rules, search):
        pairs = list(itertools.pairwise(text))
        assert 6 <= len(text) <= 12
        assert 5 not in text and (1, 2) not in pairs
        assert (3, 4) in pairs and ((2, 2) in pairs or (4, 4) in pairs)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_no_pair_of_tokens_is_repeated(search):
    free, strict = (Constraints(END, 12, no_repeat_ngram=n) for n in (0, 2))
    repeats = []
    for rules in (free, strict):
        texts = generate(Model(), prompts_of(*range(1, 25)), rules, search)
        pairs = [list(itertools.pairwise(text)) for text in texts]
        repeats.append(sum(len(some) - len(set(some)) for some in pairs))
    assert repeats[0] > 0 and repeats[1] == 0


def test_no_prompts_give_no_texts():
    assert generate(Model(), [], Constraints(END, 5), Search()) == []


@pytest.mark.parametrize(
    "options, named",
    [
        ({"temperature": -1.0}, ["temperature", -1.0]),
        ({"top_k": 0}, ["top-k", 0]),
        ({"top_p": 0.0}, ["top-p", 0.0]),
        ({"top_p": 1.1}, ["top-p", 1.1]),
        ({"beam": 0}, ["beam", 0]),
        ({"beam": 2, "temperature": 1.0}, ["beam", "temperature"]),
        ({"top_k": 5}, ["top-k", "temperature"]),
        ({"top_p": 0.9}, ["top-p", "temperature"]),
        ({"temperature": float("nan")}, ["temperature", "nan"]),
        ({"temperature": float("inf")}, ["temperature", "inf"]),
        ({"length_penalty": float("nan")}, ["length penalty", "nan"]),
        ({"length_penalty": 1000.0}, ["length penalty", 1000.0]),
        ({"length_penalty": -1000.0}, ["length penalty", -1000.0]),
        ({"beam": 2.5}, ["beam", 2.5]),
        ({"top_k": 1.5}, ["top-k", 1.5]),
    ],
)
def test_invalid_settings_are_refused(options, named):
    with toy.refused(*named, error=ValueError):
        Search(**options)


def test_two_hypotheses_find_a_text_that_greedy_search_misses():
    """After token 1: 2 with 0.6, then 1/3 each; 3 with 0.4, then the end with 0.9."""
    table = [[1.0, 0, 0, 0], [0, 0, 0.6, 0.4], [0.4, 0.3, 0.3, 0], [0.9, 0.1, 0, 0]]
    prompts, rules = [torch.tensor([1])], Constraints(END, 2)
    model = Bigrams(torch.tensor(table).log())
    greedy, two = (generate(model, prompts, rules, Search(beam=beam, length_penalty=0)) for beam in (1, 2))
    assert (greedy, two) == ([[2]], [[3]])


@pytest.mark.parametrize(
    "search", [Search(), Search(temperature=1.0), Search(beam=2)], ids=["greedy", "sampled", "beam"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [0, 2])
def test_logits_that_are_not_finite_are_an_error_in_every_search(search, value, step):
    model = Model()
    right = model.output_layer

    def output_layer(features):
        logits = right(features).index_fill(-1, torch.tensor([END]), -torch.inf)  # no text ends
        return logits if len(model.rows) <= step else logits.index_fill(-1, torch.tensor([3]), value)

    model.output_layer = output_layer
    with pytest.raises(ValueError, match="not finite"):
        generate(model, prompts_of(3, 5), Constraints(END, 6), search)
