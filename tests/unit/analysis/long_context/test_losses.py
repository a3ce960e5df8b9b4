"""Loss by length: windows, sliding windows on the same tokens, and the limits of tables."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy

from plugins import hub
from plugins.analysis.long_context.losses import (
    EDGES,
    Settings,
    causal_losses,
    evaluate,
    nearest_visible,
    scheme_of,
    sliding,
    trained_length,
)
from plugins.data.dictionaries import MASK

BLOCK = 16  # of the toy character LMs
SETTINGS = Settings((16, 32, 64), windows=5, stride=4)


def text(lm, length=300):
    return torch.randint(len(lm.dictionary), (length,), generator=torch.Generator().manual_seed(2))


def by_hand(lm, tokens, start, end, first):
    """Return the mean loss of tokens ``first`` to ``end``, predicted from those from ``start`` on."""
    with torch.no_grad():
        logits = lm.model(tokens[None, start : end - 1])[0][0]
    return F.cross_entropy(logits[first - start - 1 :], tokens[first:end]).item()


@pytest.mark.parametrize("positions", ["alibi", "rotary"])
def test_windows_that_do_not_overlap_each_count_once(make_char_lm, positions):
    lm = make_char_lm(positions=positions)
    tokens = text(lm)
    for row in evaluate(lm, tokens, SETTINGS):
        length, count = row["length"], min(5, 299 // row["length"])
        starts = [i * length for i in range(count)]
        expected = [by_hand(lm, tokens, start, start + length + 1, start + 1) for start in starts]
        assert row["windows"]["n"] == count and row["times"] == length / BLOCK
        assert row["windows"]["mean"] == pytest.approx(np.mean(expected), abs=1e-5)
        assert row["windows"]["standard_error"] == pytest.approx(np.std(expected, ddof=1) / count**0.5, abs=1e-5)


def test_sliding_windows_predict_the_same_tokens_at_every_length(make_char_lm):
    lm = make_char_lm(positions="rotary")
    tokens = text(lm)
    ends = [65, 123, 182, 241, 300]
    for length in SETTINGS.lengths:
        expected = [by_hand(lm, tokens, end - length - 1, end, end - 4) for end in ends]
        with torch.no_grad():
            found = sliding(lm, tokens, length, SETTINGS)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bins_of_positions_average_to_the_loss_of_the_windows(make_char_lm):
    lm = make_char_lm(positions="alibi")
    row = evaluate(lm, text(lm), SETTINGS)[1]
    bins = row["by_position"]
    assert [(bins[0]["from"], bins[0]["to"]), bins[-1]["to"]] == [(0, 2), 32]
    assert np.mean([part["mean"] for part in bins]) == pytest.approx(row["windows"]["mean"])


def test_a_table_of_positions_ends_where_it_ends(make_char_lm):
    lm = make_char_lm(positions="learned")
    rows = evaluate(lm, text(lm), SETTINGS)
    assert "windows" in rows[0] and [row.get("limit") for row in rows] == [None, BLOCK, BLOCK]


@pytest.mark.parametrize("kind", ["linear", "dynamic"])
def test_scaling_follows_the_length_and_leaves_the_model_as_it_was(make_char_lm, kind):
    lm = make_char_lm(positions="alibi")
    tokens = text(lm)
    plain, scaled = evaluate(lm, tokens, SETTINGS), evaluate(lm, tokens, SETTINGS, kind)
    assert scaled[0]["windows"] == plain[0]["windows"]
    assert scaled[2]["windows"]["mean"] != plain[2]["windows"]["mean"]
    assert scheme_of(lm).scaling.kind == "none" and not lm.model.training


def test_what_a_model_does_not_support_is_named(make_char_lm):
    lm = make_char_lm(positions="alibi")
    with toy.refused("--scaling yarn"):
        evaluate(lm, text(lm), SETTINGS, "yarn")
    with toy.refused(50, 64):
        evaluate(lm, text(lm, 50), SETTINGS)


def test_speed_and_memory_are_reported(make_char_lm):
    lm = make_char_lm(positions="alibi")
    for row in evaluate(lm, text(lm), SETTINGS):
        assert row["tokens_per_second"] > 0 and row["peak_mb"] > 50


def test_the_trained_length_is_the_block_unless_it_was_recorded(make_char_lm):
    assert trained_length(make_char_lm(positions="rotary")) == BLOCK
    assert trained_length(make_char_lm(positions="rotary", trained_length=8)) == 8


def test_losses_of_the_last_predictions_are_the_last_losses(make_char_lm):
    lm = make_char_lm(positions="alibi")
    windows = text(lm)[:60].view(3, 20)
    with torch.no_grad():
        np.testing.assert_allclose(causal_losses(lm, windows, 4), causal_losses(lm, windows)[:, -4:], atol=1e-6)


@pytest.mark.parametrize("positions", ["alibi", "rotary"])
def test_a_sliding_cache_is_scored_on_the_same_tokens(make_char_lm, positions):
    lm = make_char_lm(positions=positions)
    tokens = text(lm)
    row, expected = evaluate(lm, tokens, SETTINGS)[0], []
    for end in (65, 123, 182, 241, 300):
        cache, window = lm.model.new_cache(1, 16), tokens[None, end - 65 : end]
        with torch.no_grad():
            parts = [lm.model(part, cache=cache)[0] for part in window[:, :-1].split(1, dim=1)]
        expected.append(F.cross_entropy(torch.cat(parts, 1)[0, -4:], window[0, -4:]).item())
    assert row["cache"]["mean"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_positions_added_to_embeddings_have_no_sliding_cache(make_char_lm):
    lm = make_char_lm(positions="sinusoidal")
    assert "cache" not in evaluate(lm, text(lm), SETTINGS)[0]


# Masked


@pytest.fixture(scope="module")
def masked_lm(toy_data, tmp_path_factory):
    return hub.load(toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data, **toy.VARIANTS["alibi"]))


def test_a_masked_lm_is_scored_at_its_masks(masked_lm):
    tokens = torch.randint(5, 40, (400,), generator=torch.Generator().manual_seed(1))
    settings = Settings((32, 64), windows=4, stride=16, mask_prob=0.3, seed=3)
    masks = torch.rand(400, generator=torch.Generator().manual_seed(3)) < 0.3
    rows, dictionary = evaluate(masked_lm, tokens, settings), masked_lm.dictionary
    for row in rows:
        body, losses = row["length"] - 2, []
        for start in range(0, 4 * body, body):
            window, mask = tokens[start : start + body], masks[start : start + body]
            given = [dictionary.bos(), *window.masked_fill(mask, dictionary.index(MASK)).tolist(), dictionary.eos()]
            with torch.no_grad():
                logits = masked_lm.model(torch.tensor([given]))[0][0, 1:-1]
            losses.append(F.cross_entropy(logits[mask], window[mask]).item())
        assert row["windows"]["mean"] == pytest.approx(np.mean(losses), abs=1e-4)
        assert sum(part["n"] for part in row["by_distance"]) == masks[: 4 * body].sum()
        ends = [(part["from"], part["to"]) for part in row["by_distance"]]
        assert set(ends) <= {*zip([0, *EDGES], [*EDGES, None], strict=True)} and ends == sorted(ends)
        assert row["sliding"]["n"] == 4


def test_distance_to_the_64th_nearest_visible_token():
    mask = np.zeros(200, dtype=bool)
    mask[[0, 100, 101, 199]] = True
    # From 0: visible 1 to 64. From 100: 32 on the left and, behind 101, 32 on the right.
    assert nearest_visible(mask).tolist() == [64, 33, 33, 64]


def test_distance_with_fewer_visible_tokens_is_that_to_the_farthest():
    assert nearest_visible(np.array([False, True, False, False])).tolist() == [2]
    assert nearest_visible(np.array([True, True])).tolist() == [2, 2]
