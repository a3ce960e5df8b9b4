"""Cross-entropy of summaries and, in validation, ROUGE of the summaries that the model writes."""

from dataclasses import dataclass

from fairseq.criterions import register_criterion
from fairseq.logging import metrics

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
    rouge_search: str = option(
        "{}",
        "how summaries are written for ROUGE, as JSON: temperature, top_k, top_p, beam, length_penalty, seed, "
        'min_length, no_repeat_ngram, such as \'{"beam": 4, "no_repeat_ngram": 3}\' (greedily)',
    )


@register_criterion("summarization", dataclass=SummarizationCriterionConfig)
class SummarizationCriterion(CausalLMCriterion):
    """The loss of ``causal_lm``; batches with prompts and references are summarised, and scored."""

    def __init__(self, task, rouge_search):
        super().__init__(task)
        self.dictionary = task.target_dictionary
        self.rules, self.search = read_search(rouge_search, task.cfg.rouge_max_length, self.dictionary.eos())

    def forward(self, model, sample, reduce=True):
        """Return the loss (a scalar, nats), the number of targets, and what to log."""
        loss, size, log = super().forward(model, sample, reduce)
        if not self.training:  # workers add up what they log, so each of them has all names
            log |= self.rouge(model, sample) if "prompts" in sample else dict.fromkeys((*rouge.KINDS, COUNT), 0.0)
        return loss, size, log

    def validation_metrics(self) -> set[str]:
        """Return the names that ``--best-checkpoint-metric`` can have."""
        return super().validation_metrics() | (set(rouge.KINDS) if self.task.cfg.rouge_sample else set())

    def rouge(self, model, sample):
        """Return sums of scores over a batch, and its size."""
        summaries = generate(model, sample["prompts"], self.rules, self.search, sample["id"].tolist())
        texts = [self.dictionary.decode(tokens).strip() for tokens in summaries]
        references = [self.dictionary.decode(tokens).strip() for tokens in sample["references"]]
        scores = [rouge.score(*pair) for pair in zip(texts, references, strict=True)]
        return {kind: sum(score[kind] for score in scores) for kind in rouge.KINDS} | {COUNT: float(len(scores))}

    @staticmethod
    def reduce_metrics(logging_outputs):
        """Log the loss in bits and in nats, perplexity, and ROUGE from 0 to 1 where summaries were written."""
        CausalLMCriterion.reduce_metrics(logging_outputs)
        count = float(sum(log.get(COUNT, 0) for log in logging_outputs))
        for kind in rouge.KINDS if count else ():
            metrics.log_scalar(kind, float(sum(log[kind] for log in logging_outputs)) / count, count, round=4)


def read_search(text: str, max_length: int, end: int) -> tuple[Constraints, Search]:
    """Return what ``--rouge-search`` asks for.

    Raises:
        UserError: it is no JSON object, or its entries are unknown or make no sense.
    """
    try:
        options = parse_json(text)
        rules = {name: options.pop(name) for name in RULES if name in options}
        return Constraints(end, max_length, **rules), Search(**options)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f'--rouge-search {text}: {error}; such as \'{{"beam": 4, "min_length": 5}}\'') from None
