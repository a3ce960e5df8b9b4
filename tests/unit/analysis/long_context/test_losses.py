"""Loss by length: windows, sliding windows on the same tokens, and the limits of tables."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy

from plugins import hub
from plugins.analysis.long_context import causal, losses, masked
from plugins.analysis.long_context.losses import evaluate, scheme_of, summary, trained_length
from plugins.analysis.long_context.masked import EDGES, nearest_visible
from plugins.analysis.long_context.windows import WindowSettings
from plugins.data.dictionaries import MASK
from plugins.modules.decoder import Decoder

BLOCK = 16  # of the toy character LMs
SETTINGS = WindowSettings((16, 32, 64), windows=5, stride=4)


def text(lm, length=300):
    return torch.randint(len(lm.dictionary), (length,), generator=torch.Generator().manual_seed(2))


def by_hand(lm, tokens, start, end, first):
    """Return the mean loss of tokens ``first`` to ``end``, predicted from those from ``start`` on."""
    with torch.no_grad():
        logits = lm.model(tokens[None, start : end - 1])[0][0]
    return F.cross_entropy(logits[first - start - 1 :], tokens[first:end]).item()


@pytest.mark.parametrize("positions", ["alibi", "rotary"])
def test_windows_cover_the_same_passages_at_every_length(make_char_lm, positions):
    lm = make_char_lm(positions=positions)
    tokens = text(lm)
    for row in evaluate(lm, tokens, SETTINGS):
        length = row["length"]
        for passage, found in zip((0, 64, 128, 192), row["windows"]["losses"], strict=True):
            starts = range(passage, passage + 64, length)
            expected = [by_hand(lm, tokens, start, start + length + 1, start + 1) for start in starts]
            assert found == pytest.approx(np.mean(expected), abs=1e-5)
        assert row["windows"]["mean"] == pytest.approx(np.mean(row["windows"]["losses"]))
        assert row["times"] == length / BLOCK


def test_an_interval_over_passages_has_the_width_of_the_standard_error():
    losses = np.random.default_rng(1).normal(2.0, 0.5, 400)
    found = summary(losses)
    assert found["n"] == 400 and found["mean"] == pytest.approx(losses.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)


def test_a_passage_without_a_loss_does_not_count_and_a_single_one_has_no_interval():
    assert summary([1.0, np.nan]) == {"mean": 1.0, "low": None, "high": None, "n": 1, "losses": [1.0, None]}
    with toy.refused("--mask-prob"):
        summary([np.nan])


def test_an_interval_over_runs_is_as_wide_as_the_runs_differ():
    runs = np.array([[1.0], [2.0], [3.0]]) + np.zeros((3, 50))  # the passages are equal
    found = summary(runs, keep=False)
    assert found["mean"] == 2.0 and 1.0 <= found["low"] < 1.5 and 2.5 < found["high"] <= 3.0


def test_sliding_windows_predict_the_same_tokens_at_every_length(make_char_lm):
    lm = make_char_lm(positions="rotary")
    tokens = text(lm)
    ends = [65, 123, 182, 241, 300]
    for length in SETTINGS.lengths:
        expected = [by_hand(lm, tokens, end - length - 1, end, end - 4) for end in ends]
        with torch.no_grad():
            found = causal.last_losses(lm, tokens, length, SETTINGS)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bins_of_positions_average_to_the_loss_of_the_windows(make_char_lm):
    lm = make_char_lm(positions="alibi")
    row = evaluate(lm, text(lm), SETTINGS)[1]
    bins = row["by_position"]
    assert [(bins[0]["from"], bins[0]["to"]), bins[-1]["to"]] == [(0, 2), 32]
    assert np.mean([part["mean"] for part in bins]) == pytest.approx(row["windows"]["mean"])


def test_a_position_beyond_the_table_is_an_error(make_char_lm):
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
        np.testing.assert_allclose(causal.losses_of(lm, windows, 4), causal.losses_of(lm, windows)[:, -4:], atol=1e-6)


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
    settings = WindowSettings((32, 64), windows=4, stride=16, mask_prob=0.3, seed=3)
    masks = torch.rand(400, generator=torch.Generator().manual_seed(3)) < 0.3
    rows, dictionary = evaluate(masked_lm, tokens, settings), masked_lm.dictionary
    for row in rows:
        body, losses = row["length"] - 2, []
        starts = [passage + start for passage in range(0, 248, 62) for start in range(0, 63 - body, body)]
        for start in starts:
            window, mask = tokens[start : start + body], masks[start : start + body]
            given = [dictionary.bos(), *window.masked_fill(mask, dictionary.index(MASK)).tolist(), dictionary.eos()]
            with torch.no_grad():
                logits = masked_lm.model(torch.tensor([given]))[0][0, 1:-1]
            losses.append(F.cross_entropy(logits[mask], window[mask], reduction="none"))
        passages = [torch.cat(losses[i : i + len(starts) // 4]).mean() for i in range(0, len(starts), len(starts) // 4)]
        np.testing.assert_allclose(row["windows"]["losses"], passages, atol=1e-4)
        assert all(1 <= part["n"] <= 4 for part in row["by_distance"])
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


def test_the_speed_is_of_the_windows_alone(make_char_lm, monkeypatch):
    lm = make_char_lm(positions="alibi")
    times = iter([10.0, 14.0] * 3)
    monkeypatch.setattr(losses.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(losses, "peak_megabytes", lambda device: 7.0)
    for row in evaluate(lm, text(lm), SETTINGS):
        assert (row["tokens_per_second"], row["peak_mb"]) == (4 * 64 / 4, 7.0)


def test_a_text_one_token_longer_than_the_longest_window_is_enough(make_char_lm):
    lm = make_char_lm(positions="alibi")
    assert evaluate(lm, text(lm, 65), SETTINGS)[0]["windows"]["n"] == 1


def test_a_model_without_positions_of_this_package_is_named():
    with toy.refused("Linear"):
        scheme_of(SimpleNamespace(model=torch.nn.Linear(1, 1)))


def test_scaling_begins_beyond_the_trained_length(make_char_lm, monkeypatch):
    lm = make_char_lm(positions="alibi")
    scaled = []
    scheme = scheme_of(lm)
    rescale = type(scheme).rescale
    monkeypatch.setattr(
        type(scheme), "rescale", lambda self, to: scaled.append((to.kind, to.factor)) or rescale(self, to)
    )
    lm.model.train()
    evaluate(lm, text(lm), WindowSettings((8, 32), windows=2, stride=4), "linear")
    assert scaled == [("linear", 1.0), ("linear", 2.0), ("none", 1.0)] and lm.model.training


@pytest.mark.parametrize("rows", [1, 3])
def test_losses_do_not_depend_on_how_many_logits_are_computed_at_once(make_char_lm, monkeypatch, rows):
    lm = make_char_lm(positions="alibi")
    windows = text(lm)[:40].view(2, 20)
    with torch.no_grad():
        whole = causal.losses_of(lm, windows)
        monkeypatch.setattr(causal, "LOGITS_AT_ONCE", rows * len(lm.dictionary))
        np.testing.assert_allclose(causal.losses_of(lm, windows), whole, atol=1e-6)
    assert whole.shape == (2, 19)


def test_a_sliding_cache_leaves_the_model_without_a_window(make_char_lm):
    lm = make_char_lm(positions="alibi")
    evaluate(lm, text(lm), SETTINGS)
    assert [part.window for part in lm.model.modules() if isinstance(part, Decoder)] == [None]


def test_masks_depend_on_the_seed_and_their_share_alone():
    tokens = torch.arange(4000)
    one, again, other = (masked.masks_of(tokens, WindowSettings((8,), seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.float().mean().item() == pytest.approx(0.15, abs=0.02)


def test_tokens_masked_in_mid_window_are_the_same_at_every_length(masked_lm, monkeypatch):
    """The loss of a token is its number: the same tokens have the same mean."""
    tokens = torch.arange(5, 405)
    monkeypatch.setattr(masked, "losses_of", lambda lm, text, masks: text[masks].double().numpy())
    settings = WindowSettings((32, 64), windows=4, stride=16, mask_prob=0.5, seed=3)
    short, long = (masked.sliding(masked_lm, tokens, length, settings)["sliding"] for length in (32, 64))
    np.testing.assert_array_equal(short, long)
    masks = masked.masks_of(tokens, settings)
    centers = torch.linspace(32, 400 - 32, 4).long()
    expected = [(tokens[c - 8 : c + 8][masks[c - 8 : c + 8]]).double().mean().item() for c in centers.tolist()]
    np.testing.assert_allclose(short, expected)


def test_bins_of_distances_hold_each_masked_token_once(masked_lm, monkeypatch):
    tokens = torch.arange(5, 405)
    monkeypatch.setattr(masked, "losses_of", lambda lm, text, masks: text[masks].double().numpy())
    found = masked.windows(masked_lm, tokens, 34, WindowSettings((34, 66), windows=3, mask_prob=0.5))
    masks = masked.masks_of(tokens, WindowSettings((34,), mask_prob=0.5))
    parts = [tokens[i : i + 64][masks[i : i + 64]].double().mean().item() for i in (0, 64, 128)]
    np.testing.assert_allclose(found.losses, parts)
    assert found.tokens == 6 * 34 and found.edges[0] == (0, 33) and found.edges[-1] == (96, None)
    assert found.bins.shape == (7, 3) and np.isnan(found.bins[-1]).all(), "no more than 32 tokens of text"
