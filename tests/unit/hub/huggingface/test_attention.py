"""Attention of exported masked LMs: transformers' interface, and the weights that ``output_attentions`` returns."""

import pytest
import torch
import toy

from plugins import hub
from plugins.analysis.attention.capture import capture

pytestmark = pytest.mark.slow  # transformers takes seconds to import
TOKENS = torch.tensor([[0, 5, 9, 14, 7, 8, 2], [0, 11, 6, 2, 1, 1, 1]])
POSITIONS = ("learned", "alibi", "alibi_symmetric", "rotary")


@pytest.fixture(scope="module")
def exported(transformers, toy_data, tmp_path_factory):
    """Return a function from a positional scheme to a loaded masked LM and its folder for transformers."""
    made = {}

    def build(positions):
        if positions not in made:
            ours = tmp_path_factory.mktemp(positions)
            toy.save_masked_lm(ours, toy_data, positions=positions, head="clap")
            made[positions] = hub.load(ours), ours / "exported"
            hub.export(*made[positions])
        return made[positions]

    return build


def load(transformers, folder, **options):
    kind = transformers.AutoModelForMaskedLM
    return kind.from_pretrained(folder, trust_remote_code=True, **options).eval()


@torch.no_grad()
@pytest.mark.parametrize("positions", POSITIONS)
def test_functions_of_the_interface_give_equal_logits(transformers, exported, positions):
    interface, folder = exported(positions)
    calls = []

    def registered(module, query, key, value, attention_mask, **options):
        calls.append(attention_mask)
        return transformers.integrations.sdpa_attention.sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )

    transformers.AttentionInterface.register("counted", registered)
    expected, real = interface.model(TOKENS)[0], TOKENS != 1
    for name in ("sdpa", "eager", "counted"):
        model = load(transformers, folder, attn_implementation=name)
        assert model.config._attn_implementation == name
        logits = model(TOKENS, attention_mask=real.long()).logits
        torch.testing.assert_close(logits[real], expected[real], atol=1e-5, rtol=0)
    assert len(calls) == 2 and all(mask.shape[0] == 2 for mask in calls)  # a layer each, with the padding


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_attention_weights_are_those_that_we_capture(transformers, exported, implementation):
    interface, folder = exported("alibi")
    with capture(interface.model) as expected:
        interface.model(TOKENS)
    model = load(transformers, folder, attn_implementation=implementation)
    found = model(TOKENS, attention_mask=(TOKENS != 1).long(), output_attentions=True)
    assert len(found.attentions) == 2 and found.attentions[0].shape == (2, 4, 7, 7)
    for ours, theirs in zip(expected, found.attentions, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=0)
    assert model(TOKENS).attentions is None
    again = transformers.AutoModel.from_pretrained(
        folder, trust_remote_code=True, attn_implementation="eager", output_attentions=True
    )
    assert len(again.eval()(TOKENS).attentions) == 2


def test_an_implementation_without_a_bias_is_refused_by_transformers(transformers, exported):
    _, folder = exported("alibi")
    for name in ("flash_attention_2", "flex_attention"):
        with pytest.raises((ValueError, ImportError)):
            load(transformers, folder, attn_implementation=name)
