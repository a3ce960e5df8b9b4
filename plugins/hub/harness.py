"""Masked LMs for EleutherAI's lm-eval: a text is scored by its pseudo-log-likelihood.

Causal and character LMs need nothing of this: export them (:func:`plugins.hub.export`) and use lm-eval's model ``hf``.
This module is not imported by others, because lm-eval takes seconds to import.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from plugins.analysis.metrics.surprisal import masked_logits
from plugins.errors import UserError

from .roberta import RobertaInterface

try:
    from lm_eval.api.model import LM
except ImportError:
    LM = object


class MaskedLM(LM):
    """A model of lm-eval whose log-likelihoods are pseudo-log-likelihoods (Salazar et al., 2020, "Masked Language Model
    Scoring", eq. 1): the sum over tokens of log p(token | all other tokens), in nats.

        lm_eval.simple_evaluate(model=MaskedLM("checkpoints/zero_clap_tiny"), tasks=[...])

    They rank texts but are not probabilities: do not compare them with those of causal models.

    Args:
        model: a checkpoint of a masked LM, its folder, or the result of :func:`plugins.hub.load`.
        longest: tokens that are read at once, ``<s>`` and ``</s>`` included; default: as many as in training.

    Raises:
        UserError: lm-eval is not installed, or the model is not a masked LM.
    """

    def __init__(self, model: str | Path | RobertaInterface, longest: int | None = None):
        if LM is object:
            raise UserError("lm-eval is not installed: pip install lm-eval")
        super().__init__()
        from plugins import hub

        lm = hub.load(model) if isinstance(model, str | Path) else model
        if not isinstance(lm, RobertaInterface):
            raise UserError(f"a {type(lm).__name__} is not a masked LM; export it, and use lm-eval's model hf")
        self.lm = lm
        trained = longest or lm.options.get("trained_length") or lm.options.get("max_positions")
        self.longest = min(trained, lm.model.max_positions())

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return for each (context, continuation) the pseudo-log-likelihood of the tokens of the continuation, given
        the context, and whether each of them is the likeliest one in its place.

        The context is cut on the left where both are longer than ``longest``.
        """
        pairs = [request.args for request in requests]
        return [self.score(*pair) for pair in tqdm(pairs, "scoring", leave=False, disable=disable_tqdm or None)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the pseudo-log-likelihood of each whole text, read in blocks of ``longest`` tokens."""
        texts = [request.args[0] for request in requests]
        return [self.score_whole(text) for text in tqdm(texts, "scoring", leave=False, disable=disable_tqdm or None)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Masked LMs do not generate.

        Raises:
            UserError: always.
        """
        raise UserError("a masked LM generates no text; use tasks that rank or score texts")

    def score(self, context: str, continuation: str) -> tuple[float, bool]:
        """Return the pseudo-log-likelihood of a continuation, and whether all its tokens are the likeliest ones."""
        before, ids = self.words(context), self.words(context + continuation)
        differing = (i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b)
        common = next(differing, min(len(before), len(ids)))
        cut = max(0, len(ids) - (self.longest - 2))  # without <s> and </s>
        return self.sum_of(ids[cut:], max(0, common - cut))

    def score_whole(self, text: str) -> float:
        """Return the pseudo-log-likelihood of a text of any length."""
        ids, room = self.words(text), self.longest - 2
        return sum(self.sum_of(ids[start : start + room], 0)[0] for start in range(0, len(ids), room))

    def words(self, text: str) -> list[int]:
        """Return the ids of a text without the special tokens around it."""
        return self.lm.encode(text).tolist()[1:-1] if text else []

    @torch.inference_mode()
    def sum_of(self, ids: list[int], first: int) -> tuple[float, bool]:
        """Return the sum of log p of the tokens from ``first`` on, and whether each is the likeliest."""
        if first == len(ids):
            return 0.0, True
        dictionary = self.lm.dictionary
        tokens = torch.tensor([dictionary.bos(), *ids, dictionary.eos()])  # (T,)
        places = torch.arange(first, len(ids)) + 1  # (N,)
        logp: Tensor = masked_logits(self.lm, tokens, places).double().log_softmax(-1)  # (N, V)
        wanted = tokens[places]
        return logp.gather(1, wanted[:, None]).sum().item(), bool((logp.argmax(-1) == wanted).all())
