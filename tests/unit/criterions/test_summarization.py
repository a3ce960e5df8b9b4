"""The criterion of summaries: the loss of causal_lm, and ROUGE of what the model writes in validation."""

from types import SimpleNamespace

import pytest
import torch
import toy
from bigrams import Bigrams
from fairseq.logging import metrics

from plugins.analysis.metrics import rouge
from plugins.criterions.summarization import SummarizationCriterion, read_search
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary

DICTIONARY = TokenDictionary(Characters(" abc"))
A, B, C, END = *map(DICTIONARY.index, "abc"), DICTIONARY.eos()


class Model(Bigrams):
    """A model that continues every text with "bc" and its end."""

    def __init__(self):
        after = {A: B, B: C, C: END}
        following = torch.tensor([after.get(token, END) for token in range(len(DICTIONARY))])
        super().__init__(torch.nn.functional.one_hot(following, len(DICTIONARY)).float())

    def __call__(self, src_tokens, target):
        return None, {"loss": torch.tensor(8.0)}


def criterion(search="{}", sample=4, max_length=8):
    cfg = SimpleNamespace(rouge_max_length=max_length, rouge_sample=sample)
    return SummarizationCriterion(SimpleNamespace(target_dictionary=DICTIONARY, cfg=cfg), search)


def sample(*references):
    target = torch.tensor([[A, END]])
    batch = {"net_input": {"src_tokens": target}, "target": target, "ntokens": 2, "nsentences": 1}
    if references:
        batch["prompts"] = [torch.tensor([A])] * len(references)
        batch["references"] = [DICTIONARY.encode(text) for text in references]
        batch["id"] = torch.arange(len(references))
    return batch


def reduced(*logs):
    with metrics.aggregate(new_root=True) as aggregator:
        SummarizationCriterion.reduce_metrics(logs)
    return aggregator.get_smoothed_values()


def test_rouge_compares_what_the_model_writes_with_the_references():
    loss, size, log = criterion().eval()(Model(), sample(" bc", "bc a", "a"))
    assert (loss.item(), size, log["rouge_count"]) == (8.0, 2, 3)
    assert log["rouge1"] == pytest.approx(1 + 2 / 3)  # "bc" against "bc", "bc a" and "a"
    values = reduced(log)
    assert values["rouge1"] == values["rougeL"] == pytest.approx(0.5556)
    assert values["nats"] == pytest.approx(4.0, abs=1e-5)


def test_the_summary_has_the_length_and_the_rules_of_the_options():
    assert criterion(max_length=1).eval()(Model(), sample("b"))[2]["rouge1"] == 1
    log = criterion('{"min_length": 4, "no_repeat_ngram": 1}').eval()(Model(), sample("bc"))[2]
    assert log["rouge1"] == pytest.approx(2 / 3)  # of "bc a"


def test_validation_logs_the_same_names_for_every_batch_and_training_none():
    validated = [criterion().eval()(Model(), batch)[2] for batch in (sample(), sample("bc"))]
    assert validated[0].keys() == validated[1].keys() and validated[0]["rouge1"] == validated[0]["rouge_count"] == 0
    assert not set(rouge.KINDS) & set(criterion().train()(Model(), sample("bc"))[2])


def test_batches_count_by_their_summaries():
    logs = [{"loss": 1.0, "sample_size": 1, **dict.fromkeys(rouge.KINDS, total), "rouge_count": count}
            for total, count in ((1.0, 1), (0.0, 3), (0.0, 0))]  # fmt: skip
    assert reduced(*logs)["rouge2"] == 0.25
    with metrics.aggregate(new_root=True) as aggregator:
        for log in logs:
            SummarizationCriterion.reduce_metrics([log])
    assert aggregator.get_smoothed_values()["rouge2"] == 0.25
    assert not set(rouge.KINDS) & set(reduced(logs[2]))


def test_the_metrics_that_may_choose_a_checkpoint_are_those_that_are_logged():
    log = criterion().eval()(Model(), sample("bc"))[2]
    assert criterion().validation_metrics() == set(reduced(log))
    assert criterion(sample=0).validation_metrics() == {"loss", "nats", "ppl"}


def test_the_search_is_read_from_json():
    rules, search = read_search('{"beam": 4, "min_length": 2, "no_repeat_ngram": 3}', 9, 7)
    assert (rules.end, rules.max_length, rules.min_length, rules.no_repeat_ngram) == (7, 9, 2, 3)
    assert (search.beam, search.temperature) == (4, 0)


@pytest.mark.parametrize("text", ["{", "[]", '{"width": 4}', '{"beam": 0}', '{"min_length": 10}', '{"beam": "4"}'])
def test_a_search_that_cannot_be_read_names_the_flag(text):
    with toy.refused("--rouge-search", text):
        read_search(text, 9, 7)
