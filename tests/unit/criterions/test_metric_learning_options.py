"""Options of the criterion ``metric_learning``."""

from types import SimpleNamespace

import pytest
import toy

from plugins.criterions.metric_learning import MetricLearningConfig, MetricLearningCriterion
from plugins.data.embedding.specs import RowSpec

ROWS, PAIRS = RowSpec("toy", {}, ("text",), "class"), RowSpec("toy", {}, ("a", "b"))
SCORED = RowSpec("toy", {}, ("a", "b"), "score", scale=(0, 1))
TRIPLETS = RowSpec("toy", {}, ("a", "p", "n"))


def make(loss, spec, normalize=False, **options):
    task = SimpleNamespace(spec=spec, cfg=SimpleNamespace(normalize=normalize), target_dictionary=None)
    return MetricLearningCriterion(MetricLearningConfig(metric_loss=loss, **options), task)


@pytest.mark.parametrize(
    ("loss", "spec", "options", "named"),
    [
        ("batch_hard_soft_margin", ROWS, {"margin": 1.0}, "--margin 1.0"),
        ("supervised_contrastive", ROWS, {"distance": "cosine"}, "--distance cosine"),
        ("batch_hard", ROWS, {"scale": 2.0}, "--scale 2.0"),
        ("cosent", SCORED, {"scale": 0.0}, "--scale 0.0"),
        ("cosent", SCORED, {"scale": 1e38}, "--scale 1e+38"),
        ("batch_all", ROWS, {"margin": 1e38}, "--margin 1e+38"),
        ("batch_hard", ROWS, {"margin": -0.1}, "--margin -0.1"),
        ("batch_hard", ROWS, {"margin": 2.0, "distance": "cosine"}, "--margin 2.0"),
        ("batch_hard", ROWS, {"margin": 2.0, "normalize": True}, "--margin 2.0"),
        ("batch_hard", ROWS, {"normalize": True}, "--margin 5.0"),
        ("triplet", TRIPLETS, {"symmetric": True}, "--symmetric"),
        ("batch_hard", ROWS, {"grad_cache_rows": -1}, "--grad-cache-rows -1"),
    ],
)
def test_options_that_contradict_the_loss_are_named(loss, spec, options, named):
    with toy.refused(named):
        make(loss, spec, **options)


@pytest.mark.parametrize(
    ("loss", "spec", "options"),
    [
        ("batch_hard", ROWS, {"margin": 0.0}),
        ("batch_hard", ROWS, {"margin": 2.0}),
        ("batch_hard", ROWS, {"margin": 1.9, "distance": "cosine"}),
        ("batch_hard", ROWS, {"margin": 1.9, "normalize": True}),
        ("mega_batch_margin", PAIRS, {"margin": 2.0, "normalize": True}),
        ("cosent", SCORED, {"scale": 0.1}),
        ("multiple_negatives_ranking", PAIRS, {"symmetric": True}),
        ("batch_hard", ROWS, {"grad_cache_rows": 1}),
    ],
)
def test_options_of_a_loss_are_accepted(loss, spec, options):
    make(loss, spec, **options)
