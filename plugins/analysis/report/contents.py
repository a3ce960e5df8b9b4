"""Gather the content of a report from a model and a text.

``lm`` is what ``plugins.hub.load`` returned. Sections depend on what the model can do: a model that continues text gets
samples, one that fills masks gets masks, one with styles a ribbon.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from plugins.analysis.attention.capture import attention_of, prompt_of
from plugins.analysis.language_model import LanguageModel, MaskFiller, StyleLM, TextGenerator
from plugins.analysis.styles import effects
from plugins.analysis.surprise import predictions
from plugins.data.dictionaries import MASK
from plugins.errors import UserError

from .card import model_card
from .head_maps import head_maps, strongest_head
from .masks import fill_masks
from .passage import excerpt, passage_start

RIBBON = 400  # characters whose style is shown
SURPRISED = 256  # characters whose surprisal is shown; of other tokens, those of the attention


def gather(
    lm: LanguageModel,
    state: Mapping,
    title: str,
    text: str,
    *,
    source: str = "text",
    tokens: int = 64,
    pattern_texts: int = 100,
    prompt: str = "",
    temperatures: Sequence[float] = (0.2, 0.5, 0.8, 1.0, 1.2),
    length: int = 400,
    seed: int = 1,
    masked: Sequence[str] = (),
) -> dict:
    """Return the argument of :func:`plugins.analysis.report.page.render`.

    Args:
        lm: see the module.
        state: the content of its checkpoint.
        title: heading of the report.
        text: its first passage of prose is shown; all of it is read for the patterns of the heads.
        source: name of the text in errors and on the card.
        tokens: maximum number of tokens shown.
        pattern_texts: number of stretches of the text to read for the patterns of the heads; 0 omits them, and so
            does a tuned prompt, which is not text.
        prompt: text that the samples continue.
        temperatures, length, seed: temperatures, length and random seed of the samples; a length of 0 omits them.
        masked: sentences with ``<mask>`` to fill, in addition to words of the text.

    Raises:
        UserError: the text is empty, or contains an unknown symbol.
    """
    with progress("text", 5) as step:
        with named(source):
            text, passage = chosen_passage(lm, text)
            start = excerpt(lm, passage, tokens)
            step("heads")
            patterned = pattern_texts and prompt_of(lm.model) is None  # the patterns describe text only
            maps = head_maps(lm, text, pattern_texts, seed) if patterned else None
        step("attention")
        card = model_card(lm, state, source)
        report: dict[str, Any] = {"title": title, "lead": lead(card["card"]), "model": card, "patterns": maps}
        report["attention"] = attention_map(lm, start, maps)
        step("surprise")
        report["predictions"] = predictions(lm, passage[:SURPRISED] if lm.reads_characters else start)
        step("styles and masks")
        report["styles"] = style_ribbon(lm, passage[:RIBBON])
        report["masks"] = fill_masks(cast(MaskFiller, lm), start, masked)
        step("samples")
        report["samples"] = samples(lm, prompt, temperatures, length, seed)
    return report


@contextlib.contextmanager
def progress(first: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar at its first step; yield a function to call with the name of each later step."""
    with tqdm(total=total, desc=first, unit="step", leave=False, disable=None) as bar:

        def step(name: str) -> None:
            bar.update()
            bar.set_description(name)

        yield step


def chosen_passage(lm: LanguageModel, text: str) -> tuple[str, str]:
    """Return a text without blanks around it, and its part from the first prose on, or all of it if it has masks.

    Raises:
        UserError: a character is unknown; the error has its position in the whole text.
    """
    if lm.reads_characters:
        lm.encode(text)
    text = text.strip()
    return text, text if MASK in text else text[passage_start(text) :]


@contextlib.contextmanager
def named(source: str) -> Iterator[None]:
    """Prepend the name of a text to the errors about it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def attention_map(lm: LanguageModel, start: str, maps: Mapping | None) -> dict:
    """Return the tokens (T,) of a text, the attention weights (L, H, T, T) between them, and the head to show first."""
    shown, layers = attention_of(lm, start)
    weights = np.concatenate([layer.numpy() for layer in layers])
    return {"tokens": shown, "weights": weights, "head": strongest_head(maps, weights)}


def lead(card: Iterable[Mapping]) -> str:
    """Return the model in one line."""
    facts = {name: value for group in card for name, value in group["facts"]}
    parts = [facts["Architecture"]]
    if "Layers" in facts and "Heads per layer" in facts:
        parts.append(f"{facts['Layers']} layers of {facts['Heads per layer']} heads")
    parts.append(f"{facts['All']} parameters")
    if "Updates" in facts:
        parts.append(f"{facts['Updates']} updates")
    return " · ".join(parts)


def style_ribbon(lm: LanguageModel, text: str) -> dict | None:
    """Return the probability of each style after each character, or None where the model infers none."""
    if not lm.styles:
        return None
    try:
        probabilities = effects.probabilities(cast(StyleLM, lm), text)  # (T, K)
    except UserError:  # a model whose style is given
        return None
    return {"names": lm.styles, "tokens": list(text), "probabilities": np.round(probabilities, 3).tolist()}


def samples(lm: LanguageModel, prompt: str, temperatures: Sequence[float], length: int, seed: int) -> dict | None:
    """Return a sample for each temperature and, of a model with styles, each style, the inferred one first.

    Raises:
        UserError: there is a prompt, but the model cannot continue text.
    """
    if not lm.continues_text:
        if prompt:
            raise UserError(f"--prompt {prompt!r}: this model cannot continue text; omit it")
        return None
    if not length:
        return None
    names = lm.styles
    forced = {"inferred": None, **{name: name for name in names}, "none": False} if names else {"": None}
    jobs = [({"style": style} if names else {}, t) for style in forced.values() for t in temperatures]
    progress = tqdm(jobs, desc="samples", unit="sample", leave=False, disable=None)
    texts = [cast(TextGenerator, lm).sample(prompt, length, temperature=t, seed=seed, **style) for style, t in progress]
    rows = [texts[i : i + len(temperatures)] for i in range(0, len(texts), len(temperatures))]
    nearest = min(range(len(temperatures)), key=lambda i: abs(temperatures[i] - 0.8))
    note = f"Drawn from the model when this page was written, with seed {seed}"
    return {
        "note": note + (", after the prompt in gray." if prompt else "."),
        "prompt": prompt,
        "temperatures": [f"{t:g}" for t in temperatures],
        "styles": list(forced),
        "texts": rows,
        "chosen": nearest,
    }
