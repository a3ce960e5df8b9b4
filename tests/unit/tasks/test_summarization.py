"""The task summarization: which options it refuses."""

from types import SimpleNamespace

import pytest
import toy

from plugins.data.summaries.reader import share
from plugins.errors import UserError
from plugins.tasks.summarization import SummarizationConfig, SummarizationTask, check


@pytest.mark.parametrize(
    "options", [{"document_tokens": 0}, {"document_tokens": -1}, {"rouge_max_length": 0}, {"rouge_sample": -1}]
)
def test_numbers_that_are_too_small_name_their_flags(options):
    with toy.refused("--rouge-max-length", "--document-tokens"):
        check(SummarizationConfig(**options), None)


def test_by_default_documents_are_not_cut():
    check(SummarizationConfig(), None)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_each_record_of_a_file_is_for_training_or_for_validation(fraction):
    task = object.__new__(SummarizationTask)
    task.cfg = SimpleNamespace(data="records.jsonl", valid_fraction=fraction)
    parts = [task.part("records.jsonl", split) for split in ("train", "valid")]
    shares = [share(f"document {i}") for i in range(1000)]
    counts = [[first <= s < last for first, last in parts] for s in shares]
    assert all(sum(row) == 1 for row in counts)
    assert sum(row[1] for row in counts) == pytest.approx(1000 * fraction, abs=50)


def test_a_file_has_no_test_split():
    task = object.__new__(SummarizationTask)
    task.cfg = SimpleNamespace(data="records.jsonl", valid_fraction=0.1)
    with pytest.raises(UserError) as error:
        task.part("records.jsonl", "test")
    assert "records.jsonl" in str(error.value) and "test" in str(error.value)
