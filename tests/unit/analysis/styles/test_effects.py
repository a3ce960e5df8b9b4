"""Styles as arrays, on toy models with random weights."""

import numpy as np
import pytest
import torch
import toy

from plugins.analysis.styles import effects
from plugins.hub import CharLM

STYLES = ("calm", "wild", "dry")
TEXT = "abc abd\nhgf edc ab ba cab fed"  # 28 characters; the block has 16
CAUSAL = ("running_mean", "token", "ema", "prefix")


# Coordinates of styles and texts


def test_the_embeddings_are_the_models_own(make_char_lm):
    lm = make_char_lm(styles=STYLES, style_dim=8)
    assert np.array_equal(effects.embeddings(lm), lm.model.decoder.style.style_embeddings.detach().numpy())


def test_few_points_are_projected_so_that_distances_in_their_plane_stay():
    draw = np.random.default_rng(0)
    flat, turn = draw.normal(size=(5, 2)), np.linalg.qr(draw.normal(size=(7, 7)))[0]
    laid_out = effects.flatten(np.pad(flat, [(0, 0), (0, 5)]) @ turn + 3)
    assert laid_out.method == "PCA" and sum(laid_out.shares) == pytest.approx(1)
    distances = [np.linalg.norm(points[:, None] - points, axis=-1) for points in (flat, laid_out.points)]
    assert distances[1] == pytest.approx(distances[0])


def test_a_single_point_and_equal_points_are_at_the_origin():
    assert effects.flatten(np.ones((1, 4))).points.tolist() == [[0, 0]]
    assert effects.flatten(np.ones((3, 4))).points == pytest.approx(0)


def test_tsne_preserves_neighborhoods_of_many_points():
    centres = np.repeat(20 * np.eye(3, 10), 12, axis=0)
    laid_out = effects.flatten(centres + np.random.default_rng(0).normal(size=(36, 10)))
    assert laid_out.method == "t-SNE" and laid_out.shares == ()
    distances = np.linalg.norm(laid_out.points[:, None] - laid_out.points, axis=-1) + 1e9 * np.eye(36)
    assert (distances.argmin(1) // 12 == np.arange(36) // 12).all()


@pytest.mark.parametrize("inference", [*CAUSAL, "published"])
def test_the_features_of_a_window_are_the_inputs_of_the_classifier(make_char_lm, inference):
    lm = make_char_lm(styles=STYLES, style_inference=inference)
    windows = effects.windows_of(lm, TEXT * 3, 3)
    read = torch.from_numpy(effects.summaries(lm, windows))
    with torch.no_grad():
        judged = effects.classifier_of(lm)(read)
        asked = lm.model(windows[:, :16])[1]["style_logits"][:, -1]
    assert judged == pytest.approx(asked, abs=1e-5)


# The style of a text


@pytest.mark.parametrize("inference", [*CAUSAL, "published"])
def test_probabilities_are_the_models_after_each_character(make_char_lm, inference):
    lm = make_char_lm(styles=STYLES, style_inference=inference)
    found = effects.probabilities(lm, TEXT[:12])
    assert found.shape == (12, 3) and found.sum(1) == pytest.approx(1)
    for end in (1, 5, 12):
        assert found[end - 1] == pytest.approx(list(lm.classify_style(TEXT[:end]).values()), abs=1e-5)


def test_past_the_block_a_row_is_computed_from_its_window(make_char_lm):
    lm = make_char_lm(styles=STYLES)
    found = effects.probabilities(lm, TEXT, refresh=1)
    assert found.shape == (len(TEXT), 3)
    for end in (17, 22, 28):
        assert found[end - 1] == pytest.approx(list(lm.classify_style(TEXT[end - 16 : end]).values()), abs=1e-5)


@pytest.mark.parametrize("refresh", [1, 5, 16])
def test_each_character_gets_one_row_however_far_the_window_slides(make_char_lm, refresh):
    lm = make_char_lm(styles=STYLES)
    for length in (1, 15, 16, 17, 28):
        assert effects.probabilities(lm, TEXT[:length], refresh).shape == (length, 3)


def test_byte_models_have_one_row_per_character(make_char_lm):
    lm = make_char_lm(unit="byte", styles=STYLES)
    found = effects.probabilities(lm, "aשé")  # 1, 2 and 2 bytes
    assert found.shape == (3, 3)
    assert found[-1] == pytest.approx(list(lm.classify_style("aשé").values()), abs=1e-5)


@pytest.mark.parametrize("inference", ["given", "constant"])
def test_a_model_that_infers_no_style_is_a_named_error(make_char_lm, inference):
    lm = make_char_lm(styles=STYLES, style_inference=inference)
    assert effects.classifier_of(lm) is None
    with toy.refused("--style-inference", inference):
        effects.probabilities(lm, TEXT)
    with toy.refused("--style-inference", inference):
        effects.summaries(lm, effects.windows_of(lm, TEXT, 1))


def test_a_model_without_styles_is_a_named_error(make_char_lm):
    for function in (effects.embeddings, effects.modulation):
        with toy.refused():
            function(make_char_lm())


def test_windows_are_spread_over_the_text(make_char_lm):
    lm = make_char_lm()
    text = "".join("abcdefgh"[i % 8] for i in range(17 * 9))
    rows = effects.windows_of(lm, text, 3)
    expected = [text[17 * i : 17 * (i + 1)] for i in (0, 4, 8)]
    assert [lm.dictionary.decode(row.tolist()) for row in rows] == expected
    assert len(effects.windows_of(lm, text, 99)) == 9
    with toy.refused(17):
        effects.windows_of(lm, "abc", 1)


# The effects of each style


@pytest.mark.parametrize(("inference", "layers"), [("running_mean", "every"), ("published", "every_other")])
def test_modulation_is_measured_after_each_layer(make_char_lm, inference, layers):
    lm = make_char_lm(styles=STYLES, style_inference=inference, style_layers=layers, decoder_layers=4)
    found = effects.modulation(lm)
    assert found.layers == {"every": (0, 1, 2, 3), "every_other": (1,)}[layers]
    x = torch.randn(1, 5, 16)
    for place, layer in enumerate(found.layers):
        for style in range(3):
            one = lm.model.decoder.style.begin(torch.eye(3)[style : style + 1])
            with torch.no_grad():
                one(0, x)  # where the style is read
                changed = one(layer, x)
            expected = x.numpy() * found.gain[place, style] + found.shift[place, style]
            assert changed.numpy() == pytest.approx(expected, abs=1e-5)


def test_strength_is_the_distance_from_no_change():
    found = effects.Modulation((0,), np.array([[[1.0, 4.0, -3.0, 1.0]]]), np.array([[[2.0, 0.0, 0.0, 0.0]]]))
    assert [part.tolist() for part in found.strength()] == [[[2.5]], [[1.0]]]


def test_an_untrained_adapter_does_not_change_the_output(make_char_lm):
    lm = make_char_lm(styles=STYLES)
    torch.nn.init.zeros_(lm.model.decoder.style.modulation.weight)
    gain, shift = effects.modulation(lm).strength()
    assert not gain.any() and not shift.any()
    assert effects.attention_differences(lm, effects.windows_of(lm, TEXT * 3, 2)).max() < 1e-6


def test_attention_changes_only_after_the_first_modulated_layer(make_char_lm):
    lm = make_char_lm(styles=STYLES, decoder_layers=3, style_source=2)
    moved = effects.attention_differences(lm, effects.windows_of(lm, TEXT * 3, 2))
    assert moved.shape == (2, 3, 3, 2)  # windows, styles, layers, heads
    assert moved[:, :, :2].max() < 1e-6 < 1e-3 < moved[:, :, 2].min() and moved.max() <= 1


def test_attention_under_a_style_is_that_of_a_pass_with_it(make_char_lm):
    lm = make_char_lm(styles=STYLES)
    tokens = lm.encode(TEXT[:9])
    found = effects.attention_under_styles(lm, tokens)
    assert found.shape == (3, 2, 2, 9, 9) and found.sum(-1) == pytest.approx(1, abs=1e-5)
    with effects.capture(lm.model) as layers, torch.no_grad():
        lm.model(tokens[None], styles=torch.tensor([[0.0, 1.0, 0.0]]))
    assert found[1, 1] == pytest.approx(layers[1][0].numpy(), abs=1e-6)


@pytest.mark.parametrize("inference", ["running_mean", "published"])
def test_perplexity_is_that_of_the_hub_under_each_style(make_char_lm, inference):
    lm = make_char_lm(styles=STYLES, style_inference=inference)
    text = TEXT[:17]
    row = effects.forced_perplexity(lm, {"text": effects.windows_of(lm, text, 1)})["text"]
    assert list(row) == [*STYLES, effects.NO_STYLE, effects.INFERRED]
    for name, style in [*zip(STYLES, STYLES, strict=True), (effects.INFERRED, None), (effects.NO_STYLE, False)]:
        assert row[name]["mean"] == pytest.approx(np.exp(lm.loss(text, style=style)), rel=1e-4)


def test_the_error_of_a_perplexity_follows_the_slope():
    found = effects.as_perplexity({"mean": np.log(8.0), "standard_error": 0.25, "n": 3})
    assert found == pytest.approx({"mean": 8.0, "standard_error": 2.0, "n": 3})


def test_confusion_counts_windows_by_true_style(make_char_lm):
    lm = make_char_lm(styles=STYLES)
    windows = {"dry": effects.windows_of(lm, TEXT * 5, 4), "calm": effects.windows_of(lm, "hgfe " * 30, 3)}
    table = effects.confusion(lm, windows)
    assert table.sum(1).tolist() == [3, 0, 4]
    best = [
        np.argmax(list(lm.classify_style(lm.dictionary.decode(row[:16].tolist())).values())) for row in windows["dry"]
    ]
    assert table[2].tolist() == np.bincount(best, minlength=3).tolist()


def test_a_style_may_be_called_none(make_char_lm):
    lm = make_char_lm(styles=("none", "wild"))
    assert isinstance(lm, CharLM)
    assert len(effects.forced_perplexity(lm, {"t": effects.windows_of(lm, TEXT, 1)})["t"]) == 4


def test_thirty_points_are_projected_by_tsne_and_fewer_by_pca(monkeypatch):
    made = []

    class TSNE:
        def __init__(self, components, **options):
            made.append((components, options))

        def fit_transform(self, vectors):
            return vectors[:, :2]

    monkeypatch.setattr("sklearn.manifold.TSNE", TSNE)
    vectors = np.random.default_rng(0).normal(size=(100, 3))
    assert effects.flatten(vectors[:30]).method == "t-SNE" and effects.flatten(vectors[:29]).method == "PCA"
    effects.flatten(vectors, seed=5)
    assert made == [(2, {"perplexity": perplexity, "init": "pca", "random_state": seed})
                    for perplexity, seed in ((29 / 3, 1), (30.0, 5))]  # fmt: skip


def test_the_shares_of_the_variance_are_those_of_the_two_axes():
    points = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    assert effects.flatten(points).shares == pytest.approx((18 / 28, 8 / 28))
    assert effects.flatten(np.ones((2, 1))).shares == (0.0,)


def test_half_of_the_total_variation_counts_as_moved(make_char_lm, monkeypatch):
    """Two styles that attend to different keys alone: each is a half away from their mean."""
    lm = make_char_lm(styles=STYLES)
    weights = np.stack([np.eye(4), np.eye(4)[::-1]])[:, None, None]
    monkeypatch.setattr(effects, "attention_under_styles", lambda lm, tokens: weights)
    assert effects.attention_differences(lm, torch.zeros(2, 17)).tolist() == [[[[0.5]], [[0.5]]]] * 2
