"""Cross-entropy of summaries and, in validation, ROUGE of the summaries that the model writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from plugins.analysis.metrics import rouge
from plugins.errors import UserError
from plugins.modules.constraints import Constraints
from plugins.modules.generation import Search, generate
from plugins.options import option
from plugins.plain_data import parse_json

from .causal_lm import CausalLMCriterion, CausalLMCriterionConfig

COUNT = "rouge_count"
RULES = ("min_length", "no_repeat_ngram")


@dataclass
class SummarizationCriterionConfig(CausalLMCriterionConfig):
    """Options of the criterion ``summarization``."""

    rouge_search: str = option(
        "{}",
        "search for the summaries that ROUGE scores, as JSON: temperature, top_k, top_p, beam, length_penalty, seed, "
        'min_length, no_repeat_ngram; for example \'{"beam": 4, "no_repeat_ngram": 3}\' (greedy)',
    )


@register_criterion("summarization", dataclass=SummarizationCriterionConfig)
class SummarizationCriterion(CausalLMCriterion):
    """The loss of ``causal_lm``, and ROUGE of summaries of validation batches that have prompts and references.

    Raises:
        UserError: ``--rouge-search`` is not a JSON object of known settings.
    """

    def __init__(self, task: FairseqTask, rouge_search: str) -> None:
        super().__init__(task)
        self.dictionary = task.target_dictionary
        self.rules, self.search = read_search(rouge_search, task.cfg.rouge_max_length, self.dictionary.eos())

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss (a scalar, nats), the number of targets, and what to log."""
        loss, size, log = super().forward(model, sample, reduce)
        if not self.training:  # workers add up what they log, so each needs all names
            log |= self.rouge(model, sample) if "prompts" in sample else dict.fromkeys((*rouge.KINDS, COUNT), 0.0)
        return loss, size, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        return super().validation_metrics() | (set(rouge.KINDS) if self.task.cfg.rouge_sample else set())

    def rouge(self, model: BaseFairseqModel, sample: dict[str, Any]) -> dict[str, float]:
        """Return the sums of the scores of a batch, and its size."""
        summaries = generate(model, sample["prompts"], self.rules, self.search, sample["id"].tolist())
        texts = [self.dictionary.decode(tokens).strip() for tokens in summaries]
        references = [self.dictionary.decode(tokens).strip() for tokens in sample["references"]]
        scores = [rouge.score(*pair) for pair in zip(texts, references, strict=True)]
        return {kind: sum(score[kind] for score in scores) for kind in rouge.KINDS} | {COUNT: float(len(scores))}

    @staticmethod
    def reduce_metrics(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Log the loss in bits and in nats, perplexity, and ROUGE from 0 to 1 where summaries were written."""
        CausalLMCriterion.reduce_metrics(logging_outputs)
        count = float(sum(log.get(COUNT, 0) for log in logging_outputs))
        for kind in rouge.KINDS if count else ():
            metrics.log_scalar(kind, float(sum(log[kind] for log in logging_outputs)) / count, count, round=4)


def read_search(text: str, max_length: int, end: int) -> tuple[Constraints, Search]:
    """Return the settings in ``--rouge-search``.

    Args:
        text: JSON.
        max_length: most tokens of a summary.
        end: id of the end of a text.

    Raises:
        UserError: it is not a JSON object, or an entry is unknown or out of range.
    """
    try:
        options = parse_json(text)
        rules = {name: options.pop(name) for name in RULES if name in options}
        return Constraints(end, max_length, **rules), Search(**options)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f'--rouge-search {text}: {error}; example: \'{{"beam": 4, "min_length": 5}}\'') from None
