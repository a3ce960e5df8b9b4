"""The task summarization: which options it refuses."""

import pytest

from plugins.errors import UserError
from plugins.tasks.summarization import SummarizationConfig, check


@pytest.mark.parametrize(
    "options", [{"document_tokens": 0}, {"document_tokens": -1}, {"rouge_max_length": 0}, {"rouge_sample": -1}]
)
def test_numbers_that_are_too_small_name_their_flags(options):
    with pytest.raises(UserError, match="--rouge-max-length and --document-tokens are at least 1"):
        check(SummarizationConfig(**options), None)


def test_by_default_documents_are_not_cut():
    check(SummarizationConfig(), None)
