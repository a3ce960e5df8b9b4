"""Generated text for the evaluation of styles: the prompt and style of each sample."""

import pytest
import torch

from plugins.analysis.styles.samples import Sampling, prompt_from, start_tokens

STYLES = ["x", "y", "z"]
REAL = ["abc" * 60, "def" * 60, "gab" * 60]


@pytest.fixture
def asked(make_char_lm, monkeypatch):
    """The requests to the model: prompts and mixtures by condition."""
    lm = make_char_lm(styles=STYLES[::-1])  # in another order than the data's
    calls = []

    def draw(self, lm, prompts, mixture, seed, bar):
        calls.append((prompts, mixture, seed))
        return [f"text {i} of {seed}" for i in range(len(prompts))]

    monkeypatch.setattr(Sampling, "draw", draw)
    made = Sampling([3, 4], 2, 10).generate(lm, REAL, STYLES, given=True)
    names = [(name, seed) for name in made for seed in made[name]]
    return lm, made, dict(zip(names, calls, strict=True))


def test_there_is_a_batch_for_each_condition_and_seed_with_samples_of_each_style(asked):
    _, made, calls = asked
    assert list(made) == ["free", "prompted", "given", "transfer"] and len(calls) == 8
    assert made["given"][4] == {0: ["text 0 of 4", "text 1 of 4"], 1: ["text 2 of 4", "text 3 of 4"],
                                2: ["text 4 of 4", "text 5 of 4"]}  # fmt: skip


def test_styles_are_forced_by_their_names(asked):
    _, _, calls = asked
    assert calls["given", 3][1].argmax(1).tolist() == [2, 2, 1, 1, 0, 0]  # the model's order is z, y, x
    assert calls["free", 3][1] is None and calls["prompted", 3][1] is None


def test_prompts_are_of_the_style_and_in_transfer_of_another(asked):
    lm, _, calls = asked

    def sources(name, seed):
        prompts = [lm.dictionary.decode(row) for row in calls[name, seed][0]]
        return [next(k for k, text in enumerate(REAL) if prompt in text) for prompt in prompts]

    assert sources("prompted", 3) == [0, 0, 1, 1, 2, 2]
    for seed in (3, 4):
        assert all(source != k for source, k in zip(sources("transfer", seed), [0, 0, 1, 1, 2, 2], strict=True))
    assert sources("transfer", 3) != sources("transfer", 4)


def test_a_model_without_styles_gets_no_style(make_char_lm):
    made = Sampling([1], 1, 3).generate(make_char_lm(), REAL, STYLES, given=False)
    assert list(made) == ["free", "prompted"]
    assert all(len(text) == 3 for texts in made["free"][1].values() for text in texts)


def test_each_sample_and_seed_has_a_prompt_of_its_own(make_char_lm):
    lm = make_char_lm()
    text = "".join("abcdefgh"[i * i % 61 % 8] for i in range(3000))
    prompts = [tuple(prompt_from(lm, text, seed, i).tolist()) for seed in (1, 2) for i in range(3)]
    assert len(set(prompts)) == 6 and all(len(prompt) == lm.block_size for prompt in prompts)


def test_a_text_without_a_prompt_starts_like_that_of_the_hub(make_char_lm):
    lm = make_char_lm()
    assert start_tokens(lm, 2).tolist() == [lm.encode(lm.opening).tolist()] * 2


def test_the_same_seed_draws_the_same_text(make_char_lm):
    lm = make_char_lm(styles=STYLES)
    one, same, other = (Sampling([seed], 1, 12).generate(lm, REAL, STYLES, True)["given"][seed] for seed in (1, 1, 2))
    assert one == same != other and torch.is_tensor(lm.encode(one[0][0]))


def test_samples_are_drawn_at_the_usual_temperature_from_the_likeliest(make_char_lm, monkeypatch):
    seen = []

    def draw(logits, temperature, top_k, generator):
        seen.append((logits.shape, temperature, top_k, generator.initial_seed()))
        return logits.argmax(-1, keepdim=True)

    monkeypatch.setattr("plugins.analysis.styles.samples.sampling.draw", draw)
    made = Sampling([5], 2, 3).generate(make_char_lm(), REAL, STYLES, given=False)
    vocabulary = len(make_char_lm().dictionary)
    assert set(seen) == {((6, vocabulary), 0.8, 200, 5)} and len(seen) == 2 * 3
    assert all(len(text) == 3 for text in made["free"][5][0])
