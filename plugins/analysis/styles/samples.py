"""Text that a character LM generates for its evaluation, all samples of a seed in one batch.

``lm`` is a :class:`plugins.hub.CharLM`. Shapes: n samples, T characters, K styles.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from plugins.analysis.language_model import StyleLM
from plugins.modules import sampling

CONDITIONS = {  # name: (continues a prompt, a style is given)
    "free": (False, False),
    "prompted": (True, False),  # the prompt has the style
    "given": (False, True),
    "transfer": (True, True),  # the prompt is of another style
}


@dataclass(frozen=True)
class Sampling:
    """Settings of text generation.

    Attributes:
        seeds: random seeds, one batch each.
        samples: texts per style and seed.
        length: characters per text.
        temperature, top_k: as in :meth:`plugins.hub.CharLM.sample`.
    """

    seeds: Sequence[int]
    samples: int
    length: int
    temperature: float = 0.8
    top_k: int = 200

    def generate(self, lm: StyleLM, real: Sequence[str], styles: Sequence[str], given: bool) -> dict:
        """Generate text under each of :data:`CONDITIONS`.

        Args:
            lm: see the module.
            real: text of each style; prompts are blocks of it, a different one for each sample.
            styles: their names.
            given: the model has these styles, so they can be forced.

        Returns:
            {condition: {seed: {index of the style: texts}}}.
        """
        asked = [k for k in range(len(styles)) for _ in range(self.samples)]  # (n,)
        names = [name for name, (_, forced) in CONDITIONS.items() if given or not forced]
        jobs = [(name, seed) for name in names for seed in self.seeds]
        made: dict[str, dict[int, dict[int, list[str]]]] = {name: {} for name in names}
        with tqdm(total=len(jobs) * self.length, desc="samples", unit="char", leave=False, disable=None) as bar:
            for name, seed in jobs:
                prompted, forced = CONDITIONS[name]
                prompts = start_tokens(lm, len(asked))
                if prompted:
                    shift = 1 + seed % (len(styles) - 1) if forced else 0  # to another style
                    sources = [(k + shift) % len(styles) for k in asked]
                    prompts = torch.stack([prompt_from(lm, real[k], seed, i) for i, k in enumerate(sources)])
                mixture = None
                if forced:
                    mixture = torch.eye(len(styles), device=lm.device)[[lm.styles.index(styles[k]) for k in asked]]
                texts = self.draw(lm, prompts, mixture, seed, bar)
                made[name][seed] = {
                    k: [text for text, of in zip(texts, asked, strict=True) if of == k] for k in range(len(styles))
                }
        return made

    def draw(self, lm: StyleLM, prompts: Tensor, mixture: Tensor | None, seed: int, bar: tqdm) -> list[str]:
        """Return texts that continue prompts (n, T), each with its own mixture of styles (n, K), or as inferred.

        :meth:`plugins.hub.CharLM.sample` takes one prompt and one style; here each row has its own.
        """
        generator = torch.Generator(lm.device)
        generator.manual_seed(seed)
        cache = lm.model.new_cache(len(prompts))
        draw = functools.partial(sampling.draw, temperature=self.temperature, top_k=self.top_k, generator=generator)
        steps = sampling.generate(
            lambda tokens: lm.model(tokens, cache=cache, styles=mixture)[0][:, -1],  # (n, T, V) -> (n, V)
            draw, prompts, self.length, lm.block_size, lm.default_refresh, cache,
        )  # fmt: skip
        tokens = []
        for step in steps:
            tokens.append(step)
            bar.update()
        return [lm.dictionary.decode(row) for row in torch.stack(tokens, dim=1).cpu()]


def start_tokens(lm: StyleLM, count: int) -> Tensor:
    """Return the start of a text without a prompt, (count, 1): a line break, or the first character of the model."""
    return lm.encode(lm.opening).expand(count, 1)


def prompt_from(lm: StyleLM, text: str, seed: int, number: int) -> Tensor:
    """Return a block (T,) of a text, a different one for every seed and sample."""
    tokens = lm.encode(text)
    start = 7919 * (seed + 101 * number) % (len(tokens) - lm.block_size)
    return tokens[start : start + lm.block_size]
