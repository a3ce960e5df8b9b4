"""Changes to a model between building it and loading the checkpoint that fine-tuning starts from."""

import pytest
import toy

from plugins.tasks.finetuning import scale_learning_rates, start_afresh


@pytest.fixture
def model(toy_data):
    model = toy.make_model(toy.make_task(toy_data))  # two layers
    model.register_classification_head("mood", num_classes=2)
    return model


LAYER = "encoder.sentence_encoder.layers.{}.fc1.weight"


def test_each_layer_learns_at_a_share_of_the_rate_of_the_one_above(model):
    """The head at the full rate, then 0.5, 0.25, and the embeddings 0.125."""
    scale_learning_rates(model, 0.5)
    shares = {name: getattr(p, "lr_scale", 1.0) for name, p in model.named_parameters()}
    assert shares["classification_heads.mood.dense.weight"] == 1.0
    assert (shares[LAYER.format(1)], shares[LAYER.format(0)]) == (0.5, 0.25)
    assert shares["encoder.sentence_encoder.embed_tokens.weight"] == 0.125


def test_without_decay_no_parameter_is_marked(model):
    scale_learning_rates(model, 1)
    assert not any(hasattr(p, "lr_scale") for p in model.parameters())


def test_parameters_that_start_afresh_keep_their_initial_values_once(model):
    """The first load is that of the pretrained model, a second one that of a checkpoint of this run."""
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    loaded = {name: value + 1 for name, value in initial.items()}
    start_afresh(model, ["encoder.sentence_encoder.layers.1."])
    model.load_state_dict(dict(loaded))
    after = model.state_dict()
    assert after[LAYER.format(1)].equal(initial[LAYER.format(1)])
    assert after[LAYER.format(0)].equal(loaded[LAYER.format(0)])
    model.load_state_dict(dict(loaded))
    assert model.state_dict()[LAYER.format(1)].equal(loaded[LAYER.format(1)])
