"""The criterion: nats, bits and perplexity of one loss, and the two ways to learn styles."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import toy
from fairseq.logging import metrics

from plugins.criterions.style_lm import StyleLMCriterion, label_loss, mutual_information_loss

PAD, WORDS, STYLES = 7, 7, 3


def criterion(weight=0.1, unsupervised=False):
    return StyleLMCriterion(SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: PAD)), weight, unsupervised)


class Model(torch.nn.Module):
    """A model with given logits."""

    def __init__(self, logits, style_logits=None):
        super().__init__()
        self.logits, self.style_logits = logits, style_logits

    def forward(self, src_tokens, style_labels=None, target=None):
        loss = F.cross_entropy(self.logits.flatten(0, 1), target.flatten(), ignore_index=PAD, reduction="sum")
        return None, {"style_logits": self.style_logits, "loss": loss}


def sample(target, labels=None):
    inputs = {"src_tokens": target.clamp(max=WORDS - 1)}
    if labels is not None:
        inputs["style_labels"] = torch.tensor(labels)
    return {
        "net_input": inputs, "target": target, "ntokens": int((target != PAD).sum()), "nsentences": len(target),
    }  # fmt: skip


def reduced(logs):
    with metrics.aggregate() as aggregator:
        StyleLMCriterion.reduce_metrics(logs)
    return aggregator.get_smoothed_values()


def test_the_loss_is_the_summed_cross_entropy_of_what_is_not_padding():
    logits, target = torch.randn(2, 5, WORDS), torch.randint(WORDS, (2, 5))
    target[1, 3:] = PAD
    loss, count, log = criterion()(Model(logits), sample(target))
    expected = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, reduction="sum")
    torch.testing.assert_close(loss, expected)
    assert count == log["sample_size"] == 8


def test_one_loss_is_logged_as_bits_nats_and_perplexity():
    values = reduced([{"loss": torch.tensor(8 * math.log(5)), "ntokens": 8}])
    assert values["loss"] == pytest.approx(math.log2(5), abs=1e-5)
    assert values["bpc"] == pytest.approx(math.log2(5), abs=1e-5)
    assert values["nats"] == pytest.approx(math.log(5), abs=1e-5)
    assert values["ppl"] == pytest.approx(5, abs=1e-4)


def test_batches_count_by_their_characters():
    values = reduced([{"loss": torch.tensor(1.0), "ntokens": 1}, {"loss": torch.tensor(6.0), "ntokens": 9}])
    assert values["nats"] == pytest.approx(0.7, abs=1e-5)


def test_the_style_loss_is_added_with_its_weight_and_logged_separately():
    logits, style = torch.randn(2, 4, WORDS), torch.randn(2, 4, STYLES)
    target = torch.randint(WORDS, (2, 4))
    plain = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
    by_style = F.cross_entropy(style.flatten(0, 1), torch.tensor([0] * 4 + [2] * 4))
    loss, count, log = criterion(weight=0.3)(Model(logits, style), sample(target, [0, 2]))
    torch.testing.assert_close(loss, plain + 0.3 * 8 * by_style)
    torch.testing.assert_close(log["loss"], plain)
    assert reduced([log])["style_loss"] == pytest.approx(by_style.item(), abs=1e-4)


def test_accuracy_counts_positions_and_leaves_out_padding_and_unknown_labels():
    style = F.one_hot(torch.tensor([[0, 1, 1], [2, 2, 0], [1, 1, 1]]), STYLES).float()
    real = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]]).float()
    _, log = label_loss(style, torch.tensor([1, 2, -1]), real)
    assert log["style_accuracy"] == 4
    assert log["_style_labels"] == 5


def test_a_batch_without_any_label_has_no_style_loss():
    loss, log = label_loss(torch.randn(2, 3, STYLES), torch.tensor([-1, -1]), torch.ones(2, 3))
    assert loss == 0
    assert "style_loss" not in reduced([log | {"loss": 1.0, "ntokens": 1}])


@pytest.mark.parametrize(
    ("styles", "expected"),
    [
        ([0, 1, 2], -math.log(3)),  # certain and even: the lowest loss
        ([0, 0, 0], 0.0),  # certain and all equal
        ([None, None, None], 0.0),  # even and uncertain
    ],
)
def test_mutual_information_rewards_windows_that_are_certain_and_differ(styles, expected):
    rows = [torch.zeros(STYLES) if s is None else 100.0 * F.one_hot(torch.tensor(s), STYLES) for s in styles]
    loss, _ = mutual_information_loss(torch.stack(rows)[:, None], torch.ones(3, 1))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_without_labels_styles_are_learned_that_are_even_and_certain():
    torch.manual_seed(0)
    features = torch.randn(300, 1, 6)
    layer = torch.nn.Linear(6, STYLES)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(200):
        loss, log = mutual_information_loss(layer(features), torch.ones(300, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shares = layer(features).argmax(-1).flatten().bincount(minlength=STYLES) / 300
    assert shares.min() > 0.2
    assert log["style_confidence"] / 300 > 0.9


@pytest.mark.parametrize("size", [1, 5, 12])
def test_without_labels_the_log_is_of_all_windows_however_they_are_batched(size):
    torch.manual_seed(0)
    logits = torch.cat([torch.randn(12, 1, STYLES) + 3 * F.one_hot(torch.tensor(k), STYLES) for k in (0, 0, 2)])
    whole, _ = mutual_information_loss(logits, torch.ones(36, 1))
    with metrics.aggregate() as aggregator:
        for batch in logits.split(size):
            log = {"loss": 1.0, "ntokens": 1} | mutual_information_loss(batch, torch.ones(len(batch), 1))[1]
            StyleLMCriterion.reduce_metrics([log])
    values = aggregator.get_smoothed_values()
    windows = logits[:, 0].softmax(-1)
    evenness = torch.special.entr(windows.mean(0)).sum().exp() / STYLES
    assert values["style_loss"] == pytest.approx(whole.item(), abs=1e-4)
    assert values["style_evenness"] == pytest.approx(evenness.item(), abs=1e-4)
    assert values["style_confidence"] == pytest.approx(windows.amax(-1).mean().item(), abs=1e-4)
    assert not any(name.startswith("_") for name in values)


@pytest.mark.parametrize(("styles", "evenness"), [([0, 1, 2], 1.0), ([1, 1, 1], 1 / 3)])
def test_evenness_is_one_if_all_styles_are_used_equally(styles, evenness):
    logits = 100.0 * F.one_hot(torch.tensor(styles), STYLES)[:, None].float()
    values = reduced([{"loss": 1.0, "ntokens": 1} | mutual_information_loss(logits, torch.ones(3, 1))[1]])
    assert values["style_evenness"] == pytest.approx(evenness, abs=1e-4)


def test_unsupervised_ignores_labels():
    logits, style = torch.randn(2, 4, WORDS), torch.randn(2, 4, STYLES)
    target = torch.randint(WORDS, (2, 4))
    one, other = (
        criterion(unsupervised=True)(Model(logits, style), sample(target, labels))[0] for labels in ([0, 1], [2, 2])
    )
    assert torch.equal(one, other)


def test_gradients_reach_the_classifier_only_through_its_loss_when_its_weight_is_not_zero():
    style = torch.randn(2, 4, STYLES, requires_grad=True)
    target = torch.randint(WORDS, (2, 4))
    for weight, moved in ((0.0, False), (0.1, True)):
        style.grad = None
        model = Model(torch.randn(2, 4, WORDS, requires_grad=True), style)
        criterion(weight)(model, sample(target, [0, 1]))[0].backward()
        assert bool(style.grad.abs().sum() > 0) == moved


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    with toy.refused(f"--style-weight {weight}"):
        criterion(weight)


def test_runs_with_and_without_labels_log_in_one_process():
    def batch(labels, styles):
        logits = torch.randn(3, 5, styles)
        if labels:
            return label_loss(logits, torch.zeros(3, dtype=torch.long), torch.ones(3, 5))[1]
        return mutual_information_loss(logits, torch.ones(3, 5))[1]

    with metrics.aggregate(new_root=True) as both:
        for labels, styles in ((True, 4), (False, 4), (True, 3), (False, 3)):
            with metrics.aggregate() as own:
                StyleLMCriterion.reduce_metrics([batch(labels, styles) | {"loss": 1.0, "ntokens": 15}])
            assert "style_loss" in own.get_smoothed_values()
            assert ("style_evenness" in own.get_smoothed_values()) == (not labels)
    assert "style_loss" in both.get_smoothed_values()


def test_labels_of_padded_windows_count_where_the_classifier_reads_less_than_the_window():
    """As in the published form: 3 positions of the first window, and 2 of the second, which is padded."""
    logits, style_logits = torch.zeros(2, 5, WORDS), torch.randn(2, 3, STYLES)
    target = torch.zeros(2, 5, dtype=torch.long)
    target[1, 2:] = PAD
    _, _, log = criterion()(Model(logits, style_logits), sample(target, [0, 2]))
    expected = F.cross_entropy(style_logits[0], torch.zeros(3, dtype=torch.long), reduction="sum")
    expected += F.cross_entropy(style_logits[1, :2], torch.full((2,), 2), reduction="sum")
    assert (log["_style_labels"], log["_style_label_loss"]) == (5, pytest.approx(expected.item(), rel=1e-5))


def test_one_style_is_no_style_loss():
    loss, _, log = criterion(weight=1.0)(
        Model(torch.zeros(2, 4, WORDS), torch.randn(2, 4, 1)), sample(torch.zeros(2, 4).long())
    )
    assert torch.equal(loss, log["loss"]) and not any("style" in name for name in log)


def test_logged_values_have_no_graph():
    target, style = torch.randint(WORDS, (2, 4)), torch.randn(2, 4, STYLES, requires_grad=True)
    model = Model(torch.randn(2, 4, WORDS, requires_grad=True), style)
    for labels in ([0, 1], None):
        _, _, log = criterion()(model, sample(target, labels))
        assert (log["ntokens"], log["nsentences"], log["sample_size"]) == (8, 2, 8)
        assert not any(torch.is_tensor(value) and value.requires_grad for value in log.values())


def test_the_model_gets_the_places_of_the_targets_where_the_batch_has_them():
    given = {}

    def model(src_tokens, **inputs):
        given.update(inputs)
        return None, {"loss": torch.zeros(()), "style_logits": None}

    batch, places = sample(torch.zeros(1, 2).long()), {"count": 2}
    criterion()(model, {**batch, "predicted": places})
    assert given["predicted"] is places and torch.equal(given["target"], batch["target"])


def test_updates_count_by_their_characters_and_labels():
    with metrics.aggregate(new_root=True) as aggregator:
        for loss, size, hits in ((1.0, 1, 0), (9.0, 3, 3)):
            log = {"loss": loss, "ntokens": size, "_style_labels": size, "_style_label_loss": loss}
            StyleLMCriterion.reduce_metrics([log | {"style_accuracy": hits}])
    values = aggregator.get_smoothed_values()
    assert values["nats"] == pytest.approx(2.5, abs=1e-5)
    assert (values["style_loss"], values["style_accuracy"]) == (2.5, 0.75)


def test_a_window_counts_once_however_much_of_it_is_padding():
    """The mean of a window's probabilities, of which all but the first are padding here."""
    logits = torch.tensor([[[9.0, 0.0], [0.0, 9.0]], [[9.0, 0.0], [9.0, 0.0]]]) * 10
    loss, log = mutual_information_loss(logits, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert loss.item() == pytest.approx(0.0, abs=1e-5)  # both are of the first style
    assert (log["_style_windows"], log["style_confidence"].item()) == (2, pytest.approx(2.0))
    assert [log[f"_style_share_{k}"].item() for k in (0, 1)] == pytest.approx([2, 0])


@pytest.mark.parametrize("labels", [[0, 1], None])
def test_the_metrics_that_may_choose_a_checkpoint_are_those_that_are_logged(labels):
    _, _, log = criterion()(
        Model(torch.zeros(2, 4, WORDS), torch.randn(2, 4, STYLES)), sample(torch.zeros(2, 4).long(), labels)
    )
    logged = set(reduced([log]))
    never = {"style_accuracy"} if labels is None else {"style_confidence", "style_evenness"}
    assert criterion().validation_metrics() == logged | never and not logged & never
    assert criterion().logging_outputs_can_be_summed()


def test_workers_without_characters_log_a_loss_of_zero():
    assert reduced([{"loss": 0.0, "ntokens": 0}])["loss"] == 0
