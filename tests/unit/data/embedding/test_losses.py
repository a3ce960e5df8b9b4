"""Which losses accept which rows."""

import pytest
import toy

from plugins.data.embedding import losses
from plugins.data.embedding.specs import RowSpec

ROWS = {
    "labeled texts": RowSpec("t", {}, ("a",), "c"),
    "texts": RowSpec("t", {}, ("a",)),
    "pairs": RowSpec("t", {}, ("a", "b")),
    "labeled pairs": RowSpec("t", {}, ("a", "b"), "c", ("0", "1")),
    "scored pairs": RowSpec("t", {}, ("a", "b"), "c", (), (0, 5)),
    "triplets": RowSpec("t", {}, ("a", "b", "c")),
    "triplets with margins": RowSpec("t", {}, ("a", "b", "c"), "d"),
}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("texts", "multiple_negatives_ranking mse denoising"),
        ("pairs", "multiple_negatives_ranking mega_batch_margin"),
        ("labeled pairs", "contrastive online_contrastive softmax"),
        ("scored pairs", "cosine_similarity cosent"),
        ("triplets", "multiple_negatives_ranking triplet"),
        ("triplets with margins", "margin_mse"),
        ("labeled texts", " ".join(losses.LOSSES)),
    ],
)
def test_a_loss_accepts_its_kinds_of_rows(kind, names):
    spec = ROWS[kind]
    assert spec.kind == kind
    for name in losses.LOSSES:
        if name in names.split():
            assert losses.find(name, spec) is losses.LOSSES[name]
        else:
            with toy.refused(f"--metric-loss {name}", kind, *names.split()):
                losses.find(name, spec)


def test_an_unknown_loss_is_an_error_that_lists_the_losses():
    with toy.refused("--metric-loss sum", "batch_all", "denoising"):
        losses.find("sum", ROWS["pairs"])


@pytest.mark.parametrize("name", ["contrastive", "online_contrastive"])
def test_a_contrastive_loss_needs_two_labels(name):
    three = RowSpec("t", {}, ("a", "b"), "c", ("0", "1", "2"))
    assert losses.find("softmax", three)
    with toy.refused(name, "3 labels"):
        losses.find(name, three)


def test_only_losses_on_classes_need_batches_of_classes():
    labeled = {name for name in losses.LOSSES if losses.needs_classes(name, ROWS["labeled texts"])}
    assert labeled == losses.LOSSES.keys() - {"mse", "denoising"}
    assert not any(losses.needs_classes(name, ROWS["labeled pairs"]) for name in losses.LOSSES)


def test_the_defaults_are_those_of_sentence_transformers():
    """sentence-transformers 5: margins, scales and distances of its classes; SupCon's scale is 1 / 0.1."""
    margins = {name: loss.margin for name, loss in losses.LOSSES.items() if loss.margin}
    assert margins == {
        "batch_all": 5, "batch_hard": 5, "batch_semi_hard": 5, "triplet": 5, "contrastive": 0.5,
        "online_contrastive": 0.5, "mega_batch_margin": 0.8,
    }  # fmt: skip
    scales = {name: loss.scale for name, loss in losses.LOSSES.items() if loss.scale}
    assert scales == {"supervised_contrastive": 10, "cosent": 20, "multiple_negatives_ranking": 20}
    distances = {name: loss.distance for name, loss in losses.LOSSES.items() if loss.distance}
    assert distances == dict.fromkeys(
        ("batch_all", "batch_hard", "batch_hard_soft_margin", "batch_semi_hard", "triplet"), "euclidean"
    ) | dict.fromkeys(("contrastive", "online_contrastive"), "cosine")
    assert [name for name, loss in losses.LOSSES.items() if loss.teacher] == ["mse", "margin_mse"]
