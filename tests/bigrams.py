"""A language model in which the next token depends only on the last one, for tests of decoding."""

import torch

from plugins.modules.cache import Cache


class Bigrams:
    """A model given by the logits (V, V) of the next token after each token."""

    def __init__(self, logits):
        self.logits = torch.as_tensor(logits)

    def new_cache(self, batch):
        return Cache(1, (batch, 1, 20, 1), self.logits)

    def extract_features(self, tokens, cache):
        new = torch.zeros(len(tokens), 1, tokens.size(1), 1)
        cache.append(0, new, new)
        cache.advance(tokens.size(1))
        return tokens[..., None], {}

    def output_layer(self, features):
        return self.logits[features[..., 0]]
