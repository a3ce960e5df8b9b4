"""Options of positions for schemes of plugins."""

import pytest
import toy

from plugins.modules.positions import SCHEMES, Positions


class EvenHeads(Positions):
    """A scheme that some sizes do not suit."""

    def __init__(self, spec):
        if spec.heads % 2:
            raise ValueError("the number of heads must be even")
        super().__init__(spec)


@pytest.fixture(autouse=True)
def scheme(monkeypatch):
    monkeypatch.setitem(SCHEMES, "even_heads", EvenHeads)


def test_a_size_that_a_scheme_does_not_support_is_refused_by_its_flags():
    size = {"decoder_embed_dim": 12, "decoder_attention_heads": 3}
    with toy.refused("--positions even_heads", "--decoder-embed-dim 12", "--decoder-attention-heads 3"):
        toy.make_char_lm(positions="even_heads", **size)
    toy.make_char_lm(positions="even_heads")
